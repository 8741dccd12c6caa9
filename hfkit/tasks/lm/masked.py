"""Masked language modelling: hidden tokens of running text from those around them; the row is the block."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

import numpy as np

from hfkit.errors import DataError, ModelError, UsageError
from hfkit.metrics.definitions import definition
from hfkit.tasks.base import Feature, Head, Prediction, Read, Resolution, Row
from hfkit.tasks.lm.causal import JOIN, CausalLanguageModel, is_joined
from hfkit.tasks.lm.masks import SHARE, continuing, frame, hidden_at, masked
from hfkit.tasks.lm.running_text import end_id, pieces_of, tokens_of
from hfkit.tasks.lm.settings import LanguageModelSettings
from hfkit.tasks.outputs import asked_places, finite

if TYPE_CHECKING:
    import torch
    from transformers import PretrainedConfig, PreTrainedTokenizerBase

    from hfkit.tasks.base import Batch

FIXED = 0x6D61736B  # keys the masks of validation, the same in every run and evaluation


class MaskedLanguageModel(CausalLanguageModel):
    """BERT's objective on one stream of tokens, cut into blocks between the tokenizer's special tokens.

    Training draws masks anew each time a block is seen. Evaluations while training use fixed masks, one pass a block:
    `masked_loss`. A trained model is scored exactly: each token hidden once, alone in its block, as many passes as a
    block has tokens (Salazar et al. 2020). The prediction of a block is exp of its mean nats, beside the sums it is
    made of. The special tokens between which blocks and documents stand are never hidden.
    """

    objective: ClassVar[Literal["causal", "masked"]] = "masked"
    head: ClassVar[Head] = "masked-lm"

    def __init__(self, settings: LanguageModelSettings, *, joined: bool | None = None, exact: bool = True) -> None:
        """`exact`: whether texts are scored token by token, or by fixed masks as while training."""
        super().__init__(settings, joined=joined)
        self.exact = exact

    @property
    def headline(self) -> tuple[str, Literal["higher", "lower"]]:
        return ("pseudo_perplexity" if self.exact else "masked_perplexity"), "lower"

    def resolve(
        self, rows: Sequence[Row], tokenizer: PreTrainedTokenizerBase, config: PretrainedConfig
    ) -> tuple[Self, list[Resolution]]:
        task, lines = super().resolve(rows, tokenizer, config)
        return type(self)(task.settings, joined=task.joined, exact=False), lines

    def encode(self, rows: Iterable[Row], tokenizer: PreTrainedTokenizerBase) -> Iterator[Feature]:
        """Feature columns: row, input_ids, word (per token: its word's number from 1; 0: special), bytes, and what
        masks are made of: mask_id, vocabulary (entries of the tokenizer).

        Raises DataError when there is no text, UsageError when a block has no room for any.
        """
        before, after = frame(tokenizer)
        room = int(self.settings.block_size) - len(before) - len(after)
        if room < 1:
            raise UsageError(f"lm.block_size={self.settings.block_size} has no room for a token of text", "give more")
        parts = {"mask_id": int(tokenizer.mask_token_id), "vocabulary": len(tokenizer)}
        goes_on = continuing(tokenizer) if self.settings.whole_word else None
        end, row = end_id(tokenizer), -1
        stream = tokens_of((row["text"] for row in rows), tokenizer, joined=is_joined(rows))
        for row, (ids, sizes) in enumerate(pieces_of(stream, room)):
            begins = ids != end if goes_on is None else (ids != end) & ~goes_on[ids]
            begins[0] |= ids[0] != end  # a word that the block before began
            word = np.cumsum(begins) * (ids != end)
            yield {
                "row": row,
                "input_ids": [*before, *ids.tolist(), *after],
                "word": [0] * len(before) + word.tolist() + [0] * len(after),
                "bytes": int(sizes.sum()),
                **parts,
            }
        if row < 0:
            raise DataError("the text has no token, so none can be scored", "give more text")

    def draw(self, feature: Feature, rng: np.random.Generator) -> Feature:
        """The block as one step of training sees it."""
        return masked(feature, rng)

    def views(self, features: Sequence[Feature]) -> Iterator[list[Feature]]:
        """The blocks as they pass through the model to be scored: once with fixed masks, or with each token hidden."""
        if not self.exact:
            yield [masked(feature, np.random.default_rng([FIXED, feature["row"]])) for feature in features]
            return
        found = False
        for place in range(max(len(feature["input_ids"]) for feature in features)):
            view = [hidden_at(feature, place) for feature in features]
            if any(feature["asked"].any() for feature in view):
                found = True
                yield view
        if not found:  # end tokens alone: they are read all the same, and give nothing
            yield view

    def loss(self, outputs: Any, batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
        """(sum of nats, tokens asked for) from logits (asked tokens, vocabulary), in float32."""
        nats = _nats(outputs, batch)
        return nats.sum(), batch["asked"].sum()

    def read(self, outputs: Any, batch: Batch) -> dict[str, torch.Tensor]:
        """`nll` (blocks,): nats of the tokens asked for; `count` (blocks,): how many these are. Views add up."""
        import torch

        blocks = asked_places(batch) // batch["input_ids"].shape[1]
        empty = torch.zeros(len(batch["input_ids"]), device=outputs.logits.device)
        return {"nll": empty.index_add(0, blocks, _nats(outputs, batch)), "count": batch["asked"].sum(dim=1)}

    def merge(self, row: Row, reads: Sequence[Read]) -> Prediction:
        """`row` is the block's feature. Raises ModelError when the likelihood is not finite."""
        nll, tokens = float(finite(reads[0]["nll"], row["row"])), int(reads[0]["count"])
        value = nll / max(1, tokens)
        said: Prediction = {"id": str(row["row"]), "prediction": math.exp(value) if value < 700 else None}
        if not self.exact:
            return {**said, "masked_nll": nll, "tokens": tokens}
        return {**said, "pseudo_nll": nll, "tokens": tokens, "bytes": int(row["bytes"])}

    @property
    def measured(self) -> tuple[str, ...]:
        return ("pseudo_nll", "tokens", "bytes") if self.exact else ("masked_nll", "tokens")

    def definitions(self) -> dict[str, str]:
        """Each metric with how the text was joined, the block, and which tokens are hidden."""
        size = self.settings.block_size
        cut = "block of the predictions" if size == "auto" else f"block {size} tokens with its special ones"
        how = f"join: {JOIN[self.joined]}; {cut}; special tokens are never hidden"
        names = ("pseudo_perplexity", "pseudo_loss", "pseudo_bits_per_byte") if self.exact else _FIXED_NAMES
        words = ", whole words" if self.settings.whole_word and not self.exact else ""
        asked = "" if self.exact else f"; {SHARE:.0%} of each block's tokens{words}, the same in every evaluation"
        return {name: f"{definition('masked', name)}; {how}{asked}" for name in names}

    def _with(self, settings: LanguageModelSettings, rows: Sequence[Row]) -> Self:
        return type(self)(settings, joined=is_joined(rows), exact=self.exact)

    def _check_model(self, config: PretrainedConfig) -> None:
        """Raise ModelError for a model without this head, UsageError for keys of the other objective."""
        from hfkit.models import fills_in_words

        for name, value in (("stride", self.settings.stride), ("scorer", self.settings.scorer)):
            if value not in (None, "text"):
                raise UsageError(f"lm.{name}={value} is for lm.objective=causal, and here it is masked", "leave it out")
        if not fills_in_words(config.model_type, is_decoder=bool(getattr(config, "is_decoder", False))):
            raise ModelError(
                f"lm.objective=masked needs a model that reads both ways, and a {config.model_type} does not",
                "take a BERT, such as scratch:bert-mini for a fresh one",
            )


_FIXED_NAMES = ("masked_perplexity", "masked_loss")


def _nats(outputs: Any, batch: Batch) -> torch.Tensor:
    """(asked tokens,) negative log-likelihood of the tokens that were there."""
    from torch.nn.functional import cross_entropy

    targets = batch["targets"].flatten()[asked_places(batch)]
    return cross_entropy(outputs.logits.float(), targets, reduction="none")
