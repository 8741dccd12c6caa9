"""Natural-language inference: the premise entails the hypothesis, contradicts it, or neither; one task of the table."""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

import numpy as np

from hfkit.data import validators
from hfkit.data.findings import Finding, failure_of, raise_failures
from hfkit.errors import DataError
from hfkit.recipe.section import Section
from hfkit.tasks import labels as names
from hfkit.tasks import outputs as heads
from hfkit.tasks.base import Column, Feature, Prediction, Read, Resolution, Row
from hfkit.tasks.nli import measures
from hfkit.tasks.nli.head import classes_to_train, trained_classes
from hfkit.tasks.nli.hypothesis import HypothesisOnly, without_premise
from hfkit.tasks.nli.reading import kept, label_counts, read_as
from hfkit.tasks.nli.settings import NLISettings
from hfkit.tasks.pairs import encode_texts, model_length, resolve_length
from hfkit.tasks.slicing import nli_slices

if TYPE_CHECKING:
    import torch
    from transformers import PretrainedConfig, PreTrainedTokenizerBase

    from hfkit.tasks.base import Batch

TEXTS = ("premise", "hypothesis")


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

    def __init__(
        self, settings: NLISettings, *, read: Mapping[str, str | None] | None = None, head: Sequence[str] = ()
    ) -> None:
        self.settings = settings
        self.read_labels = dict(read or {})  # the class of each label value of the rows, None for "no gold"
        self.head_labels = list(head)  # what the model itself calls its classes, in its order
        self._known: dict[tuple[Any, ...], dict[str, float] | None] = {}  # statistics, where they need no probabilities

    @property
    def headline(self) -> tuple[str, Literal["higher", "lower"]]:
        return "accuracy", "higher"

    def check(self, rows: Sequence[Row], *, training: bool, train_rows: Sequence[Row] | None = None) -> list[str]:
        """Texts, ids and labels of all rows; returns what was dropped and how numbers are read. Raises DataError."""
        return raise_failures(self.findings(rows, training=training, train_rows=train_rows))

    def findings(
        self, rows: Sequence[Row], *, training: bool, train_rows: Sequence[Row] | None = None
    ) -> Iterator[Finding]:
        yield from validators.duplicate_ids(rows, "warning")
        most = validators.MOST_EMPTY if training else 1.0
        for column in TEXTS:
            yield from validators.text_column(rows, column, empty="warning", most=most)
        counts = label_counts(rows)
        if not counts and not training:
            return
        given = self.settings.labels or {}
        try:
            if train_rows is not None:
                given = kept(names.match_data_labels(label_counts(train_rows), given), self.settings) or {}
            matched = names.match_data_labels(counts, given)
        except DataError as error:
            unknown = [row["id"] for row in rows if "label" in row and names.unknown(row["label"], given)]
            yield failure_of(error, "unknown_labels", len(unknown), unknown)
            return
        classes = Counter[str]()
        for value, found in matched.items():
            if found is not None:
                classes[found] += counts[value]
        if training and len(classes) < (2 if train_rows is None else 1):
            message = (
                f"{'training' if train_rows is None else 'validation'} needs rows of "
                f"{'two classes or more' if train_rows is None else 'a known class'}; "
                f"labels found: {names.show_counts(counts) or 'none'}"
            )
            hint = "add rows of other classes, or say what the labels mean, as in nli.labels={yes: entailment}"
            yield Finding("failure", "too_few_classes", message, len(rows), hint=hint)
            return
        yield from names.label_findings(counts, matched)

    def usable(self, row: Row) -> bool:
        return self.gold(row) is not None

    def resolve(
        self, rows: Sequence[Row], tokenizer: PreTrainedTokenizerBase, config: PretrainedConfig
    ) -> tuple[NLI, list[Resolution]]:
        """Length, label map and class order for training. A config without `architectures` means a fresh head.

        Raises DataError for labels without a meaning, ModelError for a trained head with nameless labels.
        """
        matched = names.match_data_labels(label_counts(rows), self.settings.labels or {})
        classes, why = classes_to_train(self.settings, matched, config)
        length, chosen = resolve_length(
            "nli.max_length", self.settings.max_length, self._shown(rows), tokenizer, config, TEXTS
        )
        settings = self.settings.model_copy(
            update={
                "max_length": length,
                "classes": classes,
                "labels": kept(matched, self.settings),
                "model_labels": None,
            }
        )
        lines = [chosen, Resolution("nli.classes", classes, why), *read_as(matched, self.settings)]
        return self._with(settings, read=matched, head=classes), lines

    def adopt(self, rows: Sequence[Row], config: PretrainedConfig | None) -> tuple[NLI, list[Resolution]]:
        """Class order of a trained model, by name, and the label map of these rows. Without a config: the map only.

        With `nli.model_labels=auto` a head without names keeps them, for `tasks.doctor` to find out on the answers.
        Raises ModelError when the head's labels have no meaning, DataError when the data's have none.
        """
        matched = names.match_data_labels(label_counts(rows), self.settings.labels or {})
        update: dict[str, Any] = {"labels": kept(matched, self.settings)}
        lines, head = read_as(matched, self.settings), list[str]()
        if config is not None:
            gold = {found for found in matched.values() if found}
            head, classes, why = trained_classes(self.settings, config, gold=bool(gold))
            length, chosen = model_length("nli.max_length", self.settings.max_length, config)
            update |= {"classes": classes, "max_length": length}
            if names.OTHER in gold and names.OTHER not in classes:
                why += "; gold has two classes: the likeliest of the model's is decided first, then entailment or not"
            elif gold - set(classes) - {names.OTHER} and names.OTHER in classes:
                why += "; gold has classes that the model does not: all but entailment are read as non-entailment"
            lines = [*([chosen] if chosen else []), Resolution("nli.classes", classes, why), *lines]
        if self.settings.hypothesis_only:
            lines.append(Resolution("nli.hypothesis_only", True, "the model sees no premise"))
        return self._with(self.settings.model_copy(update=update), read=matched, head=head), lines

    def saying(self, labels: Sequence[str], classes: Mapping[str, str] | None = None) -> NLI:
        """The same task for predictions made of `labels`, which were found to mean `classes` where it is given."""
        settings = self.settings
        if classes:
            order = [classes.get(label, label) for label in settings.classes or []] or None
            settings = settings.model_copy(update={"model_labels": dict(classes), "classes": order})
        return self._with(settings, read=self.read_labels, head=labels)

    @property
    def label_map(self) -> dict[str, dict[str, str | None]]:
        """How the labels of the data and of the model are read: {"data": {value: class}, "model": {label: class}}."""
        order = dict(zip(self.head_labels, self.settings.classes or [], strict=False))
        said = {label: self.class_said(label) or order.get(label) for label in self.head_labels}
        return {"data": self.read_labels, "model": said}

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
        shown = map(without_premise, rows) if self.settings.hypothesis_only else rows
        for row, feature in encode_texts(shown, tokenizer, *TEXTS, length if isinstance(length, int) else None):
            gold = self.gold(row)
            if gold is not None and gold not in places and names.OTHER in places:
                gold = names.OTHER
            feature["label"] = heads.NO_LABEL if gold is None else places.get(gold, heads.NO_LABEL)
            yield feature

    def loss(self, outputs: Any, batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
        return heads.cross_entropy(outputs, batch)

    def divergence(self, first: Any, second: Any, batch: Batch) -> torch.Tensor:
        return heads.class_divergence(first, second, batch)

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

    def measure(self, prediction: Prediction, row: Row) -> Mapping[str, float] | None:
        if prediction.get("probabilities"):
            return self._measured(prediction, row)
        said, label = names.label_text(prediction.get("prediction")), names.label_text(row.get("label"))
        facts = said, label, measures.heuristic(row)
        if facts not in self._known:  # of many rows there are few kinds
            self._known[facts] = self._measured(prediction, row)
        return self._known[facts]

    def _measured(self, prediction: Prediction, row: Row) -> dict[str, float] | None:
        gold = self.gold(row)
        if gold is None:
            return None
        said = self.class_said(prediction.get("prediction"))
        if said is None:
            raise DataError(
                f"row {row['id']!r}: the prediction {prediction.get('prediction')!r} is not an NLI class",
                f"predictions are {', '.join(names.CLASSES)}; say what other words mean with nli.model_labels, "
                "or try `nli.model_labels=auto`",
            )
        found = {self.class_said(name): float(value) for name, value in (prediction.get("probabilities") or {}).items()}
        chances = {name: value for name, value in found.items() if name is not None}
        if found:
            measures.check_chances(chances, row["id"])
        return measures.statistics(gold, said, chances, measures.heuristic(row))

    def reduce(self, columns: Mapping[str, np.ndarray]) -> dict[str, float]:
        return measures.reduce(columns)

    def means(self, columns: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        return measures.means(columns)

    def cells(self, columns: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """The rows of each of HANS' cells."""
        return measures.cells(columns)

    def classes(
        self, columns: Mapping[str, np.ndarray], prediction: Prediction
    ) -> tuple[Mapping[str, np.ndarray], list[str]]:
        return measures.decided(columns)

    @property
    def without_prediction(self) -> None:
        return None

    def counted(self, ids: Sequence[str], columns: Mapping[str, np.ndarray]) -> np.ndarray | None:
        return None

    def slices(self, row: Row) -> dict[str, str]:
        return nli_slices(row)

    def definitions(self) -> dict[str, str]:
        return measures.definitions(self.label_map, hypothesis_only=self.settings.hypothesis_only)

    def class_said(self, word: Any) -> str | None:
        """The class that a prediction means, by `nli.model_labels` or by itself; None when it is none."""
        text = names.label_text(word)
        given = self.settings.named
        return given.get(text) or given.get(text.removeprefix("LABEL_")) or names.meaning(text)

    def gold(self, row: Row) -> str | None:
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

    def _with(self, settings: NLISettings, *, read: Mapping[str, str | None] | None, head: Sequence[str]) -> Self:
        """This task, a user's own too, with other settings and labels."""
        made = copy.copy(self)
        made.settings, made.read_labels, made.head_labels, made._known = settings, dict(read or {}), list(head), {}
        return made

    def _head(self) -> list[str]:
        return self.settings.classes or list(names.THREE_WAY)

    def _shown(self, rows: Sequence[Row]) -> Sequence[Row]:
        """The rows as the model sees them."""
        return HypothesisOnly(rows) if self.settings.hypothesis_only else rows
