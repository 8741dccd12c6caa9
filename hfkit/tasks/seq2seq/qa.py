"""Question answering by writing: the decoder says the answer from each window of the context; the best is taken."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from hfkit.data.findings import Finding, raise_failures
from hfkit.errors import DataError
from hfkit.metrics.adversarial import worst_variants
from hfkit.recipe.section import Section
from hfkit.tasks.base import Column, Driver, Feature, Head, Prediction, Resolution, Row
from hfkit.tasks.qa import checks, settle
from hfkit.tasks.qa.scorers import SCORERS, definitions
from hfkit.tasks.qa.task import QA
from hfkit.tasks.sample import some
from hfkit.tasks.seq2seq import encode
from hfkit.tasks.seq2seq.settings import QAGenerationSettings
from hfkit.tasks.seq2seq.windows import question_room, windows
from hfkit.tasks.slicing import qa_slices

if TYPE_CHECKING:
    import numpy as np
    import torch
    from transformers import PretrainedConfig, PreTrainedTokenizerBase

    from hfkit.tasks.base import Batch, Written


class QAGeneration:
    """Questions answered by a written text, or by nothing; scored as qa is. Implements hfkit.tasks.base.Task."""

    name: ClassVar[str] = "qa-generation"
    head: ClassVar[Head] = "seq2seq-lm"
    driver: ClassVar[Driver] = "decode"
    columns: ClassVar[tuple[Column, ...]] = QA.columns
    blocks: ClassVar[bool] = False
    group: ClassVar[str | None] = "context"
    Settings: ClassVar[type[Section]] = QAGenerationSettings

    def __init__(self, settings: QAGenerationSettings) -> None:
        self.settings = settings

    @property
    def headline(self) -> tuple[str, Literal["higher", "lower"]]:
        return "f1", "higher"

    def check(self, rows: Sequence[Row], *, training: bool, train_rows: Sequence[Row] | None = None) -> list[str]:
        return raise_failures(self.findings(rows, training=training, train_rows=train_rows))

    def findings(
        self, rows: Sequence[Row], *, training: bool, train_rows: Sequence[Row] | None = None
    ) -> Iterator[Finding]:
        return checks.findings(rows, training=training, validation=train_rows is not None)

    def usable(self, row: Row) -> bool:
        return row.get("answers") is not None

    def resolve(
        self, rows: Sequence[Row], tokenizer: PreTrainedTokenizerBase, config: PretrainedConfig
    ) -> tuple[QAGeneration, list[Resolution]]:
        """Lengths that fit the model and the answers, and the scorer. Raises UsageError on the stride."""
        values, lines = self._positions(config)
        length = values.get("max_source_length", self.settings.max_source_length)
        question_room(self.settings, length)
        texts = (answer["text"] for row in some(rows) for answer in (row.get("answers") or [])[:1])
        sizes = encode.lengths(texts, tokenizer, target=True)
        key, wanted = "qa-generation.max_target_length", self.settings.max_target_length
        values["max_target_length"], line = encode.resolved_length(key, wanted, sizes, config, "answers")
        scorer, chosen = settle.scorer_of(self.settings, rows, self.name)
        return self._with(values | scorer), [*lines, line, *chosen]

    def adopt(self, rows: Sequence[Row], config: PretrainedConfig | None) -> tuple[QAGeneration, list[Resolution]]:
        """The scorer that fits the rows, and lengths that are open or do not fit the model."""
        scorer, chosen = settle.scorer_of(self.settings, rows, self.name)
        if config is None:
            return self._with(scorer), chosen
        values, lines = self._positions(config)
        if self.settings.max_target_length == "auto":
            values["max_target_length"] = settle.SHORTEST_LIMIT
            why = "the model does not say what it was trained on"
            lines.append(Resolution("qa-generation.max_target_length", settle.SHORTEST_LIMIT, why))
        return self._with(values | scorer), [*lines, *chosen]

    def model_config(self) -> dict[str, Any]:
        return {}

    def encode(self, rows: Iterable[Row], tokenizer: PreTrainedTokenizerBase) -> Iterator[Feature]:
        """Windows of each row: row, input_ids, target_ids; see `windows`."""
        return windows(rows, tokenizer, self.settings)

    def loss(self, outputs: Any, batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
        """(sum of smoothed nats, target tokens); see `encode.smoothed_loss`."""
        return encode.smoothed_loss(outputs, batch, self.settings.label_smoothing)

    def merge(self, row: Row, reads: Sequence[Written]) -> Prediction:
        """The likeliest text that a window gave; nothing where all windows say that they hold no answer."""
        said = [written for written in reads if written.text.strip()]
        best = max(said or reads, key=lambda written: written.log_probability)
        return {
            "id": row["id"],
            "prediction": best.text.strip(),
            "score": best.log_probability,
            "no_answer": not said,
            "tokens": best.tokens,
            "finish_reason": best.finish_reason,
        }

    def measure(self, prediction: Prediction, row: Row) -> dict[str, float] | None:
        answers = row.get("answers")
        if answers is None:
            return None
        if not isinstance(prediction["prediction"], str):
            raise DataError(f"row {row['id']!r}: the prediction is not text", "an answer is text, and no answer is ''")
        measure, _, _ = SCORERS[self._scorer()]
        said = None if prediction.get("missing") else prediction["prediction"]
        found = measure(said, [answer["text"] for answer in answers])
        sure = prediction.get("score")
        return found | ({"confidence": float(sure)} if isinstance(sure, (int, float)) else {})

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

    def _with(self, values: dict[str, Any]) -> QAGeneration:
        return type(self)(self.settings.model_copy(update=values))

    def _scorer(self) -> str:
        return "squad" if self.settings.scorer == "auto" else str(self.settings.scorer)

    def _positions(self, config: PretrainedConfig) -> tuple[dict[str, Any], list[Resolution]]:
        from hfkit.models import has_fixed_positions, max_positions

        positions = max_positions(config)
        if positions >= self.settings.max_source_length or not has_fixed_positions(config):
            return {}, []
        why = "the model has no more positions"
        return {"max_source_length": positions}, [Resolution("qa-generation.max_source_length", positions, why)]
