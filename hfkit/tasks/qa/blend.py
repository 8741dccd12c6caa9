"""Blending for qa: start and end probabilities are averaged by character, then the best span is taken."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from hfkit.errors import DataError
from hfkit.tasks.base import Prediction, Row
from hfkit.tasks.qa.answers import locate, trimmed
from hfkit.tasks.qa.characters import KEY, Kept, blended, spans_of

if TYPE_CHECKING:
    from hfkit.tasks.qa.task import QA


class SpanBlend:
    """Implements hfkit.tasks.blend.Blend."""

    def __init__(self, task: QA) -> None:
        self.task = task

    @property
    def loss(self) -> Literal["log", "square"]:
        return "log"

    def keeping(self) -> QA:
        return type(self.task)(self.task.settings.model_copy(update={"keep_characters": True}))

    def must_agree(self) -> Any:
        return {}

    def blend(self, row: Row, predictions: Sequence[Prediction], weights: Sequence[float]) -> Prediction:
        kept = blended([kept_of(one) for one in predictions], weights)
        settings = self.task.settings
        spans = spans_of(kept, settings.n_best, length_penalty=settings.length_penalty)
        return self.task.answered(row, spans, sum(kept["null"]), kept)

    def evidence(self, prediction: Prediction, row: Row) -> list[float] | None:
        """The probabilities that the answer begins, and ends, where some gold answer does; of null without an answer.

        None where no gold answer can be located.
        """
        answers, kept = row.get("answers"), kept_of(prediction)
        if answers is None:
            return None
        if not answers:
            return [float(value) for value in np.exp(kept["null"])]
        found = [locate(row["context"], answer["text"], answer["start"]) for answer in answers]
        golds = [trimmed(row["context"], *span) for span in found if span is not None]
        if not golds:
            return None
        chances = [{item[0]: float(np.exp(item[1])) for item in kept[name]} for name in ("start", "end")]
        return [
            sum(chance.get(place, 0.0) for place in sorted({span[side] for span in golds}))
            for side, chance in enumerate(chances)
        ]


def kept_of(prediction: Prediction) -> Kept:
    """What a prediction holds by character. Raises DataError when it was made without."""
    kept: Kept | None = prediction.get(KEY)
    if not kept:
        raise DataError(
            f"row {prediction['id']!r}: the prediction holds no start and end probabilities by character",
            "predict with qa.keep_characters=true",
        )
    return kept
