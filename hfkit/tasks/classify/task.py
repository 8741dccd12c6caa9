"""Classification of a text or a pair as competitions have it: one label, several, or numbers; one task of the table."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

import numpy as np

from hfkit.data import validators
from hfkit.data.findings import Finding, failure_of, raise_failures
from hfkit.errors import DataError
from hfkit.recipe.section import Section
from hfkit.tasks import outputs as heads
from hfkit.tasks import tally
from hfkit.tasks.base import Column, Feature, Prediction, Read, Resolution, Row
from hfkit.tasks.classify.head import PROBLEM, fitted, head_order
from hfkit.tasks.classify.settings import ClassifySettings
from hfkit.tasks.labels import in_order, label_text
from hfkit.tasks.pairs import encode_texts, resolve_length
from hfkit.tasks.slicing import classify_slices
from hfkit.tasks.targets import decide, empty, gold_of, judge, label_names, odd_rows, refuse_unknown, scale, survey

if TYPE_CHECKING:
    import torch
    from transformers import PretrainedConfig, PreTrainedTokenizerBase

    from hfkit.tasks.base import Batch, Divergence

TEXTS = ("text", "text_pair")
_TEXT = ("sentence", "content", "review", "comment_text", "full_text", "excerpt", "utterance", "tweet")


class Classify:
    """One text or two -> a label, several labels, or one or several numbers, as `settings.target` says.

    Statistics of a row: single `gold`, `predicted`, `p_i`; multi `gold_i`, `predicted_i`, `p_i`; regression `gold_i`,
    `predicted_i`; i is a label's place (single: in ascending order); `classes`, `ordered` and `several` say which of
    these it is. Regression is trained on standardised targets, so that the same learning rate suits ratings of 1 to 5
    and prices in thousands; predictions are in the data's own unit.
    """

    name: ClassVar[str] = "classify"
    head: ClassVar[Literal["sequence-classification"]] = "sequence-classification"
    driver: ClassVar[Literal["forward"]] = "forward"
    columns: ClassVar[tuple[Column, ...]] = (
        Column("id", False, ("guid", "idx", "index", "uid", "row_id", "text_id", "essay_id")),
        Column("text", True, (*_TEXT, "sentence1", "question1", "text_a")),
        Column("text_pair", False, ("sentence2", "question2", "text_b")),
        Column("label", False, ("labels", "category", "class", "target", "sentiment", "intent", "score"), gold=True),
    )
    blocks: ClassVar[bool] = False
    group: ClassVar[str | None] = None
    Settings: ClassVar[type[Section]] = ClassifySettings

    def __init__(self, settings: ClassifySettings, *, of_gold: Sequence[str] = ()) -> None:
        self.settings = settings
        self._of_gold = list(of_gold)  # labels of the rows, for predictions of other tools that only say one

    @property
    def headline(self) -> tuple[str, Literal["higher", "lower"]]:
        if self.settings.target == "regression":
            return ("rmse" if len(self.settings.labels or [""]) == 1 else "mcrmse"), "lower"
        return ("micro_f1" if self.settings.target == "multi" else "accuracy"), "higher"

    def check(self, rows: Sequence[Row], *, training: bool, train_rows: Sequence[Row] | None = None) -> list[str]:
        """Texts, ids and labels of all rows; returns what was found. Raises DataError."""
        return raise_failures(self.findings(rows, training=training, train_rows=train_rows))

    def findings(
        self, rows: Sequence[Row], *, training: bool, train_rows: Sequence[Row] | None = None
    ) -> Iterator[Finding]:
        yield from validators.duplicate_ids(rows, "warning")
        most = validators.MOST_EMPTY if training else 1.0
        for column in TEXTS[: 2 if len(rows) and "text_pair" in rows[0] else 1]:
            yield from validators.text_column(rows, column, empty="warning", most=most if column == "text" else 1.0)
        try:
            found = survey(rows)
            if not found.gold and not training:
                return
            if training and found.missing:
                message = f"{found.missing:,} training rows have no label, first row {found.first_missing!r}"
                missing = (found.first_missing or "",)
                yield Finding("failure", "no_label", message, found.missing, missing, "leave them out")
            if not found.gold:
                return
            target, _ = decide(found, self.settings.target)
            if training and train_rows is None and target != "regression":
                for name in ("mean", "std"):
                    if getattr(self.settings, name) is not None:
                        message = f"classify.{name} has no effect: the target is {target}, not regression"
                        yield Finding("warning", "idle_key", message)
            for line in judge(found, target, self.settings.labels, training=training and train_rows is None):
                yield Finding("warning", "labels", line)
        except DataError as error:
            odd = odd_rows(rows, self.settings.labels)
            yield failure_of(error, "unknown_labels", len(odd), odd)

    def usable(self, row: Row) -> bool:
        """False without a label, and for -1 where it is not one of the labels (the way GLUE hides gold)."""
        return not (empty(row.get("label")) or self._hidden(row["label"]))

    def resolve(
        self, rows: Sequence[Row], tokenizer: PreTrainedTokenizerBase, config: PretrainedConfig
    ) -> tuple[Classify, list[Resolution]]:
        """Target, labels, scale and length for training. Raises DataError for labels that do not fit together."""
        found = survey(row for row in rows if self.usable(row))
        target, why = decide(found, self.settings.target)
        lines = [Resolution("classify.target", target, why)]
        names = self.settings.labels or head_order(label_names(found, target), config)
        if target != "regression":
            refuse_unknown(found, names)
        update: dict[str, Any] = {"target": target, "labels": names}
        if target == "regression":
            mean, std = scale((row for row in rows if self.usable(row)), names)
            update |= {"mean": self.settings.mean or mean, "std": self.settings.std or std}
            lines += [Resolution(f"classify.{key}", update[key], "of the training rows") for key in ("mean", "std")]
        else:
            lines.append(Resolution("classify.labels", names, f"{len(names)} labels"))
        length, chosen = resolve_length("classify.max_length", self.settings.max_length, rows, tokenizer, config, TEXTS)
        return self._with(self.settings.model_copy(update={**update, "max_length": length})), [*lines, chosen]

    def adopt(self, rows: Sequence[Row], config: PretrainedConfig | None) -> tuple[Classify, list[Resolution]]:
        """Target and labels of a trained model, and the labels of these rows checked against them, by name.

        Without a config the labels are those of the predictions, or of the rows where predictions say one only.
        Raises ModelError when the head does not fit the settings, DataError for labels that it does not know.
        """
        if config is None:
            found = survey(row for row in rows if self.usable(row))
            target, why = decide(found, self.settings.target)
            if target == "single":
                return self._with(self.settings, of_gold=label_names(found, target)), []
            lines = [Resolution("classify.target", target, why)] if self.settings.target == "auto" else []
            names = label_names(found, target) if target == "multi" else []
            return self._with(self.settings.model_copy(update={"target": target}), of_gold=names), lines
        settings, lines = fitted(self.settings, config)
        task = self._with(settings)
        found = survey(row for row in rows if task.usable(row))
        if settings.target == "regression":
            if found.columns and not self.settings.labels and len(found.columns) == config.num_labels:
                task = self._with(settings.model_copy(update={"labels": found.columns}))
        else:
            refuse_unknown(found, task._names(), of_model=True)
        return task, lines

    def model_config(self) -> dict[str, Any]:
        names = self._names()
        return {
            "num_labels": len(names),
            "id2label": dict(enumerate(names)),
            "label2id": {name: place for place, name in enumerate(names)},
            "problem_type": PROBLEM.get(self.settings.target),
        }

    def encode(self, rows: Iterable[Row], tokenizer: PreTrainedTokenizerBase) -> Iterator[Feature]:
        """Feature columns: row, input_ids, [token_type_ids], label (-100: none) or labels (k numbers, NaN: none)."""
        length = self.settings.max_length
        places = {name: place for place, name in enumerate(self._names())}
        for row, feature in encode_texts(rows, tokenizer, *TEXTS, length if isinstance(length, int) else None):
            gold = gold_of(row, places, self.settings.target) if self.usable(row) else None
            if self.settings.target == "single":
                feature["label"] = heads.NO_LABEL if gold is None else gold[0]
            elif gold is None:
                feature["labels"] = [float("nan")] * len(places)
            elif self.settings.target == "regression":
                feature["labels"] = ((np.asarray(gold) - self._mean()) / self._std()).tolist()
            else:
                feature["labels"] = gold
            yield feature

    def loss(self, outputs: Any, batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
        if self.settings.target == "single":
            return heads.cross_entropy(outputs, batch)
        return (
            heads.binary_cross_entropy(outputs, batch)
            if self.settings.target == "multi"
            else heads.squared_error(outputs, batch)
        )

    @property
    def divergence(self) -> Divergence | None:
        """Of labels; numbers have no probabilities that could diverge."""
        if self.settings.target == "regression":
            return None
        return heads.label_divergence if self.settings.target == "multi" else heads.class_divergence

    def read(self, outputs: Any, batch: Batch) -> dict[str, torch.Tensor]:
        logits = outputs.logits.float()
        if self.settings.target == "single":
            return {"probabilities": logits.softmax(dim=-1)}
        return {"probabilities": logits.sigmoid()} if self.settings.target == "multi" else {"numbers": logits}

    def merge(self, row: Row, reads: Sequence[Read]) -> Prediction:
        names = self._names()
        if self.settings.target == "regression":
            values = heads.finite(np.asarray(reads[0]["numbers"]), row["id"])
            numbers = (values * self._std() + self._mean()).tolist()
            return {
                "id": row["id"],
                "prediction": numbers[0] if len(names) == 1 else dict(zip(names, numbers, strict=True)),
            }
        if self.settings.target == "multi":
            chances = heads.finite(np.asarray(reads[0]["probabilities"]), row["id"]).tolist()
            said: Any = [name for name, chance in zip(names, chances, strict=True) if chance > 0.5]
        else:
            chances = heads.class_probabilities(reads, row["id"]).tolist()
            said = names[int(np.argmax(chances))]
        return {"id": row["id"], "prediction": said, "probabilities": dict(zip(names, chances, strict=True))}

    def measure(self, prediction: Prediction, row: Row) -> dict[str, float] | None:
        """See the class. Labels are matched by name; without resolved settings they are those of the prediction."""
        if not self.usable(row):
            return None
        target = self.settings.target
        if target == "auto":  # the rows' own target is single, else it is settled
            target = "single" if self._of_gold else tally.target_said(prediction)
        names = self._places(prediction)
        if target == "single":
            names = in_order(names)  # places in ascending order, whatever the head's: quadratic kappa needs them so
        places = {name: place for place, name in enumerate(names)}
        return tally.statistics(target, gold_of(row, places, target), prediction, places)

    def reduce(self, columns: Mapping[str, np.ndarray]) -> dict[str, float]:
        return tally.reduce(columns)

    def means(self, columns: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        return tally.means(columns)

    def classes(
        self, columns: Mapping[str, np.ndarray], prediction: Prediction
    ) -> tuple[Mapping[str, np.ndarray], list[str]] | None:
        return (columns, in_order(self._places(prediction))) if "gold" in columns else None

    @property
    def without_prediction(self) -> None:
        return None

    def counted(self, ids: Sequence[str], columns: Mapping[str, np.ndarray]) -> np.ndarray | None:
        return None

    def slices(self, row: Row) -> dict[str, str]:
        return classify_slices(row)

    def definitions(self) -> dict[str, str]:
        """Of the metrics that this target can have; without a target: of all."""
        return tally.definitions(self.settings.target)

    @property
    def label_order(self) -> list[str]:
        """The labels in the order of the places in `gold` and `predicted` of a single-label row."""
        return in_order(self.settings.labels or self._of_gold)

    def _with(self, settings: ClassifySettings, *, of_gold: Sequence[str] = ()) -> Self:
        """This task, a user's own too, with other settings."""
        made = copy.copy(self)
        made.settings, made._of_gold = settings, list(of_gold)
        return made

    def _places(self, prediction: Prediction) -> list[str]:
        """The labels that the statistics of a row count by their places."""
        said = tally.names_said(prediction)
        return self.settings.labels or ([] if said == ["value"] else said) or self._of_gold or ["value"]

    def _names(self) -> list[str]:
        return self.settings.labels or []

    def _hidden(self, value: Any) -> bool:
        """-1 where it is not one of the labels."""
        labels = self.settings.labels
        single = labels is not None and self.settings.target in ("auto", "single")
        return single and label_text(value) == "-1" and "-1" not in (labels or ())

    def _mean(self) -> np.ndarray:
        return np.asarray(self.settings.mean or [0.0])

    def _std(self) -> np.ndarray:
        return np.asarray(self.settings.std or [1.0])
