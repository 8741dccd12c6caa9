"""Causal language modelling: the next token of running text, scored by perplexity; the row is the block."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

from hfkit.data import validators
from hfkit.data.findings import Finding, raise_failures
from hfkit.errors import DataError, ModelError, UsageError
from hfkit.metrics.definitions import definition
from hfkit.metrics.perplexity import reduce_text
from hfkit.recipe.section import Section
from hfkit.tasks.base import Column, Driver, Feature, Head, Prediction, Read, Resolution, Row
from hfkit.tasks.lm.last_word import last_words
from hfkit.tasks.lm.running_text import blocks, tokens_of
from hfkit.tasks.lm.settings import LanguageModelSettings
from hfkit.tasks.outputs import finite

if TYPE_CHECKING:
    import numpy as np
    import torch
    from transformers import PretrainedConfig, PreTrainedTokenizerBase

    from hfkit.tasks.base import Batch

JOIN = {True: "none (one text)", False: "an end token between rows", None: "none in .txt, else an end token"}
SCRATCH_BLOCK = 256  # block_size auto of a model with fresh weights
LOGITS_AT_ONCE = 1 << 24  # logits turned into float32 probabilities together: 64 MiB


class CausalLanguageModel:
    """Causal language modelling on one stream of tokens, cut into blocks.

    A .txt is read exactly, line ends kept, several as one text; rows of other forms are documents with an end token
    between. The first token of the stream is never scored, every other exactly once. The prediction of a block is its
    perplexity (null where that is too large for a number), beside what it is made of: `nll` in nats, `tokens` and
    `bytes`, all of the scored tokens; perplexities of parts never average, these sums add up.
    """

    name: ClassVar[str] = "lm"
    objective: ClassVar[Literal["causal", "masked"]] = "causal"
    head: ClassVar[Head] = "causal-lm"
    driver: ClassVar[Driver] = "forward"
    columns: ClassVar[tuple[Column, ...]] = (
        Column("id", False),
        Column("text", True, ("content", "document", "sentence", "story")),
    )
    blocks: ClassVar[bool] = True
    group: ClassVar[str | None] = None
    Settings: ClassVar[type[Section]] = LanguageModelSettings

    def __init__(self, settings: LanguageModelSettings, *, joined: bool | None = None) -> None:
        """`joined`: whether the rows at hand are one running text; None while no rows were seen."""
        self.settings = settings
        self.joined = joined

    @property
    def headline(self) -> tuple[str, Literal["higher", "lower"]]:
        return "perplexity", "lower"

    def check(self, rows: Sequence[Row], *, training: bool, train_rows: Sequence[Row] | None = None) -> list[str]:
        return raise_failures(self.findings(rows, training=training, train_rows=train_rows))

    def findings(
        self, rows: Sequence[Row], *, training: bool, train_rows: Sequence[Row] | None = None
    ) -> Iterator[Finding]:
        yield from validators.text_column(rows, "text", empty="warning")
        if not any(map(self.usable, rows)):
            hint = "data.columns.text=NAME says which column holds it"
            yield Finding("failure", "no_text", "there is no text in the data", hint=hint)

    def usable(self, row: Row) -> bool:
        return bool(row.get("text"))

    def resolve(
        self, rows: Sequence[Row], tokenizer: PreTrainedTokenizerBase, config: PretrainedConfig
    ) -> tuple[Self, list[Resolution]]:
        if self.settings.scorer != "text":
            raise UsageError(f"lm.scorer={self.settings.scorer} is for eval, not for training", "leave it out")
        return self._settled(rows, config, SCRATCH_BLOCK if not config.architectures else None)

    def adopt(self, rows: Sequence[Row], config: PretrainedConfig | None) -> tuple[Self, list[Resolution]]:
        if config is None:
            return self._with(self.settings, rows), []
        return self._settled(rows, config, None)

    def model_config(self) -> dict[str, Any]:
        return {}

    def encode(self, rows: Iterable[Row], tokenizer: PreTrainedTokenizerBase) -> Iterator[Feature]:
        """Feature columns: row, input_ids, targets (the token after each input), context, bytes; see `blocks`.

        Raises DataError when the text has fewer than two tokens.
        """
        size = int(self.settings.block_size)
        if self.settings.scorer == "lambada":
            if is_joined(rows):
                raise DataError("lambada needs a passage a row", "give .jsonl or .csv, not one running text")
            yield from last_words(rows, tokenizer, size)
            return
        pieces = tokens_of((row["text"] for row in rows), tokenizer, joined=is_joined(rows))
        found = False
        for feature in blocks(pieces, size, self.settings.stride or size):
            found = True
            yield feature
        if not found:
            raise DataError("the text has fewer than two tokens, so none can be scored", "give more text")

    def loss(self, outputs: Any, batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
        """(sum of nats, scored tokens) from logits (blocks, tokens, vocabulary), in float32."""
        from torch.nn.functional import cross_entropy

        scored = _scored(batch)
        targets = batch["targets"].masked_fill(~scored, -100)
        logits = outputs.logits.flatten(0, 1).float()
        return cross_entropy(logits, targets.flatten(), ignore_index=-100, reduction="sum"), scored.sum()

    def read(self, outputs: Any, batch: Batch) -> dict[str, torch.Tensor]:
        """`nll` (blocks,): nats of the scored tokens; the log-softmax is taken in float32, a few tokens at a time.

        With lambada also `greedy` (blocks,): 1 where each scored token is the likeliest one.
        """
        import torch
        from torch.nn.functional import cross_entropy

        logits, targets = outputs.logits.flatten(0, 1), batch["targets"].flatten()
        parts = [
            cross_entropy(some.float(), of, reduction="none")
            for step in [max(1, LOGITS_AT_ONCE // logits.shape[-1])]
            for some, of in zip(logits.split(step), targets.split(step), strict=True)
        ]
        scored = _scored(batch)
        found = {"nll": torch.cat(parts).view(batch["targets"].shape).masked_fill(~scored, 0.0).sum(dim=1)}
        if self.settings.scorer == "lambada":
            right = outputs.logits.argmax(dim=-1) == batch["targets"]
            found["greedy"] = (right | ~scored).all(dim=1).int()
        return found

    def merge(self, row: Row, reads: Sequence[Read]) -> Prediction:
        """`row` is the block's feature. Raises ModelError when the likelihood is not finite."""
        nll = float(finite(reads[0]["nll"], row["row"]))
        tokens = len(row["input_ids"]) - int(row["context"])
        value = nll / tokens
        return {
            "id": str(row["row"]),
            "prediction": math.exp(value) if value < 700 else None,
            "nll": nll,
            "tokens": tokens,
            "bytes": int(row["bytes"]),
            **({"greedy": bool(reads[0]["greedy"])} if "greedy" in reads[0] else {}),
        }

    def measure(self, prediction: Prediction, row: Row) -> dict[str, float]:
        """`nll`, `tokens`, `bytes` and of lambada `greedy` of a block; everything is in the prediction."""
        return {name: float(prediction[name]) for name in self.measured}

    @property
    def measured(self) -> tuple[str, ...]:
        """What a prediction must hold to be scored."""
        return ("nll", "tokens", "bytes", *(["greedy"] if self.settings.scorer == "lambada" else []))

    def reduce(self, columns: Mapping[str, np.ndarray]) -> dict[str, float]:
        return reduce_text(columns)

    def means(self, columns: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        return {"accuracy": columns["greedy"]} if "greedy" in columns else {}

    def classes(self, columns: Mapping[str, np.ndarray], prediction: Prediction) -> None:
        return None

    @property
    def without_prediction(self) -> None:
        return None

    def counted(self, ids: Sequence[str], columns: Mapping[str, np.ndarray]) -> np.ndarray | None:
        return None

    def slices(self, row: Row) -> dict[str, str]:
        return {}

    def definitions(self) -> dict[str, str]:
        """Each metric with how the text was joined, the block, the stride, and which tokens are scored."""
        if self.settings.scorer == "lambada":
            return {name: definition("lambada", name) for name in ("accuracy", "perplexity")}
        size, stride = self.settings.block_size, self.settings.stride or self.settings.block_size
        cut = "block and stride of the predictions" if size == "auto" else f"block {size}, stride {stride} tokens"
        how = f"join: {JOIN[self.joined]}; {cut}; scored: every token of the stream but the first, once"
        return {name: f"{definition('lm', name)}; {how}" for name in ("perplexity", "bits_per_byte", "loss")}

    def _settled(
        self, rows: Sequence[Row], config: PretrainedConfig, preferred: int | None
    ) -> tuple[Self, list[Resolution]]:
        """Block size within the model's positions, and the objective. Raises ModelError, UsageError."""
        from hfkit.models import max_positions

        self._check_model(config)
        limit, wanted = max_positions(config), self.settings.block_size
        if wanted != "auto":
            size = min(wanted, limit)
            why = "as given" if size == wanted else f"{wanted} is beyond the model's positions"
        elif preferred and preferred < limit:
            size, why = preferred, "a model from scratch"
        else:
            size, why = limit, "the model's positions"
        if self.settings.stride and self.settings.stride > size:
            message = f"lm.stride={self.settings.stride} is larger than lm.block_size={size}"
            raise UsageError(message, f"give at most {size}")
        settings = self.settings.model_copy(update={"objective": self.objective, "block_size": size})
        lines = [Resolution("lm.block_size", size, why)] if wanted == "auto" or size != wanted else []
        if self.settings.objective == "auto":
            does = "continues text" if self.objective == "causal" else "fills in words"
            lines.insert(0, Resolution("lm.objective", self.objective, f"a {config.model_type} {does}"))
        return self._with(settings, rows), lines

    def _with(self, settings: LanguageModelSettings, rows: Sequence[Row]) -> Self:
        """This task with other settings, about to read `rows`."""
        return type(self)(settings, joined=is_joined(rows))

    def _check_model(self, config: PretrainedConfig) -> None:
        """Raise ModelError for a model that does not continue text, UsageError for a key of the other objective."""
        from hfkit.models import continues_text

        if self.settings.whole_word:
            raise UsageError("lm.whole_word is about masks, and lm.objective is causal", "leave it out")
        if not continues_text(config.model_type, is_decoder=bool(getattr(config, "is_decoder", False))):
            raise ModelError(
                f"lm.objective=causal needs a causal model, and a {config.model_type} is none",
                "take a GPT-2, such as scratch:gpt2-mini for a fresh one",
            )


def is_joined(rows: Any) -> bool:
    """Whether rows are pieces of one running text (see data.Rows.stream)."""
    return bool(getattr(rows, "stream", False))


def _scored(batch: Batch) -> torch.Tensor:
    """(blocks, tokens) bool: inputs whose next token is scored; not padding, not context."""
    import torch

    width = batch["input_ids"].shape[1]
    after = torch.arange(width, device=batch["input_ids"].device)[None, :] >= batch["context"][:, None]
    return after & batch["attention_mask"].bool()
