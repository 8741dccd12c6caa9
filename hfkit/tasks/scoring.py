"""Predictions and rows -> metrics with intervals: the one place where eval, finetune and score compute what they print."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from hfkit.errors import DataError
from hfkit.metrics.statistics import bootstrap_ci
from hfkit.tasks.base import Prediction, Row, Task

RESAMPLES = 1000


@dataclass(frozen=True)
class Scores:
    """Metrics of a set of predictions, their 95 % bootstrap intervals, what each metric is, and how many rows counted."""

    metrics: dict[str, float]
    ci95: dict[str, list[float]]
    definitions: dict[str, str]
    rows: int
    unscored: int  # rows without gold


def columns_of(task: Task, predictions: Iterable[Prediction], rows: Iterable[Row]) -> tuple[dict[str, np.ndarray], int]:
    """(one array per statistic, rows without gold) from `task.measure` on every row."""
    lists: dict[str, list[float]] = {}
    skipped = 0
    for prediction, row in zip(predictions, rows, strict=True):
        measured = task.measure(prediction, row)
        if measured is None:
            skipped += 1
            continue
        for name, value in measured.items():
            lists.setdefault(name, []).append(value)
    return {name: np.asarray(values, dtype=np.float64) for name, values in lists.items()}, skipped


def score_columns(task: Task, columns: Mapping[str, np.ndarray], unscored: int = 0, *, intervals: bool = True) -> Scores:
    """Metrics of measured columns. Raises DataError when no row has gold."""
    count = len(next(iter(columns.values()), ()))
    if not count:
        raise DataError("no row has an answer to score against", "score data with gold answers, or use `hfkit predict last --data D`")
    metrics = task.reduce(columns)
    ci95: dict[str, list[float]] = {}
    if intervals:
        # Metrics of whole distributions (log_loss, roc_auc) need every class's column in each resample: too slow to bound.
        light = {name: values for name, values in columns.items() if not name.startswith("p_")}
        ci95 = {k: list(v) for k, v in bootstrap_ci(light, task.reduce, resamples=RESAMPLES, seed=0).items() if k in metrics}
    known = task.definitions()
    return Scores(metrics, ci95, {k: known[k] for k in metrics if k in known}, count, unscored)


def score_predictions(task: Task, predictions: Sequence[Prediction], rows: Iterable[Row], *, intervals: bool = True) -> Scores:
    """Metrics of predictions in row order."""
    columns, unscored = columns_of(task, predictions, rows)
    return score_columns(task, columns, unscored, intervals=intervals)


def score_fields(scores: Scores) -> dict[str, Any]:
    """The part of a result object that every scoring command prints."""
    return {"rows": scores.rows, "metrics": scores.metrics, "ci95": scores.ci95, "definitions": scores.definitions}
