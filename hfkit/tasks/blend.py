"""How predictions of several models for one row become one: the contract, and the table of tasks that have it."""

from __future__ import annotations

import importlib
import math
from collections.abc import Sequence
from typing import Any, Literal, Protocol

from hfkit.errors import DataError, UsageError
from hfkit.tasks.base import Prediction, Row, Task

BLENDS = {
    "qa": "hfkit.tasks.qa.blend:SpanBlend",
    "nli": "hfkit.tasks.nli.blend:ClassBlend",
    "classify": "hfkit.tasks.classify.blend:LabelBlend",
}


class Blend(Protocol):
    """The blending of one task's predictions, bound to a task that was fitted to the rows."""

    def __init__(self, task: Any) -> None: ...

    @property
    def loss(self) -> Literal["log", "square"]:
        """What weights are fitted by: -ln of the blended evidence, or its square; the mean over all rows."""

    def keeping(self) -> Task:
        """The task with predictions that hold all that `blend` reads."""

    def must_agree(self) -> Any:
        """What all members must have in common, such as their labels; JSON types, in an order of its own."""

    def blend(self, row: Row, predictions: Sequence[Prediction], weights: Sequence[float]) -> Prediction:
        """One prediction of several for `row`; weights add up to 1. The order of the models moves no bit.

        Raises DataError for predictions that do not go together, or that lack what is read.
        """

    def evidence(self, prediction: Prediction, row: Row) -> list[float] | None:
        """Numbers that blend as predictions do: with loss `log` probabilities of gold, with `square` what it was off.

        As many for every model; None where the row has nothing to fit by.
        """


def blend_of(task: Task) -> Blend:
    """The blending of a task's predictions. Raises UsageError for tasks whose predictions cannot be averaged."""
    target = BLENDS.get(task.name)
    if target is None:
        raise UsageError(
            f"predictions of {task.name} cannot be averaged", f"{', '.join(BLENDS)} have probabilities that can"
        )
    module, _, attribute = target.partition(":")
    found: type[Blend] = getattr(importlib.import_module(module), attribute)
    return found(task)


def mean_by_name(
    predictions: Sequence[Prediction], weights: Sequence[float], key: str = "probabilities"
) -> dict[str, float]:
    """The weighted mean of `key` ({name: number}) over predictions, names in the order of the first.

    Raises DataError when a prediction has no such numbers, or other names.
    """
    first = predictions[0].get(key)
    for prediction in predictions:
        values = prediction.get(key)
        if not values:
            raise DataError(f"row {prediction['id']!r}: a prediction has no {key}", "predict again with hfkit")
        if set(values) != set(first or ()):
            odd = ", ".join(sorted(set(values) ^ set(first or ()))[:5])
            raise DataError(
                f"row {prediction['id']!r}: predictions have different labels: {odd}", "average models of one label set"
            )
    return {
        name: math.fsum(weight * float(one[key][name]) for one, weight in zip(predictions, weights, strict=True))
        for name in first or ()
    }
