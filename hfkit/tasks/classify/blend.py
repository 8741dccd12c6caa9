"""Blending for classify: probabilities are averaged by label, numbers by column; what is said follows from the mean."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from hfkit.tasks.base import Prediction, Row
from hfkit.tasks.blend import mean_by_name
from hfkit.tasks.classify.task import Classify
from hfkit.tasks.tally import names_said, target_said
from hfkit.tasks.targets import gold_of


class LabelBlend:
    """Implements hfkit.tasks.blend.Blend."""

    def __init__(self, task: Classify) -> None:
        self.task = task

    @property
    def loss(self) -> Literal["log", "square"]:
        return "square" if self.task.settings.target == "regression" else "log"

    def keeping(self) -> Classify:
        return self.task

    def must_agree(self) -> Any:
        settings = self.task.settings
        return {"target": settings.target, "labels": sorted(settings.labels or [])}

    def blend(self, row: Row, predictions: Sequence[Prediction], weights: Sequence[float]) -> Prediction:
        target = self._target(predictions[0])
        if target == "regression":
            numbers = mean_by_name([_with_numbers(one) for one in predictions], weights, "numbers")
            return {"id": row["id"], "prediction": numbers.get("value", numbers) if len(numbers) == 1 else numbers}
        chances = mean_by_name(predictions, weights)
        said: Any = [name for name, chance in chances.items() if chance > 0.5]
        if target == "single":
            said = max(chances, key=lambda name: chances[name])
        return {"id": row["id"], "prediction": said, "probabilities": chances}

    def evidence(self, prediction: Prediction, row: Row) -> list[float] | None:
        """The probability of the label; of each label's gold; how far each number is off, in training deviations."""
        if not self.task.usable(row):
            return None
        target = self._target(prediction)
        names = self.task.settings.labels or names_said(prediction)
        gold = gold_of(row, {name: place for place, name in enumerate(names)}, target)
        if target == "regression":
            units = self.task.settings.std or [1.0] * len(names)
            numbers = _with_numbers(prediction)["numbers"]
            said = [numbers[name] for name in names] if len(numbers) > 1 else list(numbers.values())
            return [(number - right) / unit for number, right, unit in zip(said, gold, units, strict=True)]
        chances = [float(prediction["probabilities"][name]) for name in names]
        if target == "single":
            return [chances[int(gold[0])]]
        return [chance if flag else 1 - chance for chance, flag in zip(chances, gold, strict=True)]

    def _target(self, prediction: Prediction) -> str:
        target = self.task.settings.target
        return target_said(prediction) if target == "auto" else target


def _with_numbers(prediction: Prediction) -> Prediction:
    """A regression's prediction with `numbers` by name, also where there is one that has no name."""
    said = prediction["prediction"]
    return {**prediction, "numbers": said if isinstance(said, dict) else {"value": said}}
