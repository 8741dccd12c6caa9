"""Text to text as a Task: a source is read by the encoder, a target is written by the decoder and scored as text."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from hfkit.data import validators
from hfkit.data.findings import Finding, raise_failures
from hfkit.errors import DataError
from hfkit.metrics.definitions import defined_keys, definition
from hfkit.metrics.overlap import check_installed, measure_overlap, reduce_overlap
from hfkit.recipe.section import Section
from hfkit.tasks.base import Column, Driver, Feature, Head, Prediction, Resolution, Row
from hfkit.tasks.sample import some
from hfkit.tasks.seq2seq import encode
from hfkit.tasks.seq2seq.languages import check_languages, with_languages
from hfkit.tasks.seq2seq.settings import Seq2SeqSettings
from hfkit.tasks.slicing import text_slices

if TYPE_CHECKING:
    import numpy as np
    import torch
    from transformers import PretrainedConfig, PreTrainedTokenizerBase

    from hfkit.tasks.base import Batch, Written


class Seq2Seq:
    """Sources answered by texts that the decoder writes; implements hfkit.tasks.base.Task.

    `driver` is "decode": predictions come from greedy decoding, so there is no `read`; `merge` gets what was written.
    """

    name: ClassVar[str] = "seq2seq"
    head: ClassVar[Head] = "seq2seq-lm"
    driver: ClassVar[Driver] = "decode"
    columns: ClassVar[tuple[Column, ...]] = (
        Column("id", False),
        Column("source", True, ("src", "input", "input_text", "document", "article", "dialogue", "text")),
        Column("target", True, ("tgt", "output", "target_text", "summary", "highlights", "translation"), gold=True),
    )
    blocks: ClassVar[bool] = False
    group: ClassVar[str | None] = None
    Settings: ClassVar[type[Section]] = Seq2SeqSettings

    def __init__(self, settings: Seq2SeqSettings) -> None:
        self.settings = settings

    @property
    def headline(self) -> tuple[str, Literal["higher", "lower"]]:
        return "chrf", "higher"

    def check(self, rows: Sequence[Row], *, training: bool, train_rows: Sequence[Row] | None = None) -> list[str]:
        """Texts in every row. Raises DataError, and UsageError where rows will be scored without the extra `texts`."""
        if training or any(map(self.usable, rows)):
            check_installed()
        return raise_failures(self.findings(rows, training=training, train_rows=train_rows))

    def findings(
        self, rows: Sequence[Row], *, training: bool, train_rows: Sequence[Row] | None = None
    ) -> Iterator[Finding]:
        most = validators.MOST_EMPTY if training else 1.0
        yield from validators.text_column(rows, "source", empty="warning", most=most)
        golds = rows if training else [row for row in rows if row.get("target") is not None]
        if len(golds):
            yield from validators.text_column(golds, "target", empty="warning")
        if training:
            yield from validators.duplicate_ids(rows, "warning")

    def usable(self, row: Row) -> bool:
        return isinstance(row.get("target"), str)

    def resolve(
        self, rows: Sequence[Row], tokenizer: PreTrainedTokenizerBase, config: PretrainedConfig
    ) -> tuple[Seq2Seq, list[Resolution]]:
        """Both lengths, from the training rows. Raises UsageError for languages that the model does not take."""
        settings = self.settings
        check_languages(tokenizer, settings)
        tokenizer = with_languages(tokenizer, settings)
        found: dict[str, int] = {}
        lines = []
        texts = {
            "source": (settings.source_prefix + row["source"] for row in some(rows)),
            "target": (row["target"] for row in some(rows) if self.usable(row)),
        }
        for side, held in texts.items():
            name = f"max_{side}_length"
            sizes = encode.lengths(held, tokenizer, target=side == "target")
            key, wanted = f"seq2seq.{name}", getattr(settings, name)
            found[name], line = encode.resolved_length(key, wanted, sizes, config, f"{side}s")
            lines.append(line)
        return type(self)(settings.model_copy(update=found)), lines

    def adopt(self, rows: Sequence[Row], config: PretrainedConfig | None) -> tuple[Seq2Seq, list[Resolution]]:
        """Lengths that a model without hfkit's settings leaves open become its positions."""
        if config is None:
            return self, []
        from hfkit.models import max_positions

        limit = max_positions(config)
        names = [name for name in ("max_source_length", "max_target_length") if getattr(self.settings, name) == "auto"]
        lines = [Resolution(f"seq2seq.{name}", limit, "the model's positions") for name in names]
        return type(self)(self.settings.model_copy(update=dict.fromkeys(names, limit))), lines

    def model_config(self) -> dict[str, Any]:
        return {}

    def encode(self, rows: Iterable[Row], tokenizer: PreTrainedTokenizerBase) -> Iterator[Feature]:
        """Feature columns: row, input_ids, target_ids, source_cut; see `encode.pairs`."""
        settings = self.settings
        return encode.pairs(
            rows,
            with_languages(tokenizer, settings),
            prefix=settings.source_prefix,
            max_source=int(settings.max_source_length),
            max_target=int(settings.max_target_length),
        )

    def loss(self, outputs: Any, batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
        """(sum of smoothed nats, target tokens); see `encode.smoothed_loss`."""
        return encode.smoothed_loss(outputs, batch, self.settings.label_smoothing)

    def merge(self, row: Row, reads: Sequence[Written]) -> Prediction:
        """The text that was written; `score` is the log-probability of its tokens, nats."""
        (written,) = reads
        return {
            "id": row["id"],
            "prediction": written.text,
            "score": written.log_probability,
            "tokens": written.tokens,
            "finish_reason": written.finish_reason,
        }

    def measure(self, prediction: Prediction, row: Row) -> dict[str, float] | None:
        if not self.usable(row):
            return None
        if not isinstance(prediction["prediction"], str):
            raise DataError(f"row {row['id']!r}: the prediction is not text", "give a text for each row")
        return measure_overlap(prediction["prediction"], [row["target"]])

    def reduce(self, columns: Mapping[str, np.ndarray]) -> dict[str, float]:
        return reduce_overlap(columns)

    def means(self, columns: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        return {"rouge_l": columns["rouge_l"], "exact_match": columns["em"]}

    def classes(self, columns: Mapping[str, np.ndarray], prediction: Prediction) -> None:
        return None

    @property
    def without_prediction(self) -> None:
        return None

    def counted(self, ids: Sequence[str], columns: Mapping[str, np.ndarray]) -> np.ndarray | None:
        return None

    def slices(self, row: Row) -> dict[str, str]:
        return text_slices(row)

    def definitions(self) -> dict[str, str]:
        return {name: definition("texts", name) for name in defined_keys("texts")}
