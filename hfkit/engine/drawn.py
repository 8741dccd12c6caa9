"""What a task makes of features before they pass through the model: draws in a step of training, views to be read."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from hfkit.tasks.base import Feature, Task

if TYPE_CHECKING:
    from hfkit.data.features import Features

Arrays = Mapping[str, np.ndarray]  # name -> (features, ...)


def seen(task: Task, features: Features, numbers: list[int], seed: int, step: int) -> list[Feature]:
    """The features with these numbers as step `step` sees them: as they are, or with what a task draws (masks)."""
    taken, draw = features.take(numbers), getattr(task, "draw", None)
    if draw is None:
        return taken
    return [
        draw(feature, np.random.default_rng([seed, step, number]))
        for feature, number in zip(taken, numbers, strict=True)
    ]


def views_of(task: Task, features: list[Feature]) -> Iterable[Sequence[Feature]]:
    """What passes through the model to read these features: they themselves, or what the task puts in their place."""
    make = getattr(task, "views", None)
    return [features] if make is None else make(features)


def added(reads: Iterator[Arrays]) -> Arrays:
    """What was read of several views of the same features, added up in float64; of one, as it is."""
    total = next(reads)
    for more in reads:
        total = {name: _wide(values) + more[name] for name, values in total.items()}
    return total


def _wide(values: np.ndarray) -> np.ndarray:
    return values.astype(np.float64) if values.dtype == np.float32 else values
