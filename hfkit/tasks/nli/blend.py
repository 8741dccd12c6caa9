"""Blending for nli: probabilities are averaged by class."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from hfkit.tasks.base import Prediction, Row
from hfkit.tasks.blend import mean_by_name
from hfkit.tasks.labels import ENTAILMENT, OTHER
from hfkit.tasks.nli.task import NLI


class ClassBlend:
    """Implements hfkit.tasks.blend.Blend."""

    def __init__(self, task: NLI) -> None:
        self.task = task

    @property
    def loss(self) -> Literal["log", "square"]:
        return "log"

    def keeping(self) -> NLI:
        return self.task

    def must_agree(self) -> Any:
        return {"classes": sorted(self.task.settings.classes or [])}

    def blend(self, row: Row, predictions: Sequence[Prediction], weights: Sequence[float]) -> Prediction:
        chances = mean_by_name(predictions, weights)
        return {
            "id": row["id"],
            "prediction": max(chances, key=lambda name: chances[name]),
            "probabilities": chances,
        }

    def evidence(self, prediction: Prediction, row: Row) -> list[float] | None:
        """The probability of gold; where one side knows only entailment or not, that of what gold means there."""
        gold = self.task.gold(row)
        if gold is None:
            return None
        chances = {
            self.task.class_said(name): float(value) for name, value in (prediction.get("probabilities") or {}).items()
        }
        if gold in chances:
            return [chances[gold]]
        return [chances[OTHER] if OTHER in chances else 1 - chances[ENTAILMENT]]
