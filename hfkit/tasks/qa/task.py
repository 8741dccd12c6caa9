"""Extractive question answering as a Task: loss, reads, predictions and scores."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

import numpy as np

from hfkit.data.findings import Finding, raise_failures
from hfkit.errors import DataError, ModelError
from hfkit.metrics.adversarial import worst_variants
from hfkit.metrics.squad import measure_squad2
from hfkit.recipe.section import Section
from hfkit.tasks.base import Batch, Column, Driver, Feature, Head, Prediction, Read, Resolution, Row
from hfkit.tasks.outputs import half_symmetric
from hfkit.tasks.qa import checks, encode, settle
from hfkit.tasks.qa.characters import KEY, Kept, characters, token_logits
from hfkit.tasks.qa.prediction import answer, listed
from hfkit.tasks.qa.scorers import SCORERS, definitions
from hfkit.tasks.qa.settings import QASettings
from hfkit.tasks.qa.spans import Span, best_spans, less_length, pool
from hfkit.tasks.slicing import qa_slices

if TYPE_CHECKING:
    import torch
    from transformers import PretrainedConfig, PreTrainedTokenizerBase


NO_SPAN = 1e9  # the null gap of a context without any span: above every threshold, and a number JSON can hold


class QA:
    """Questions answered by a span of their context, or by nothing; implements hfkit.tasks.base.Task."""

    name: ClassVar[str] = "qa"
    head: ClassVar[Head] = "question-answering"
    driver: ClassVar[Driver] = "forward"
    columns: ClassVar[tuple[Column, ...]] = (
        Column("id", False, ("qid", "question_id", "qas_id", "example_id", "idx")),
        Column("question", True, ("query", "question_text")),
        Column("context", True, ("passage", "paragraph", "document", "context_text")),
        Column("answers", True, ("answer", "detected_answers"), gold=True),
    )
    blocks: ClassVar[bool] = False
    group: ClassVar[str | None] = "context"
    Settings: ClassVar[type[Section]] = QASettings

    def __init__(self, settings: QASettings) -> None:
        self.settings = settings

    @property
    def headline(self) -> tuple[str, Literal["higher", "lower"]]:
        return "f1", "higher"

    def check(self, rows: Sequence[Row], *, training: bool, train_rows: Sequence[Row] | None = None) -> list[str]:
        """Texts in every row and, to train, answers that can be found in their contexts. Raises DataError."""
        return raise_failures(self.findings(rows, training=training, train_rows=train_rows))

    def findings(
        self, rows: Sequence[Row], *, training: bool, train_rows: Sequence[Row] | None = None
    ) -> Iterator[Finding]:
        return checks.findings(rows, training=training, validation=train_rows is not None)

    def usable(self, row: Row) -> bool:
        return row.get("answers") is not None

    def resolve(
        self, rows: Sequence[Row], tokenizer: PreTrainedTokenizerBase, config: PretrainedConfig
    ) -> tuple[Self, list[Resolution]]:
        """Lengths within the model's positions, the longest answer and the scorer. Raises UsageError on the stride."""
        return self._with(settle.resolve(self.settings, rows, tokenizer, config))

    def adopt(self, rows: Sequence[Row], config: PretrainedConfig | None) -> tuple[Self, list[Resolution]]:
        """The scorer that fits the rows, and what a model without hfkit's settings leaves open."""
        return self._with(settle.adopt(self.settings, rows, config))

    def model_config(self) -> dict[str, Any]:
        return {}

    def encode(self, rows: Iterable[Row], tokenizer: PreTrainedTokenizerBase) -> Iterator[Feature]:
        """Windows of each row, the same to train and to predict. Besides row, input_ids and token_type_ids:

        char_start, char_end, context: per token the characters [start, end) it stands for and 1, or 0 outside the
        context. null_index: position of the token whose logits mean "no answer". start_position, end_position: first
        and last token of the first answer; both null_index where the window does not hold all of it or the question
        is unanswerable; both -100 where the row has no answer that could be located. Raises UsageError on the stride.
        """
        settings = self.settings
        return encode.windows(
            rows,
            tokenizer,
            max_length=settings.max_length,
            stride=settings.stride,
            max_question_length=settings.max_question_length,
        )

    def loss(self, outputs: Any, batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
        """Sum over labelled windows of the mean of start and end cross-entropy (nats), and their count."""
        import torch
        from torch.nn.functional import cross_entropy

        padding = batch["attention_mask"] == 0
        total = torch.zeros((), device=padding.device)
        for logits, name in ((outputs.start_logits, "start_position"), (outputs.end_logits, "end_position")):
            visible = logits.float().masked_fill(padding, float("-inf"))
            target = _placed(batch, name)
            total = total + cross_entropy(visible, target, ignore_index=encode.UNLABELLED, reduction="sum")
        return total / 2, (batch["start_position"] != encode.UNLABELLED).sum()

    def divergence(self, first: Any, second: Any, batch: Batch) -> torch.Tensor:
        """Over labelled windows, the mean of start and end; the tokens of a window are the classes."""
        padding = batch["attention_mask"] == 0
        start = half_symmetric(first.start_logits.float(), second.start_logits.float(), padding)
        end = half_symmetric(first.end_logits.float(), second.end_logits.float(), padding)
        return ((start + end) / 2 * (batch["start_position"] != encode.UNLABELLED)).sum()

    def read(self, outputs: Any, batch: Batch) -> dict[str, torch.Tensor]:
        """Of each window: char_start, char_end (int), score (float32), each (windows, n_best), best first, the score
        -inf where there are fewer spans; null (start + end logit at null_index); finite (1 if all logits are). With
        `keep_characters` also the logits of every token."""
        import torch

        start, end = outputs.start_logits.detach().float(), outputs.end_logits.detach().float()
        real = batch["attention_mask"] != 0
        finite = ((torch.isfinite(start) & torch.isfinite(end)) | ~real).all(dim=1)
        null_index = _placed(batch, "null_index").unsqueeze(1)
        null = (start.gather(1, null_index) + end.gather(1, null_index)).squeeze(1)
        allowed = (batch["context"] != 0) & real
        start, end = start.nan_to_num(), end.nan_to_num()
        opening, ending = less_length(start, end, batch, allowed, self.settings.length_penalty)
        first, last, score = best_spans(opening, ending, allowed, longest=self._longest(), n_best=self.settings.n_best)
        kept = {}
        if self.settings.keep_characters:
            kept = token_logits(start, end, batch, allowed, null_index, length=self.settings.max_length)
        return {
            "char_start": batch["char_start"].gather(1, first),
            "char_end": batch["char_end"].gather(1, last),
            "score": score,
            "null": null,
            "finite": finite.int(),
            **kept,
        }

    def merge(self, row: Row, reads: Sequence[Read]) -> Prediction:
        """The answer, of the spans of all windows, or "" at 0, 0 with `no_answer` true.

        Raises ModelError where logits are not finite numbers.

        `score` is the highest of a span: start + end logit, less what its length costs. It stays when nothing or
        another span is answered, so that score + null_gap is the null score (the lowest over the windows). Both are
        None when the context holds no span at all. `best_span` is the text that is held back when nothing is answered:
        a threshold can be chosen later.
        """
        if not all(bool(read["finite"]) for read in reads):
            raise ModelError(
                f"the model gives scores that are not finite numbers for row '{row['id']}'",
                "float16 may overflow: set train.precision=float32; else the weights are damaged",
            )
        settings = self.settings
        spans = pool(row["context"], reads, settings.n_best, length_penalty=settings.length_penalty)
        kept = (
            characters(row["context"], reads, spans, longest=self._longest()) if settings.keep_characters else None
        )
        return self.answered(row, spans, min(float(read["null"]) for read in reads), kept)

    def answered(self, row: Row, spans: Sequence[Span], null: float, kept: Kept | None) -> Prediction:
        """The prediction that spans, best first, and the null score make; with what the settings ask it to carry."""
        found = answer(row, spans, null, self.settings, self._scorer())
        if self.settings.n_best_in_predictions:
            found["n_best"] = listed(row["context"], spans)
        if self.settings.keep_characters:
            found[KEY] = kept
        return found

    def measure(self, prediction: Prediction, row: Row) -> dict[str, float] | None:
        answers = row.get("answers")
        if answers is None:
            return None
        if not isinstance(prediction["prediction"], str):
            raise DataError(f"row {row['id']!r}: the prediction is not text", "an answer is text, and no answer is ''")
        measure, _, _ = SCORERS[self._scorer()]
        golds = [answer["text"] for answer in answers]
        found = measure(None if prediction.get("missing") else prediction["prediction"], golds)
        gap = prediction.get("null_gap")
        if gap is None and "null_gap" in prediction and prediction.get("no_answer"):
            gap = NO_SPAN
        if isinstance(gap, (int, float)) and math.isfinite(gap):
            found |= self._sureness(prediction, float(gap), golds, found)
        return found

    def reduce(self, columns: Mapping[str, np.ndarray]) -> dict[str, float]:
        _, reduce, _ = SCORERS[self._scorer()]
        return reduce(columns)

    def means(self, columns: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        return {"exact_match": columns["em"], "f1": columns["f1"]}

    def classes(self, columns: Mapping[str, np.ndarray], prediction: Prediction) -> None:
        return None

    @property
    def without_prediction(self) -> dict[str, Any] | None:
        return None if self._scorer() == "squad2" else {"prediction": "", "missing": True}

    def counted(self, ids: Sequence[str], columns: Mapping[str, np.ndarray]) -> np.ndarray | None:
        return worst_variants(ids, columns["f1"]) if self._scorer() == "adversarial" else None

    def slices(self, row: Row) -> dict[str, str]:
        return qa_slices(row)

    def definitions(self) -> dict[str, str]:
        """Of the metrics that the scorer gives; with `auto`, of the two that it may become."""
        if self.settings.scorer == "auto":
            return {**definitions("squad2"), **definitions("squad")}
        return definitions(self._scorer())

    def _with(self, settled: tuple[dict[str, Any], list[Resolution]]) -> tuple[Self, list[Resolution]]:
        values, resolutions = settled
        return type(self)(self.settings.model_copy(update=values)), resolutions

    def _longest(self) -> int:
        limit = self.settings.max_answer_length
        return settle.SHORTEST_LIMIT if limit == "auto" else limit

    def _scorer(self) -> str:
        return "squad" if self.settings.scorer == "auto" else str(self.settings.scorer)

    def _sureness(
        self, prediction: Prediction, gap: float, golds: Sequence[str], found: Mapping[str, float]
    ) -> dict[str, float]:
        """`confidence`: how far the gap is from the threshold, on the side of what was said; logits.

        With squad2 also what a threshold is chosen by: `null_gap`, and `span_em`, `span_f1`, `span_given` of the best
        span, whatever was said.
        """
        silent = bool(prediction.get("no_answer", not prediction["prediction"]))
        away = gap - (self.settings.null_threshold or 0.0)
        sure = {"confidence": away if silent else -away}
        span = prediction.get("best_span") if silent else prediction["prediction"]
        if self._scorer() != "squad2" or not isinstance(span, str):
            return sure
        of_span = measure_squad2(span, golds) if silent else found
        sure |= {"span_em": of_span["em"], "span_f1": of_span["f1"], "span_given": float(bool(span))}
        return {**sure, "null_gap": gap}


def _placed(batch: Batch, name: str) -> torch.Tensor:
    """A token position of each window, moved by the padding that stands left of the window; -100 stays."""
    left = (batch["attention_mask"] != 0).int().argmax(dim=1)
    return batch[name] + left * (batch[name] >= 0)
