"""Predictions and rows -> metrics with intervals: what eval, finetune, score and compare print is computed here."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from operator import itemgetter
from typing import Any

import numpy as np

from hfkit.errors import DataError
from hfkit.metrics.statistics import bootstrap_ci, grouped_wilson, wilson
from hfkit.tasks.base import Prediction, Row, Task

RESAMPLES = 1000
WAITING = 1024  # rows whose statistics wait to be put into columns
ASIDE = ("p_", "span_", "null_gap", "confidence")  # statistics that no interval needs: a value of its own in each row


@dataclass(frozen=True)
class Measured:
    """What `task.measure` found: one array per statistic, all with one entry per row that counts.

    `ids` and `rows` are those rows' ids and numbers in the data; `groups` numbers their contexts or premises, None
    where no two rows share one, or all do; `unit` names what a bootstrap draws; `unscored` counts rows without gold.
    """

    columns: dict[str, np.ndarray]
    ids: list[str]
    rows: np.ndarray
    groups: np.ndarray | None
    unit: str
    unscored: int

    def __len__(self) -> int:
        return len(self.rows)


@dataclass(frozen=True)
class Scores:
    """Metrics of predictions, their 95 % intervals and how these were made, what each metric is, the rows counted."""

    metrics: dict[str, float]
    ci95: dict[str, list[float]]
    definitions: dict[str, str]
    rows: int
    unscored: int  # rows without gold
    methods: dict[str, str] = field(default_factory=dict)


def measured(
    task: Task, predictions: Iterable[Prediction], rows: Iterable[Row], *, group: str | None = None
) -> Measured:
    """`task.measure` on every row. `group` is the column whose equal values belong together; None: the task's.

    A statistic that some rows lack, such as probabilities that a file gives for some rows only, is left out: what is
    made of it can only be said of all rows.
    """
    group = group or task.group
    columns = Gathered()
    numbers: array[int] = array("q")
    ids: list[str] = []
    places: dict[Any, int] = {}  # by hash (64 bits): the texts of a million contexts are not kept
    members: array[int] = array("q")
    count = 0
    for prediction, row in zip(predictions, rows, strict=True):
        found = task.measure(prediction, row)
        if found is not None:
            columns.add(found)
            numbers.append(count)
            ids.append(prediction["id"])
            if group is not None:
                value = row.get(group)  # a row without a context shares none
                key = (count,) if value is None else hash(str(value))
                members.append(places.setdefault(key, len(places)))
        count += 1
    whole = Measured(
        columns.arrays(), ids, np.asarray(numbers, dtype=np.int64), np.asarray(members), "rows", count - len(ids)
    )
    kept = task.counted(ids, whole.columns) if numbers else None
    whole = whole if kept is None else chosen(whole, kept)
    shared = group is not None and whole.groups is not None and 1 < len(np.unique(whole.groups)) < len(whole)
    unit = f"{group}s" if group in ("context", "premise") else f"groups of {group}" if shared else "rows"
    return Measured(
        whole.columns, whole.ids, whole.rows, whole.groups if shared else None, unit if shared else "rows",
        whole.unscored,
    )  # fmt: skip


class Gathered:
    """Statistics that come row by row, as columns of 8 bytes a value: a million rows are measured."""

    def __init__(self) -> None:
        self._columns: dict[str, array[float]] = {}
        self._begun = False
        self._waiting: list[Mapping[str, float]] = []  # columns are filled many rows at a time: a third of the work

    def add(self, statistics: Mapping[str, float]) -> None:
        self._waiting.append(statistics)
        if len(self._waiting) == WAITING:
            self._fill()

    def arrays(self) -> dict[str, np.ndarray]:
        """{statistic: its value in each row} of the statistics that every row has."""
        self._fill()
        return {name: np.asarray(values, dtype=np.float64) for name, values in self._columns.items()}

    def _fill(self) -> None:
        if self._waiting and not self._begun:
            self._begun, self._columns = True, {name: array("d") for name in self._waiting[0]}
        for name in list(self._columns):
            try:
                self._columns[name].extend(map(itemgetter(name), self._waiting))
            except KeyError:
                del self._columns[name]  # a row lacks it
        self._waiting.clear()


def chosen(found: Measured, kept: np.ndarray) -> Measured:
    """The rows with these places (or of this mask) alone."""
    places = np.flatnonzero(kept) if kept.dtype == bool else kept
    columns = {name: values[places] for name, values in found.columns.items()}
    groups = found.groups if found.groups is None or not len(found.groups) else found.groups[places]
    return Measured(
        columns, [found.ids[place] for place in places], found.rows[places], groups, found.unit, found.unscored
    )


def light_columns(columns: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The statistics that intervals are made of."""
    return {name: values for name, values in columns.items() if not name.startswith(ASIDE)}


def score_columns(task: Task, found: Measured, *, intervals: bool = True) -> Scores:
    """Metrics of measured rows. Raises DataError when no row has gold."""
    if not len(found):
        raise DataError(
            "no row has an answer to score against",
            "score data with gold answers, or use `hfkit predict last --data D`",
        )
    metrics = task.reduce(found.columns)
    bounds, methods = intervals_of(task, found) if intervals else ({}, {})
    known = task.definitions()
    tokens = f"; {int(found.columns['tokens'].sum()):,} tokens scored" if task.blocks else ""
    return Scores(
        metrics,
        {name: bounds[name] for name in metrics if name in bounds},
        {name: known[name] + tokens for name in metrics if name in known},
        len(found),
        found.unscored,
        {name: methods[name] for name in metrics if name in bounds},
    )


def intervals_of(task: Task, found: Measured) -> tuple[dict[str, list[float]], dict[str, str]]:
    """95 % intervals of the metrics that need no probabilities, and the method of each.

    Wilson's for a plain share of right rows that do not share a context or premise, else the bootstrap. A share of rows
    that are all right, or all wrong, is the same in every resample: it has Wilson's interval too, of as many rows as
    there are contexts or premises. Metrics of probabilities (log_loss, roc_auc) need a column for every class in each
    resample, which would take minutes.
    """
    light = light_columns(found.columns)
    shares = {} if found.groups is not None else task.means(found.columns)
    bounds: dict[str, list[float]] = {}
    methods: dict[str, str] = {}
    for name, values in shares.items():
        if np.isin(values, (0.0, 1.0)).all():
            bounds[name] = [100.0 * end for end in wilson(int(values.sum()), len(values))]
            methods[name] = "Wilson"
    names = [name for name in task.reduce(light) if name not in bounds]
    drawn = bootstrap_ci(light, task.reduce, groups=found.groups, resamples=RESAMPLES, seed=0, keys=names)
    bounds |= drawn
    methods |= dict.fromkeys(drawn, bootstrap_name(found))
    for name, rows in shares_of(task, found.columns).items():
        if name in drawn and drawn[name][0] == drawn[name][1] in (0.0, 100.0):
            groups = np.flatnonzero(rows) if found.groups is None else found.groups[rows]
            share = np.full(len(groups), drawn[name][0] / 100)
            bounds[name] = [100.0 * end for end in grouped_wilson(share, groups)]
            methods[name] = f"Wilson over {len(np.unique(groups)):,} {found.unit}"
    return bounds, methods


def shares_of(task: Task, columns: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Metrics that are a percentage of rows: which rows. All of them, or those of a cell (`cells` of a task)."""
    every = {name: np.ones(len(values), dtype=bool) for name, values in task.means(columns).items()}
    cells = getattr(task, "cells", None)
    return every if cells is None else {**every, **cells(columns)}


def bootstrap_name(found: Measured) -> str:
    """How a bootstrap of these rows is named: what is drawn, how many of it, how often."""
    units = len(found) if found.groups is None else len(np.unique(found.groups))
    return f"bootstrap over {units:,} {found.unit}, {RESAMPLES:,} resamples"


def score_fields(scores: Scores) -> dict[str, Any]:
    """The part of a result object that every scoring command prints."""
    return {
        "rows": scores.rows,
        "metrics": scores.metrics,
        "ci95": scores.ci95,
        "ci95_method": scores.methods,
        "definitions": scores.definitions,
    }
