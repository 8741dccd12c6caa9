"""Weights for averaging models: greedy forward selection with replacement, and which models do not help. No torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

Loss = Literal["log", "square"]
FLOOR = 1e-4  # a smaller probability counts as this, so that single rows do not decide
ROUNDS = 100


@dataclass(frozen=True)
class Mix:
    """Weights (models,) that add up to 1, the loss of the average, of each model alone, and without each model used.

    `without` is NaN for models that are not used, and where no other is.
    """

    weights: np.ndarray
    loss: float
    alone: np.ndarray
    without: np.ndarray


def row_losses(values: np.ndarray, weights: np.ndarray, loss: Loss) -> np.ndarray:
    """The loss of each row (rows,) of the weighted mean of `values` (models, rows, parts): the mean over its parts."""
    return _losses(np.tensordot(weights, values, axes=1), loss)


def selected(values: np.ndarray, loss: Loss, *, rounds: int = ROUNDS) -> np.ndarray:
    """Weights (models,) by greedy forward selection with replacement (Caruana et al. 2004) over `values`.

    values: (models, rows, parts), numbers that average as the models do: with `log` the probability of gold, with
    `square` how far off. Each round adds the model that makes the loss of the average smallest (ties: the first); the
    round with the smallest loss decides, and each model weighs as often as it was taken by then.
    """
    models = len(values)
    total, counts = np.zeros(values.shape[1:]), np.zeros(models)
    best, found = np.inf, counts
    for taken in range(1, rounds + 1):
        tried = [float(_losses((total + one) / taken, loss).mean()) for one in values]
        choice = int(np.argmin(tried))
        total, counts = total + values[choice], counts.copy()
        counts[choice] += 1
        if tried[choice] < best:
            best, found = tried[choice], counts
    return found / found.sum()


def mixed(values: np.ndarray, loss: Loss, *, groups: np.ndarray | None = None) -> Mix:
    """Weights of the models that help, 0 for the others.

    A model helps when the average without it, fitted anew, is worse by more than one standard error of the difference
    over rows, or over `groups` (rows,) of them, which are not independent. The least helpful is left out first.
    """
    used = list(range(len(values)))
    while True:
        weights = _on(values, used, loss)
        used = [number for number in used if weights[number] > 0]
        rows = row_losses(values, weights, loss)
        without = np.full(len(values), np.nan)
        if len(used) > 1:
            gains = {}
            for number in used:
                others = row_losses(values, _on(values, [n for n in used if n != number], loss), loss)
                without[number] = float(others.mean())
                gains[number] = float((others - rows).mean()) / max(standard_error(others - rows, groups), 1e-12)
            least = min(gains, key=lambda number: (gains[number], -number))
            if gains[least] <= 1:
                used.remove(least)
                continue
        alone = np.asarray([_losses(one, loss).mean() for one in values])
        return Mix(weights, float(rows.mean()), alone, without)


def standard_error(values: np.ndarray, groups: np.ndarray | None = None) -> float:
    """The standard error of a mean over rows (rows,), where whole groups are independent of each other."""
    away = values - values.mean()
    sums = away if groups is None else np.bincount(np.unique(groups, return_inverse=True)[1], weights=away)
    units = len(sums)
    return float(np.sqrt((sums @ sums) * units / max(units - 1, 1)) / len(values))


def _on(values: np.ndarray, used: list[int], loss: Loss) -> np.ndarray:
    weights = np.zeros(len(values))
    weights[used] = selected(values[used], loss)
    return weights


def _losses(mean: np.ndarray, loss: Loss) -> np.ndarray:
    each = -np.log(np.maximum(mean, FLOOR)) if loss == "log" else np.square(mean)
    return each.mean(axis=1)
