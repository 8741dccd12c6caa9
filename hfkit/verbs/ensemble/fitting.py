"""Weights fitted on rows that the members did not see, and what the average is worth there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from hfkit.errors import DataError
from hfkit.metrics.mixing import Mix, mixed
from hfkit.tasks.analysis import one_half
from hfkit.tasks.base import Prediction, Task
from hfkit.tasks.blend import Blend, blend_of
from hfkit.tasks.scoring import Measured, measured, score_columns, score_fields
from hfkit.verbs.beside_best import difference
from hfkit.verbs.compare import headline

if TYPE_CHECKING:
    from hfkit.data.rows import Rows

MOST_ROWS = 20_000  # that weights are fitted on; of more, as many are drawn
Said = Sequence[Sequence[Prediction]]  # of each member, of each row


@dataclass(frozen=True)
class Fitted:
    """Weights of all rows; the evaluation of the average, each half of the rows by the weights of the other half."""

    task: Task
    rows: Rows
    mix: Mix
    metric: str
    members: list[dict[str, float]]  # metrics of each member
    best: int  # the best member by `metric`
    predictions: list[Prediction]
    found: Measured
    fields: dict[str, Any]  # metrics, ci95, ... of the average
    difference: dict[str, Any]  # average - best member, by `metric`: difference, ci95, p_value


def fitted(task: Task, rows: Rows, said: Said, group: str | None) -> Fitted:
    """Fit weights to `said`, one prediction of each member for every row. `task` is fitted to the rows.

    `group` is the column whose equal values belong together; None: the task's.
    """
    blend = blend_of(task)
    alone = [measured(task, one, rows, group=group) for one in said]
    scores = [score_columns(task, one, intervals=False).metrics for one in alone]
    metric = headline(task, scores[0])
    better = max if task.headline[1] == "higher" else min
    best = better(range(len(said)), key=lambda number: scores[number][metric])
    values, places = evidence(blend, rows, said)
    groups = _groups(rows, group or task.group, places)
    mix = mixed(values, blend.loss, groups=groups)
    half = _half(alone[0], len(rows))
    weights = [
        mixed(values[:, part], blend.loss, groups=None if groups is None else groups[part]).weights.tolist()
        for part in (half[places], ~half[places])
        if part.any()
    ]
    predictions = [
        blend.blend(row, each, weights[-1] if inside else weights[0])
        for row, inside, *each in zip(rows, half.tolist(), *said, strict=True)
    ]
    found = measured(task, predictions, rows, group=group)
    return Fitted(
        task, rows, mix, metric, scores, best, predictions, found, score_fields(score_columns(task, found)),
        difference(task, alone[best], found, metric),
    )  # fmt: skip


def evidence(blend: Blend, rows: Rows, said: Said) -> tuple[np.ndarray, np.ndarray]:
    """What weights are fitted by, (members, rows, parts), and the numbers of those rows, which are those with gold."""
    places, found = [], []
    for number, (row, *each) in enumerate(zip(rows, *said, strict=True)):
        values = [blend.evidence(prediction, row) for prediction in each]
        if None not in values:
            places.append(number)
            found.append(values)
    if not found:
        raise DataError(f"{rows.name}: no row has gold that weights could be fitted to", "give other data, or --equal")
    chosen = np.arange(len(found))
    if len(found) > MOST_ROWS:
        chosen = np.sort(np.random.default_rng(0).permutation(len(found))[:MOST_ROWS])
    table = np.asarray([found[number] for number in chosen], dtype=np.float64)
    return table.transpose(1, 0, 2), np.asarray(places, dtype=np.int64)[chosen]


def _half(found: Measured, rows: int) -> np.ndarray:
    """A mask (rows,) of half of the measured rows, whole groups; all of them where they cannot be divided."""
    mask = np.zeros(rows, dtype=bool)
    half = one_half(found)
    mask[found.rows if half is None else found.rows[half]] = True
    return mask


def _groups(rows: Rows, group: str | None, places: np.ndarray) -> np.ndarray | None:
    """The number of each row's group, of rows with these numbers; None where nothing groups them."""
    if group is None:
        return None
    known: dict[str, int] = {}
    return np.asarray([known.setdefault(str(rows[int(place)].get(group)), len(known)) for place in places])
