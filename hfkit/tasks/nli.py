"""Natural-language inference: the premise entails the hypothesis, contradicts it, or neither; one task of the table."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

import numpy as np
from pydantic import Field, field_validator

from hfkit.errors import DataError, ModelError
from hfkit.metrics.classification import reduce_single
from hfkit.metrics.definitions import definition
from hfkit.metrics.hans import HEURISTICS, reduce_hans
from hfkit.metrics.weights import WEIGHT
from hfkit.recipe.section import Auto, Section, key
from hfkit.tasks import labels as names
from hfkit.tasks import outputs as heads
from hfkit.tasks.base import Column, Feature, Prediction, Read, Resolution, Row
from hfkit.tasks.pairs import encode_texts, model_length, resolve_length
from hfkit.tasks.slicing import nli_slices

if TYPE_CHECKING:
    import torch
    from transformers import PretrainedConfig, PreTrainedTokenizerBase

    from hfkit.tasks.base import Batch

TEXTS = ("premise", "hypothesis")
_PLACES = {name: float(place) for place, name in enumerate(names.CLASSES)}
_HEURISTICS = {name: float(place) for place, name in enumerate(HEURISTICS)}


class NLISettings(Section):
    """The keys of `nli:`."""

    max_length: Auto | Annotated[int, Field(ge=8)] = key("auto", "tokens of a pair; auto: 99th percentile of training")
    labels: dict[str, str | None] | None = key(None, "class of each data label, e.g. {0: entailment}; null: by meaning")
    model_labels: dict[str, str] | None = key(None, "class of each label of a model that says LABEL_k")
    classes: list[str] | None = key(None, "the head's classes in order; null: the model's own, else the data's")

    @field_validator("labels", "model_labels", mode="before")
    @classmethod
    def _named(cls, value: Any) -> Any:
        if not isinstance(value, Mapping):
            return value
        return {names.label_text(label): None if name is None else _class(name) for label, name in value.items()}

    @field_validator("classes")
    @classmethod
    def _known(cls, value: list[str] | None) -> list[str] | None:
        found = None if value is None else [_class(name) for name in value]
        if found is not None and (len(set(found)) != len(found) or len(found) < 2 or names.ENTAILMENT not in found):
            raise ValueError(f"give {list(names.THREE_WAY)} or {list(names.TWO_WAY)}, in any order")
        return found


class NLI:
    """NLI with three classes, or two (entailment or not). Labels of data and model meet by name, never by number.

    Statistics of a row: `gold` and `predicted` are places in `labels.CLASSES`; `p_0`.. are the probabilities in that
    order; `heuristic` is HANS' own column where the data has it. When gold or model knows only entailment or not, a
    three-way answer is decided first and then read as entailment or not (McCoy, Pavlick & Linzen 2019).
    """

    name: ClassVar[str] = "nli"
    head: ClassVar[Literal["sequence-classification"]] = "sequence-classification"
    driver: ClassVar[Literal["forward"]] = "forward"
    columns: ClassVar[tuple[Column, ...]] = (
        Column("id", False, ("pairID", "pair_id", "uid", "guid", "idx")),
        Column("premise", True, ("sentence1", "sentence_1", "context", "text1", "text_a", "sentence_A")),
        Column("hypothesis", True, ("sentence2", "sentence_2", "text2", "text_b", "sentence_B")),
        Column("label", False, ("gold_label", "labels", "entailment_label"), gold=True),
    )
    blocks: ClassVar[bool] = False
    group: ClassVar[str | None] = "premise"
    Settings: ClassVar[type[Section]] = NLISettings

    def __init__(self, settings: NLISettings) -> None:
        self.settings = settings

    @property
    def headline(self) -> tuple[str, Literal["higher", "lower"]]:
        return "accuracy", "higher"

    def check(self, rows: Sequence[Row], *, training: bool, train_rows: Sequence[Row] | None = None) -> list[str]:
        """Texts, ids and labels of all rows; returns what was dropped and how numbers are read. Raises DataError."""
        from hfkit.data import validators

        findings = [*validators.duplicate_ids(rows, "warning")]
        most = validators.MOST_EMPTY if training else 1.0
        for column in TEXTS:
            findings += validators.text_column(rows, column, empty="warning", most=most)
        lines = validators.raise_failures(findings)
        counts = _label_counts(rows)
        if not counts and not training:
            return lines
        given = self.settings.labels or {}
        if train_rows is not None:
            given = self._kept(names.match_data_labels(_label_counts(train_rows), given)) or {}
        matched = names.match_data_labels(counts, given)
        classes = Counter[str]()
        for value, found in matched.items():
            if found is not None:
                classes[found] += counts[value]
        if training and len(classes) < (2 if train_rows is None else 1):
            raise DataError(
                f"{'training' if train_rows is None else 'validation'} needs rows of "
                f"{'two classes or more' if train_rows is None else 'a known class'}; "
                f"labels found: {names.show_counts(counts) or 'none'}",
                "add rows of other classes, or say what the labels mean, as in nli.labels={yes: entailment}",
            )
        return lines + names.describe_data_labels(counts, matched)

    def usable(self, row: Row) -> bool:
        return self._gold(row) is not None

    def resolve(
        self, rows: Sequence[Row], tokenizer: PreTrainedTokenizerBase, config: PretrainedConfig
    ) -> tuple[NLI, list[Resolution]]:
        """Length, label map and class order for training. A config without `architectures` means a fresh head.

        Raises DataError for labels without a meaning, ModelError for a trained head with nameless labels.
        """
        counts = _label_counts(rows)
        matched = names.match_data_labels(counts, self.settings.labels or {})
        classes, why = self._classes(matched, config)
        length, chosen = resolve_length("nli.max_length", self.settings.max_length, rows, tokenizer, config, TEXTS)
        settings = self.settings.model_copy(
            update={"max_length": length, "classes": classes, "labels": self._kept(matched), "model_labels": None}
        )
        return NLI(settings), [chosen, Resolution("nli.classes", classes, why), *self._read_as(matched)]

    def adopt(self, rows: Sequence[Row], config: PretrainedConfig | None) -> tuple[NLI, list[Resolution]]:
        """Class order of a trained model, by name, and the label map of these rows. Without a config: the map only.

        Raises ModelError when the head's labels have no meaning, DataError when the data's have none.
        """
        matched = names.match_data_labels(_label_counts(rows), self.settings.labels or {})
        update: dict[str, Any] = {"labels": self._kept(matched)}
        lines = self._read_as(matched)
        if config is not None:
            classes, why = self._trained_classes(config)
            length, chosen = model_length("nli.max_length", self.settings.max_length, config)
            update |= {"classes": classes, "max_length": length}
            gold = {found for found in matched.values() if found}
            if names.OTHER in gold and names.OTHER not in classes:
                why += "; gold has two classes: the likeliest of the model's is decided first, then entailment or not"
            elif gold - set(classes) - {names.OTHER}:
                why += "; gold has classes that the model does not: all but entailment are read as non-entailment"
            lines = [*([chosen] if chosen else []), Resolution("nli.classes", classes, why), *lines]
        return NLI(self.settings.model_copy(update=update)), lines

    def model_config(self) -> dict[str, Any]:
        classes = self._head()
        return {
            "num_labels": len(classes),
            "id2label": dict(enumerate(classes)),
            "label2id": {name: place for place, name in enumerate(classes)},
            "problem_type": "single_label_classification",
        }

    def encode(self, rows: Iterable[Row], tokenizer: PreTrainedTokenizerBase) -> Iterator[Feature]:
        """Feature columns: row, input_ids, [token_type_ids], label (-100: no gold, or none that the head could say)."""
        length = self.settings.max_length
        places = {name: place for place, name in enumerate(self._head())}
        for row, feature in encode_texts(rows, tokenizer, *TEXTS, length if isinstance(length, int) else None):
            gold = self._gold(row)
            if gold is not None and gold not in places and names.OTHER in places:
                gold = names.OTHER
            feature["label"] = heads.NO_LABEL if gold is None else places.get(gold, heads.NO_LABEL)
            yield feature

    def loss(self, outputs: Any, batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
        return heads.cross_entropy(outputs, batch)

    def read(self, outputs: Any, batch: Batch) -> dict[str, torch.Tensor]:
        return {"probabilities": outputs.logits.float().softmax(dim=-1)}

    def merge(self, row: Row, reads: Sequence[Read]) -> Prediction:
        values = heads.class_probabilities(reads, row["id"])
        classes = self._head()
        return {
            "id": row["id"],
            "prediction": classes[int(values.argmax())],
            "probabilities": dict(zip(classes, values.tolist(), strict=True)),
        }

    def measure(self, prediction: Prediction, row: Row) -> dict[str, float] | None:
        gold = self._gold(row)
        if gold is None:
            return None
        said = names.meaning(str(prediction.get("prediction", "")))
        if said is None:
            raise DataError(
                f"row {row['id']!r}: the prediction {prediction.get('prediction')!r} is not an NLI class",
                f"predictions are {', '.join(names.CLASSES)}",
            )
        chances: dict[str, float] = {}
        if prediction.get("probabilities"):
            named = {names.meaning(name): float(value) for name, value in prediction["probabilities"].items()}
            if names.OTHER in named and gold != names.ENTAILMENT:
                gold = names.OTHER
            inside = [name for name in names.CLASSES if name in named]
            chances = {f"p_{place}": named[name] for place, name in enumerate(inside)}
        values = {"gold": _PLACES[gold], "predicted": _PLACES[said], **chances}
        if row.get("heuristic") in _HEURISTICS:
            values["heuristic"] = _HEURISTICS[row["heuristic"]]
        return values

    def reduce(self, columns: Mapping[str, np.ndarray]) -> dict[str, float]:
        table, three = _decided(columns)
        metrics = reduce_single(table, names.THREE_WAY if three else names.TWO_WAY)
        metrics.pop("roc_auc", None)
        if not three and "heuristic" in columns:
            cells = {"correct": table["gold"] == table["predicted"], "entailed": table["gold"] == 0}
            kept = {name: columns[name] for name in ("heuristic", WEIGHT) if name in columns}
            metrics |= {key: value for key, value in reduce_hans({**cells, **kept}).items() if key != "accuracy"}
        return metrics

    def means(self, columns: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        table, _ = _decided(columns)
        return {"accuracy": (table["gold"] == table["predicted"]).astype(np.float64)}

    def classes(
        self, columns: Mapping[str, np.ndarray], prediction: Prediction
    ) -> tuple[Mapping[str, np.ndarray], list[str]]:
        table, three = _decided(columns)
        return table, list(names.THREE_WAY if three else names.TWO_WAY)

    @property
    def without_prediction(self) -> None:
        return None

    def counted(self, ids: Sequence[str], columns: Mapping[str, np.ndarray]) -> np.ndarray | None:
        return None

    def slices(self, row: Row) -> dict[str, str]:
        return nli_slices(row)

    def definitions(self) -> dict[str, str]:
        decided = "; a three-way answer on two-way gold is decided first, then read as entailment or not"
        single = {key: definition("single", key) for key in ("accuracy", "macro_f1", "mcc", "log_loss")}
        cells = [f"{title}_{label}" for label in ("entailment", "non_entailment") for title in HEURISTICS]
        hans = {key: definition("hans", key) for key in ("overall", *cells)}
        return {**single, "accuracy": single["accuracy"] + decided, **hans}

    def _gold(self, row: Row) -> str | None:
        """The class of a row's label, None without gold. Raises DataError for a label without a meaning."""
        text = names.label_text(row.get("label"))
        given = self.settings.labels or {}
        if text in given:
            return given[text]
        found = names.meaning(text.strip()) or names.DIGITS.get(text.strip())
        if found is None and text.strip() not in names.NO_GOLD:
            hint = f"say what it means, such as {names.settings_line('nli.labels', {text: names.NEUTRAL})}"
            raise DataError(f"row {row['id']!r}: the meaning of label {text!r} is not known", hint)
        return found

    def _head(self) -> list[str]:
        return self.settings.classes or list(names.THREE_WAY)

    def _classes(self, matched: Mapping[str, str | None], config: PretrainedConfig) -> tuple[list[str], str]:
        """The classes to train, in order, and why."""
        found = {name for name in matched.values() if name}
        if names.OTHER in found and found - set(names.TWO_WAY):
            merged = {
                value: name if name == names.ENTAILMENT else names.OTHER for value, name in matched.items() if name
            }
            line = names.settings_line("nli.labels", merged)
            raise DataError("labels mix non-entailment with neutral or contradiction", f"to train two classes: {line}")
        wanted = self.settings.classes or list(names.TWO_WAY if names.OTHER in found else names.THREE_WAY)
        trained = names.head_labels(config)
        if trained is not None and len(trained) == len(wanted):
            order = names.match_model_labels(trained, self.settings.model_labels, training=True)
            if set(order) == set(wanted):
                return order, "the order of the model's own head"
        return wanted, "as given" if self.settings.classes else "the training data's classes"

    def _trained_classes(self, config: PretrainedConfig) -> tuple[list[str], str]:
        """The classes of a trained head, in its order. Raises ModelError without one, or when hfkit.json differs."""
        trained, stored = names.model_labels(config), self.settings.classes
        if trained is None:
            raise ModelError("the model has no classification head", "fine-tune it first, with `hfkit finetune nli`")
        classes = names.match_model_labels(trained, self.settings.model_labels)
        if stored and stored != classes:
            said = f"its labels are {', '.join(classes)}, nli.classes (hfkit.json) says {', '.join(stored)}"
            raise ModelError(f"the model and its settings differ: {said}", "one of them was changed; restore it")
        return classes, "the model's own order"

    def _kept(self, matched: Mapping[str, str | None]) -> dict[str, str | None] | None:
        """The map worth storing: what was given, and numbers; words keep meaning what they say."""
        numbers = {value: name for value, name in matched.items() if name and value.strip() in names.DIGITS}
        return {**numbers, **(self.settings.labels or {})} or None

    def _read_as(self, matched: Mapping[str, str | None]) -> list[Resolution]:
        """How labels are read, where that is not plain from the words."""
        read = {value: name for value, name in matched.items() if name and names.meaning(value) != name}
        why = "as given" if self.settings.labels else "the order of the Hub's glue, snli and xnli"
        return [Resolution("nli.labels", read, why)] if read else []


def _decided(columns: Mapping[str, np.ndarray]) -> tuple[dict[str, np.ndarray], bool]:
    """The columns as classification has them, and whether there are three classes, or entailment and the rest."""
    gold, predicted = np.asarray(columns["gold"]), np.asarray(columns["predicted"])
    chances = [columns[name] for name in sorted(columns) if name.startswith("p_")]
    other = names.CLASSES.index(names.OTHER)
    three = not ((gold == other).any() or (predicted == other).any() or len(chances) == len(names.TWO_WAY))
    if not three:
        gold, predicted = (gold > 0).astype(np.int64), (predicted > 0).astype(np.int64)
        chances = [chances[0], np.sum(chances[1:], axis=0)] if chances else []
    table = {"gold": gold, "predicted": predicted, **{f"p_{place}": values for place, values in enumerate(chances)}}
    if WEIGHT in columns:
        table[WEIGHT] = columns[WEIGHT]
    return table, three


def _class(name: Any) -> str:
    found = names.meaning(str(name))
    if found is None:
        raise ValueError(f"{name!r} is not one of {', '.join(names.CLASSES)}")
    return found


def _label_counts(rows: Sequence[Row]) -> Counter[str]:
    return Counter(names.label_text(row["label"]) for row in rows if "label" in row)
