"""Predictions and rows -> metrics with intervals: what eval, finetune and score print is computed here alone."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from hfkit.errors import DataError
from hfkit.metrics.statistics import bootstrap_ci
from hfkit.tasks.base import Prediction, Row, Task

RESAMPLES = 1000


@dataclass(frozen=True)
class Scores:
    """Metrics of predictions, their 95 % bootstrap intervals, what each metric is, and how many rows counted."""

    metrics: dict[str, float]
    ci95: dict[str, list[float]]
    definitions: dict[str, str]
    rows: int
    unscored: int  # rows without gold


def columns_of(task: Task, predictions: Iterable[Prediction], rows: Iterable[Row]) -> tuple[dict[str, np.ndarray], int]:
    """(one array per statistic, rows without gold) from `task.measure` on every row.

    A statistic that some rows lack, such as probabilities that a file gives for some rows only, is left out: what is
    made of it can only be said of all rows.
    """
    lists: dict[str, array[float]] = {}  # 8 bytes a value: a million rows are measured
    rows_in, rows_out = 0, 0
    for prediction, row in zip(predictions, rows, strict=True):
        measured = task.measure(prediction, row)
        if measured is None:
            rows_out += 1
            continue
        rows_in += 1
        for name, value in measured.items():
            lists.setdefault(name, array("d")).append(value)
    whole = {name: values for name, values in lists.items() if len(values) == rows_in}
    return {name: np.asarray(values, dtype=np.float64) for name, values in whole.items()}, rows_out


def score_columns(
    task: Task, columns: Mapping[str, np.ndarray], unscored: int = 0, *, intervals: bool = True
) -> Scores:
    """Metrics of measured columns. Raises DataError when no row has gold."""
    count = len(next(iter(columns.values()), ()))
    if not count:
        raise DataError(
            "no row has an answer to score against",
            "score data with gold answers, or use `hfkit predict last --data D`",
        )
    metrics = task.reduce(columns)
    bounds = intervals_of(task, columns) if intervals else {}
    known = task.definitions()
    tokens = f"; {int(columns['tokens'].sum()):,} tokens scored" if task.blocks else ""
    return Scores(
        metrics,
        {name: bounds[name] for name in metrics if name in bounds},
        {name: known[name] + tokens for name in metrics if name in known},
        count,
        unscored,
    )


def intervals_of(task: Task, columns: Mapping[str, np.ndarray]) -> dict[str, list[float]]:
    """95 % bootstrap intervals of the metrics that need no probabilities.

    Those that do (log_loss, roc_auc) need a column for every class in each resample, which would take minutes.
    """
    light = {name: values for name, values in columns.items() if not name.startswith("p_")}
    return {name: list(pair) for name, pair in bootstrap_ci(light, task.reduce, resamples=RESAMPLES, seed=0).items()}


def score_fields(scores: Scores) -> dict[str, Any]:
    """The part of a result object that every scoring command prints."""
    return {"rows": scores.rows, "metrics": scores.metrics, "ci95": scores.ci95, "definitions": scores.definitions}
