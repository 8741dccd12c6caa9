"""Classification of a text or a pair as competitions have it: one label, several, or numbers; one task of the table."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

import numpy as np
from pydantic import Field, field_validator

from hfkit.errors import DataError, ModelError
from hfkit.metrics import classification as scores
from hfkit.metrics.definitions import defined_keys, definition
from hfkit.recipe.section import Auto, Section, key
from hfkit.tasks import outputs as heads
from hfkit.tasks.base import Column, Feature, Prediction, Read, Resolution, Row
from hfkit.tasks.labels import in_order, is_integer, label_text, settings_line, show_counts
from hfkit.tasks.pairs import encode_texts, model_length, resolve_length
from hfkit.tasks.targets import (
    Survey,
    Target,
    decide,
    empty,
    flags_of,
    is_list,
    label_names,
    numbers_of,
    refuse_unknown,
    survey,
)

if TYPE_CHECKING:
    import torch
    from transformers import PretrainedConfig, PreTrainedTokenizerBase

    from hfkit.tasks.base import Batch

TEXTS = ("text", "text_pair")
_PROBLEM: dict[str, str] = {
    "single": "single_label_classification",
    "multi": "multi_label_classification",
    "regression": "regression",
}
_QWK = "Cohen's kappa with quadratic weights, predictions rounded to integers within gold's range, -1 to 1"


class ClassifySettings(Section):
    """The keys of `classify:`."""

    max_length: Auto | Annotated[int, Field(ge=8)] = key("auto", "tokens of a row; auto: 99th percentile of training")
    labels: list[str] | None = key(None, "the labels in the head's order; null: integers ascending, else by code point")
    target: Literal["auto", "single", "multi", "regression"] = key("auto", "single label, multi label, or regression")
    mean: list[float] | None = key(None, "regression: what the head's 0 stands for; null: the training mean")
    std: list[float] | None = key(None, "regression: the unit of the head's numbers; null: the training deviation")

    @field_validator("labels", mode="before")
    @classmethod
    def _texts(cls, value: Any) -> Any:
        return [label_text(label) for label in value] if isinstance(value, list) else value

    @field_validator("labels")
    @classmethod
    def _distinct(cls, value: list[str] | None) -> list[str] | None:
        if value is not None and (len(set(value)) != len(value) or not value):
            raise ValueError("give at least one label, and each once")
        return value


class Classify:
    """One text or two -> a label, several labels, or one or several numbers, as `settings.target` says.

    Statistics of a row: single `gold`, `predicted`, `p_i`; multi `gold_i`, `predicted_i`, `p_i`; regression `gold_i`,
    `predicted_i`; i is the place in `settings.labels`. Regression is trained on standardised targets, so that the same
    learning rate suits ratings of 1 to 5 and prices in thousands; predictions are in the data's own unit.
    """

    name: ClassVar[str] = "classify"
    head: ClassVar[Literal["sequence-classification"]] = "sequence-classification"
    driver: ClassVar[Literal["forward"]] = "forward"
    columns: ClassVar[tuple[Column, ...]] = (
        Column("id", False, ("guid", "idx", "index", "uid", "row_id", "text_id")),
        Column("text", True, ("sentence", "sentence1", "content", "review", "comment_text", "question1", "excerpt")),
        Column("text_pair", False, ("sentence2", "question2")),
        Column("label", False, ("labels", "category", "class", "target", "sentiment", "intent", "score"), gold=True),
    )
    blocks: ClassVar[bool] = False
    group: ClassVar[str | None] = None
    Settings: ClassVar[type[Section]] = ClassifySettings

    def __init__(self, settings: ClassifySettings) -> None:
        self.settings = settings

    @property
    def headline(self) -> tuple[str, Literal["higher", "lower"]]:
        if self.settings.target == "regression":
            return ("rmse" if len(self.settings.labels or [""]) == 1 else "mcrmse"), "lower"
        return ("micro_f1" if self.settings.target == "multi" else "accuracy"), "higher"

    def check(self, rows: Sequence[Row], *, training: bool) -> list[str]:
        """Texts, ids and labels of all rows; returns what was found. Raises DataError."""
        from hfkit.data import validators

        findings = [*validators.duplicate_ids(rows, "warning" if training else "failure")]
        for column in TEXTS[: 2 if len(rows) and "text_pair" in rows[0] else 1]:
            findings += validators.text_column(rows, column, empty="warning")
        lines = validators.raise_failures(findings)
        found = survey(rows)
        if not found.gold and not training:
            return lines
        if training and found.missing:
            raise DataError(
                f"{found.missing:,} training rows have no label, first row {found.first_missing!r}", "leave them out"
            )
        target, _ = decide(found, self.settings.target)
        return lines + self._judge(found, target, training=training)

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
        names = self.settings.labels or _head_order(label_names(found, target), config)
        if target != "regression":
            refuse_unknown(found, names)
        update: dict[str, Any] = {"target": target, "labels": names}
        if target == "regression":
            update |= self._scale(rows, names)
            lines += [Resolution(f"classify.{key}", update[key], "of the training rows") for key in ("mean", "std")]
        else:
            lines.append(Resolution("classify.labels", names, f"{len(names)} labels"))
        length, chosen = resolve_length("classify.max_length", self.settings.max_length, rows, tokenizer, config, TEXTS)
        return Classify(self.settings.model_copy(update={**update, "max_length": length})), [*lines, chosen]

    def adopt(self, rows: Sequence[Row], config: PretrainedConfig | None) -> tuple[Classify, list[Resolution]]:
        """Target and labels of a trained model, and the labels of these rows checked against them, by name.

        Without a config nothing is fitted: the labels are then those of the predictions. Raises ModelError when the
        head does not fit the settings, DataError for labels that it does not know.
        """
        if config is None:
            return self, []
        settings, lines = self._fitted(config)
        task = Classify(settings)
        found = survey(row for row in rows if task.usable(row))
        if settings.target == "regression":
            if found.columns and not self.settings.labels and len(found.columns) == config.num_labels:
                task = Classify(settings.model_copy(update={"labels": found.columns}))
        else:
            refuse_unknown(found, task._names(), of_model=True)
        return task, lines

    def model_config(self) -> dict[str, Any]:
        names = self._names()
        return {
            "num_labels": len(names),
            "id2label": dict(enumerate(names)),
            "label2id": {name: place for place, name in enumerate(names)},
            "problem_type": _PROBLEM.get(self.settings.target),
        }

    def encode(self, rows: Iterable[Row], tokenizer: PreTrainedTokenizerBase) -> Iterator[Feature]:
        """Feature columns: row, input_ids, [token_type_ids], label (-100: none) or labels (k numbers, NaN: none)."""
        length = self.settings.max_length
        places = {name: place for place, name in enumerate(self._names())}
        for row, feature in encode_texts(rows, tokenizer, *TEXTS, length if isinstance(length, int) else None):
            gold = self._gold(row, places, self.settings.target) if self.usable(row) else None
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
        said, chances = prediction["prediction"], prediction.get("probabilities") or {}
        target = self.settings.target if self.settings.target != "auto" else _target_said(said, chances)
        names = self.settings.labels or (list(said) if isinstance(said, Mapping) else in_order(chances))
        places = {name: place for place, name in enumerate(names or ["value"])}
        gold = self._gold(row, places, target)
        if target == "single":
            return _single(gold[0], label_text(said), chances, places, row["id"])
        guessed = [float(name in said) for name in places] if target == "multi" else numbers_of(said, places, row["id"])
        values = {f"p_{place}": float(chances[name]) for name, place in places.items() if name in chances}
        for place, (right, guess) in enumerate(zip(gold, guessed, strict=True)):
            values |= {f"gold_{place}": float(right), f"predicted_{place}": guess}
        return values

    def reduce(self, columns: Mapping[str, np.ndarray]) -> dict[str, float]:
        if "gold" in columns:
            chances = sum(name.startswith("p_") for name in columns)
            count = chances or len(self._names()) or int(max(columns["gold"].max(), columns["predicted"].max())) + 1
            ordered = bool(np.all(columns["ordered"]))
            return scores.reduce_single(columns, [f"{i}" if ordered else f"label {i}" for i in range(count)])
        count = sum(name.startswith("gold_") for name in columns)
        if "p_0" in columns or self.settings.target == "multi":
            return scores.reduce_multi(columns, [f"label {i}" for i in range(count)])
        metrics = scores.reduce_regression(columns, count)
        kappa = (
            _rounded_kappa(np.asarray(columns["gold_0"]), np.asarray(columns["predicted_0"])) if count == 1 else None
        )
        return metrics if kappa is None else {**metrics, "qwk": kappa}

    def definitions(self) -> dict[str, str]:
        """Of the metrics that this target can have; without a target: of all."""
        kinds = ["single", "multi", "regression"] if self.settings.target == "auto" else [self.settings.target]
        found = {key: definition(kind, key) for kind in reversed(kinds) for key in defined_keys(kind)}
        return {**found, "qwk": _QWK} if kinds == ["regression"] else found

    def _names(self) -> list[str]:
        return self.settings.labels or []

    def _judge(self, found: Survey, target: Target, *, training: bool) -> list[str]:
        """Lines about the labels. Raises DataError for labels that are not among those given, or a single class."""
        lines = [f"{found.missing:,} rows without a label are left out"] if found.missing else []
        given = self.settings.labels
        if given is not None and target != "regression":
            refuse_unknown(found, given)
            if absent := [
                name for name in given if training and not (found.values[name] or found.members[name] or found.columns)
            ]:
                lines.append(f"labels without a training row: {', '.join(absent[:10])}")
        if target == "single":
            if training and len(found.values) < 2:
                raise DataError(f"training needs two labels or more; found: {show_counts(found.values)}")
            others = [name for name in in_order(found.values) if name != "-1"]
            if given is None and "-1" in found.values and "0" in others:
                line = settings_line("classify.labels", others[:12])
                lines.append(f"label -1 is a class of its own here; to leave its rows out: {line}")
        return lines

    def _hidden(self, value: Any) -> bool:
        """-1 where it is not one of the labels."""
        single = self.settings.target == "single" and self.settings.labels is not None
        return single and label_text(value) == "-1" and "-1" not in self._names()

    def _gold(self, row: Row, places: Mapping[str, int], target: str) -> list[Any]:
        """[class number], or one number for each name. Raises DataError for labels that are not among the names."""
        value = row["label"]
        if target == "regression":
            return numbers_of(value, places, row["id"])
        if target == "multi" and isinstance(value, Mapping):
            return flags_of(value, places, row["id"])
        texts = [label_text(each) for each in value] if is_list(value) else [label_text(value)]
        if any(text not in places for text in texts) or (target == "single" and is_list(value)):
            known = ", ".join(list(places)[:10]) or "unknown"
            raise DataError(
                f"row {row['id']!r}: the label {value!r} is not one of the labels ({known})",
                "correct the row, or give all labels with classify.labels",
            )
        return [places[texts[0]]] if target == "single" else [float(name in texts) for name in places]

    def _fitted(self, config: PretrainedConfig) -> tuple[ClassifySettings, list[Resolution]]:
        """Settings that fit a trained head. Raises ModelError when there is none, or one of another size."""
        if not _has_head(config):
            raise ModelError(
                "the model has no classification head", "fine-tune it first, with `hfkit finetune classify`"
            )
        given = self.settings
        target = given.target if given.target != "auto" else _target_of(config)
        names = given.labels or _labels(config)
        if len(names) != len(_labels(config)):
            raise ModelError(
                f"the model's head gives {len(_labels(config))} numbers, classify.labels has {len(names)}",
                "give one label for each of them, in the head's order",
            )
        length, chosen = model_length("classify.max_length", given.max_length, config)
        update: dict[str, Any] = {"target": target, "labels": names, "max_length": length}
        if target == "regression":
            update |= {"mean": given.mean or [0.0] * len(names), "std": given.std or [1.0] * len(names)}
        lines = [Resolution("classify.target", target, "the model's head")] if given.target == "auto" else []
        return given.model_copy(update=update), [*lines, *([chosen] if chosen else [])]

    def _scale(self, rows: Iterable[Row], names: Sequence[str]) -> dict[str, list[float]]:
        """Mean and standard deviation of the targets; what was given stays. A constant target keeps its unit."""
        values = np.asarray(
            [numbers_of(row["label"], names, row["id"]) for row in rows if self.usable(row)], dtype=np.float64
        )
        spread = values.std(axis=0)
        found = {"mean": values.mean(axis=0).tolist(), "std": np.where(spread > 0, spread, 1.0).tolist()}
        return {"mean": self.settings.mean or found["mean"], "std": self.settings.std or found["std"]}

    def _mean(self) -> np.ndarray:
        return np.asarray(self.settings.mean or [0.0])

    def _std(self) -> np.ndarray:
        return np.asarray(self.settings.std or [1.0])


def _single(
    gold: int, said: str, chances: Mapping[str, float], places: Mapping[str, int], row_id: str
) -> dict[str, float]:
    """Statistics of one row with one label; `ordered`: all labels are integers, so that their distance counts."""
    if said not in places:
        raise DataError(
            f"row {row_id!r}: the prediction {said!r} is not one of the labels {', '.join(list(places)[:10])}"
        )
    values = {f"p_{places[name]}": float(chance) for name, chance in chances.items()}
    ordered = float(all(map(is_integer, places)))
    return {"gold": float(gold), "predicted": float(places[said]), "ordered": ordered, **values}


def _rounded_kappa(gold: np.ndarray, predicted: np.ndarray) -> float | None:
    """Quadratic kappa of predictions rounded to integers, for gold that is integers of a narrow range; else None."""
    low, high = gold.min(), gold.max()
    if not np.equal(gold, np.rint(gold)).all() or not 2 <= high - low <= 100:
        return None
    count = int(high - low) + 1
    guessed = np.clip(np.rint(predicted), low, high)
    table = scores.confusion((gold - low).astype(np.int64), (guessed - low).astype(np.int64), count)
    return scores.quadratic_kappa(table, [str(i) for i in range(count)])


def _target_said(said: Any, chances: Mapping[str, float]) -> Target:
    """The target that a prediction answers."""
    if is_list(said):
        return "multi"
    return "single" if chances or isinstance(said, str) else "regression"


def _target_of(config: PretrainedConfig) -> Target:
    """The target that a trained head was made for, from its config."""
    if config.problem_type in (_PROBLEM["multi"], _PROBLEM["regression"]):
        return "multi" if config.problem_type == _PROBLEM["multi"] else "regression"
    return "regression" if len(_labels(config)) == 1 else "single"


def _labels(config: PretrainedConfig) -> list[str]:
    return [str(config.id2label[place]) for place in sorted(config.id2label, key=int)]


def _has_head(config: PretrainedConfig) -> bool:
    return any("SequenceClassification" in name for name in config.architectures or [])


def _head_order(names: list[str], config: PretrainedConfig) -> list[str]:
    """The order of a trained head that has just these labels, else the order given."""
    return _labels(config) if _has_head(config) and set(_labels(config)) == set(names) else names
