"""The contract of a task: how rows become features, what the loss is, how outputs become predictions and metrics."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Protocol, Self, TypeVar

if TYPE_CHECKING:
    import numpy as np
    import torch
    from transformers import PretrainedConfig, PreTrainedTokenizerBase

    from hfkit.data.findings import Finding
    from hfkit.recipe.section import Section

Row = Mapping[str, Any]  # the task's columns by the task's names, "id" always a string
Feature = dict[str, Any]  # see Task.encode
Batch = Mapping[str, "torch.Tensor"]  # features padded and stacked by the engine, see engine/collate.py
Read = Mapping[str, "np.ndarray"]  # what Task.read kept of ONE feature, without the batch dimension
Prediction = dict[str, Any]  # one line of predictions.jsonl

TOKENS = ("input_ids", "target_ids")  # columns of a feature that pass through a model; the second has its own length

Head = Literal["question-answering", "sequence-classification", "causal-lm", "masked-lm", "seq2seq-lm"]
Driver = Literal["forward", "decode", "likelihood"]


@dataclass(frozen=True, slots=True)
class Written:
    """What the decoder wrote for ONE feature, special tokens left out."""

    text: str
    log_probability: float  # of all its tokens, the end token too; nats
    tokens: int
    finish_reason: Literal["eos", "stop", "length"]


# metrics of which less is better; of all others more is
LOWER_IS_BETTER = frozenset(
    {"log_loss", "rmse", "mcrmse", "perplexity", "word_perplexity", "bits_per_byte", "loss"}
    | {"masked_perplexity", "masked_loss", "pseudo_perplexity", "pseudo_loss", "pseudo_bits_per_byte"}
)

Divergence = Callable[[Any, Any, Batch], "torch.Tensor"]  # see Task

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Column:
    """One column of a task: its name, whether a row must have it, the well-known names it has in public data sets."""

    name: str
    required: bool
    aliases: tuple[str, ...] = ()
    gold: bool = False  # holds the answer: needed to train and to score, not to predict


@dataclass(frozen=True, slots=True)
class Resolution:
    """What an `auto` (or a null that means "find out") became: the recipe key, its value, and why."""

    key: str
    value: Any
    why: str


class Task(Protocol):
    """One task, bound to its settings. Instances are immutable; `resolve` and `adopt` return new ones.

    The way of the data: rows -> encode -> features -> (engine: batches, model) -> read -> merge -> measure -> reduce.

    What a task may have besides, where it needs it:
    - `suited(config) -> Task`: the task as the model with this config.json does it, asked once the model is found; its
      `head` may be another then (see `hfkit.tasks.suited`).
    - `draw(feature, rng) -> feature`: the feature as one step of training sees it. `rng` is keyed by seed, step and
      feature, so that what is drawn depends neither on processes nor on where a run was killed.
    - `views(features) -> lists of features`: what passes through the model in their place to be read; each view holds
      one of each feature, and what `read` gives of them is added up.
    - `learnt(features) -> numbers`: the features that training learns from, where these are not all.
    - `shots` among its settings and `with_shots(rows)`: it gets the rows of `settings.shots_data`, to draw examples
      from; `fingerprint`: the content that features depend on beside rows and settings.
    - `columns` of an instance, where settings name them.
    - `divergence(first, second, batch) -> sum`: how far two passes of a batch disagree, summed over what `loss` counts:
      half of the Kullback-Leibler divergence both ways, in nats (R-Drop). None, or missing, where it is not defined.
    - a column `asked` among a feature's (one number a token): only tokens that are not 0 get logits, and `loss` and
      `read` find these as (asked tokens, vocabulary), at `outputs.asked_places`. For heads of language models.
    """

    name: ClassVar[str]
    head: ClassVar[Head]
    driver: ClassVar[Driver]
    columns: ClassVar[tuple[Column, ...]]
    blocks: ClassVar[bool]  # True: the engine's row is the feature (lm); False: the data's row
    group: ClassVar[str | None]  # column whose equal values must stay on one side of a split
    Settings: ClassVar[type[Section]]

    settings: Any

    def __init__(self, settings: Any) -> None: ...

    @property
    def headline(self) -> tuple[str, Literal["higher", "lower"]]:
        """The metric that picks the best checkpoint, and which way is better."""

    def check(self, rows: Sequence[Row], *, training: bool, train_rows: Sequence[Row] | None = None) -> list[str]:
        """Look at every row before a model is loaded; returns lines to tell the user. Raises DataError.

        `training` asks for gold columns in every row that is not dropped. `train_rows` are the training rows when
        `rows` are the validation rows of the same run: labels are read as there, and need not all occur.
        """

    def findings(
        self, rows: Sequence[Row], *, training: bool, train_rows: Sequence[Row] | None = None
    ) -> Iterator[Finding]:
        """All that `check` looks at, one finding after the other, nothing raised: what `hfkit data check` shows."""

    def usable(self, row: Row) -> bool:
        """Whether a row can be trained on and scored; rows that say "no gold" (SNLI's -1) are dropped and counted."""

    def resolve(
        self, rows: Sequence[Row], tokenizer: PreTrainedTokenizerBase, config: PretrainedConfig
    ) -> tuple[Self, list[Resolution]]:
        """A task whose settings hold no `auto`, decided from training rows, tokenizer and the model's config."""

    def adopt(self, rows: Sequence[Row], config: PretrainedConfig | None) -> tuple[Self, list[Resolution]]:
        """A task fitted to rows it will score with a model that is already trained (label maps, scorer).

        Without a config, predictions of any tool are scored: only what the rows decide is settled.

        Raises ModelError or DataError when labels cannot be matched by meaning.
        """

    def model_config(self) -> dict[str, Any]:
        """What the model's config must carry: num_labels, id2label, label2id, problem_type; empty when nothing."""

    def encode(self, rows: Iterable[Row], tokenizer: PreTrainedTokenizerBase) -> Iterator[Feature]:
        """Features of all rows, in row order; the same for training and prediction. One row may become several.

        A feature has "row" (int, the row's number from 0), "input_ids" (list of int), optionally "token_type_ids", and
        further columns: a number per feature, a list with one number per token, or `target_ids`, the tokens that a
        decoder is to write, of a length of their own. All features have the same columns.
        """

    def loss(self, outputs: Any, batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
        """(sum of losses, count of windows, rows or tokens in it); the engine divides by the global count."""

    def read(self, outputs: Any, batch: Batch) -> dict[str, torch.Tensor]:
        """What is kept of each feature, computed on the device: first dimension = features, fixed trailing shapes.

        A task whose driver is "decode" has none: the engine decodes each feature, and `merge` gets `Written` for reads.
        """

    def merge(self, row: Row, reads: Sequence[Any]) -> Prediction:
        """The prediction of one row from the reads of its features, in feature order. JSON types only; has "id".

        `reads` are Read, or Written where the driver is "decode".
        """

    def measure(self, prediction: Prediction, row: Row) -> Mapping[str, float] | None:
        """Sufficient statistics of one row; None when the row has no gold. Rows may share a mapping: do not change it.
        """

    def reduce(self, columns: Mapping[str, np.ndarray]) -> dict[str, float]:
        """Metrics from the statistics of many rows: on all rows, on a slice, on a bootstrap resample.

        A column `weight` may say how often each row counts; a reduce that does not read it makes a bootstrap slower.
        """

    def means(self, columns: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Metrics of `reduce` that are plain means over rows: the value of each row, 0 to 1 (a percent / 100)."""

    def classes(
        self, columns: Mapping[str, np.ndarray], prediction: Prediction
    ) -> tuple[Mapping[str, np.ndarray], list[str]] | None:
        """Where a row has one of several classes: the columns `gold`, `predicted`, `p_0`.. and the classes' names.

        `prediction` is that of the first row: files of other tools name their labels there alone. Else None.
        """

    @property
    def without_prediction(self) -> Mapping[str, Any] | None:
        """What a row that a file has no prediction for counts as, by the official script; None: it is left out."""

    def counted(self, ids: Sequence[str], columns: Mapping[str, np.ndarray]) -> np.ndarray | None:
        """Places of the measured rows that count, where only some do (adversarial variants); None: all."""

    def slices(self, row: Row) -> dict[str, str]:
        """The parts of the data that a row belongs to, by how it looks: {"question word": "who", ...}."""

    def definitions(self) -> dict[str, str]:
        """What each metric of `reduce` is, exactly, in one line."""


def example_fields(task: Task | type[Task]) -> str:
    """One row as it is typed after `hfkit predict`: `premise='...' hypothesis='...'`."""
    return " ".join(f"{c.name}='...'" for c in task.columns if c.required and not c.gold)


def batched(values: Iterable[_T], size: int) -> Iterator[list[_T]]:
    """Lists of up to `size` values, so that fast tokenizers work on many texts at once and memory stays flat."""
    iterator = iter(values)
    while chunk := list(islice(iterator, size)):
        yield chunk
