"""Choosing by likelihood: which of several texts a language model finds likeliest after a prompt; zero- or few-shot.

As lm-evaluation-harness' multiple_choice: one feature for each choice, only the choice's tokens are scored.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

import numpy as np

from hfkit.data.findings import CORRECT, Finding, failure_of, raise_failures
from hfkit.errors import DataError, UsageError
from hfkit.metrics.classification import reduce_single
from hfkit.metrics.definitions import definition
from hfkit.metrics.weights import WEIGHT, mean
from hfkit.recipe.section import Section
from hfkit.tasks.base import Column, Driver, Feature, Head, Prediction, Read, Resolution, Row
from hfkit.tasks.choice.columns import KNOWN, columns_of
from hfkit.tasks.choice.prompt import followed, gold_place, offered, rendered, solved, tokenised
from hfkit.tasks.choice.settings import ChoiceSettings, pieces
from hfkit.tasks.outputs import asked_places, finite

if TYPE_CHECKING:
    import torch
    from transformers import PretrainedConfig, PreTrainedTokenizerBase

    from hfkit.tasks.base import Batch

DECIDES = {
    "none": "sum of the log-likelihoods of its tokens",
    "bytes": "sum of the log-likelihoods of its tokens per byte",
    "pmi": "sum of the log-likelihoods of its tokens less the same without prompt",
}
ALONE = -1  # the place of a choice that is read without its prompt


class Choice:
    """Rows of any columns; the template names those that are read. A prediction is the name of a choice.

    `log_likelihoods` are nats of each choice's tokens, `prediction_per_byte` is what these say per byte, `trimmed` the
    tokens of the prompt that did not fit.
    """

    name: ClassVar[str] = "choice"
    head: ClassVar[Head] = "causal-lm"
    driver: ClassVar[Driver] = "likelihood"
    columns: tuple[Column, ...] = (Column("id", False), Column("label", True, KNOWN["label"], gold=True))
    blocks: ClassVar[bool] = False
    group: ClassVar[str | None] = None
    Settings: ClassVar[type[Section]] = ChoiceSettings

    def __init__(self, settings: ChoiceSettings, *, shots: Sequence[Row] = ()) -> None:
        """`shots`: the rows that examples are drawn from."""
        self.settings = settings
        self.shots = shots
        if settings.template is not None:
            self.columns = columns_of(settings)

    @property
    def headline(self) -> tuple[str, Literal["higher", "lower"]]:
        return "accuracy", "higher"

    @property
    def fingerprint(self) -> str:
        """What features depend on beside rows and settings: the content of the examples."""
        return str(getattr(self.shots, "fingerprint", ""))

    def suited(self, config: Mapping[str, Any]) -> Self:
        """Itself. Raises UsageError without a template or choices, before data are read."""
        if self.settings.template is None:
            raise UsageError("choice.template is missing", "give choice.template='Q: {question} A:' with your columns")
        if self.settings.choices is None and self.settings.choices_column is None:
            hint = "give choice.choices='[\" yes\", \" no\"]', or choice.choices_column=NAME"
            raise UsageError("choice.choices is missing", hint)
        return self

    def with_shots(self, rows: Sequence[Row]) -> Self:
        """The task with rows that examples are drawn from."""
        return type(self)(self.settings, shots=rows)

    def check(self, rows: Sequence[Row], *, training: bool, train_rows: Sequence[Row] | None = None) -> list[str]:
        return raise_failures(self.findings(rows, training=training, train_rows=train_rows))

    def findings(
        self, rows: Sequence[Row], *, training: bool, train_rows: Sequence[Row] | None = None
    ) -> Iterator[Finding]:
        self.suited({})
        wrong: dict[str, tuple[DataError, list[str]]] = {}
        for row in rows:
            try:
                gold_place(row, self.settings.target, offered(self.settings, row))
                if empty := [name for name in self._asked if row.get(name) is None]:
                    raise DataError(f"row {row['id']!r}: {empty[0]} is null", CORRECT)
            except DataError as error:
                wrong.setdefault(error.message.partition(":")[2].partition("'")[0], (error, []))[1].append(row["id"])
        for first, ids in wrong.values():
            yield failure_of(first, "choice", len(ids), ids)

    def usable(self, row: Row) -> bool:
        return gold_place(row, self.settings.target, offered(self.settings, row)) is not None

    def resolve(
        self, rows: Sequence[Row], tokenizer: PreTrainedTokenizerBase, config: PretrainedConfig
    ) -> tuple[Self, list[Resolution]]:
        if self.settings.shots:
            raise UsageError("choice.shots is for scoring a model as it is, not for training", "leave it out")
        return self.adopt(rows, config)

    def adopt(self, rows: Sequence[Row], config: PretrainedConfig | None) -> tuple[Self, list[Resolution]]:
        if config is None:
            return self, []
        from hfkit.models import max_positions

        wanted, limit = self.settings.max_length, max_positions(config)
        size = limit if wanted == "auto" else min(wanted, limit)
        settled = type(self)(self.settings.model_copy(update={"max_length": size}), shots=self.shots)
        why = "the model's positions" if wanted == "auto" else f"{wanted} is beyond the model's positions"
        return settled, [Resolution("choice.max_length", size, why)] if size != wanted else []

    def model_config(self) -> dict[str, Any]:
        return {}

    def encode(self, rows: Iterable[Row], tokenizer: PreTrainedTokenizerBase) -> Iterator[Feature]:
        """One feature a choice, in order; with pmi one more each, without the prompt.

        Columns: row, input_ids, targets (the token after each), asked (1: that token is the choice's), gold (1: of the
        gold choice, with its prompt), place (of the choice; ALONE without prompt), bytes, trimmed. Raises DataError.
        """
        size, end = int(self.settings.max_length), int(tokenizer.eos_token_id)
        for number, row in enumerate(rows):
            called, texts = offered(self.settings, row)
            gold = gold_place(row, self.settings.target, (called, texts))
            prompts = [(self.prompt(row), 0), *([("", ALONE)] if self.settings.normalise == "pmi" else [])]
            for prompt, alone in prompts:
                known, choices = tokenised(tokenizer, prompt, texts, end)
                if max(map(len, choices)) > size:
                    raise DataError(f"row {row['id']!r}: a choice has more tokens than choice.max_length={size}")
                for place, (text, asked) in enumerate(zip(texts, choices, strict=True)):
                    yield {
                        "row": number,
                        **followed(known, asked, size),
                        "gold": int(place == gold and not alone),
                        "place": alone or place,
                        "bytes": len(text.strip().encode()),
                    }

    def prompt(self, row: Row) -> str:
        """The examples, then the row by the template."""
        own = rendered(str(self.settings.template), row)
        return self.settings.separator.join([*solved(self.settings, row, self.shots, own), own])

    def learnt(self, features: Any) -> np.ndarray:
        """The features that training learns from: the gold choice of each row."""
        return np.asarray([n for n in range(len(features)) if features.take([n])[0]["gold"]], dtype=np.int64)

    def loss(self, outputs: Any, batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
        """(sum of nats of the gold choices, their number)."""
        gold = batch["gold"].to(outputs.logits.dtype)
        return (self.read(outputs, batch)["nll"] * gold).sum(), batch["gold"].sum()

    def read(self, outputs: Any, batch: Batch) -> dict[str, torch.Tensor]:
        """`nll` (features,): nats of the choice's tokens, and the feature's own `place`, `bytes`, `trimmed`."""
        import torch
        from torch.nn.functional import cross_entropy

        places = asked_places(batch)
        nats = cross_entropy(outputs.logits.float(), batch["targets"].flatten()[places], reduction="none")
        empty = torch.zeros(len(batch["input_ids"]), device=nats.device)
        kept = {name: batch[name] for name in ("place", "bytes", "trimmed")}
        return {"nll": empty.index_add(0, places // batch["input_ids"].shape[1], nats), **kept}

    def merge(self, row: Row, reads: Sequence[Read]) -> Prediction:
        called, _ = offered(self.settings, row)
        with_prompt = [read for read in reads if read["place"] != ALONE]
        found = np.asarray([-float(finite(read["nll"], row["id"])) for read in with_prompt])
        per_byte = found / [max(1, int(read["bytes"])) for read in with_prompt]
        scores = per_byte if self.settings.normalise == "bytes" else found
        if self.settings.normalise == "pmi":
            alone = [-float(finite(read["nll"], row["id"])) for read in reads if read["place"] == ALONE]
            scores = found - alone
        return {
            "id": row["id"],
            "prediction": called[int(scores.argmax())],
            "prediction_per_byte": called[int(per_byte.argmax())],
            "choices": called,
            "log_likelihoods": found.tolist(),
            "trimmed": max(int(read["trimmed"]) for read in with_prompt),
        }

    def measure(self, prediction: Prediction, row: Row) -> dict[str, float] | None:
        """`right`, `right_per_byte` (0 or 1; the second where the prediction has it), of fixed choices also `gold` and
        `predicted` (their places)."""
        offers = offered(self.settings, row)
        gold = gold_place(row, self.settings.target, offers)
        if gold is None:
            return None
        said = {**row, self.settings.target: prediction["prediction"]}
        predicted = gold_place(said, self.settings.target, offers)
        found = {"right": float(predicted == gold)}
        if "prediction_per_byte" in prediction:
            found["right_per_byte"] = float(prediction["prediction_per_byte"] == offers[0][gold])
        if self.settings.choices is not None and predicted is not None:
            found |= {"gold": float(gold), "predicted": float(predicted)}
        return found

    def reduce(self, columns: Mapping[str, np.ndarray]) -> dict[str, float]:
        metrics = {name: 100.0 * float(mean(columns, values) or 0.0) for name, values in self.means(columns).items()}
        if "gold" in columns:
            kept = {name: columns[name] for name in ("gold", "predicted", WEIGHT) if name in columns}
            metrics["macro_f1"] = reduce_single(kept, self._fixed)["macro_f1"]
        return metrics

    def means(self, columns: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        found = {"accuracy": np.asarray(columns["right"])}
        if "right_per_byte" in columns:
            found["accuracy_norm"] = np.asarray(columns["right_per_byte"])
        return found

    def classes(
        self, columns: Mapping[str, np.ndarray], prediction: Prediction
    ) -> tuple[Mapping[str, np.ndarray], list[str]] | None:
        if "gold" not in columns:
            return None
        return {name: columns[name] for name in ("gold", "predicted")}, self._fixed

    @property
    def without_prediction(self) -> None:
        return None

    def counted(self, ids: Sequence[str], columns: Mapping[str, np.ndarray]) -> np.ndarray | None:
        return None

    def slices(self, row: Row) -> dict[str, str]:
        return {}

    def definitions(self) -> dict[str, str]:
        """Each metric with what decides, the template, and the examples."""
        settings = self.settings
        shots = f"{settings.shots} of {settings.shots_data}, seed {settings.seed}" if settings.shots else "none"
        choices = settings.choices or f"in {settings.choices_column}"
        how = f"; template {settings.template!r}; choices {choices}; examples: {shots}"
        decided = f", decided by the {DECIDES[settings.normalise]}"
        keys = ("accuracy", "macro_f1") if settings.choices else ("accuracy",)
        found = {key: definition("choice", key) + decided + how for key in keys}
        return found | {"accuracy_norm": definition("choice", "accuracy_norm") + how}

    @property
    def _asked(self) -> list[str]:
        """The columns that the template names."""
        return [name for _, name in pieces(str(self.settings.template)) if name]

    @property
    def _fixed(self) -> list[str]:
        """The names of choices that are the same for all rows."""
        return offered(self.settings, {"id": ""})[0]
