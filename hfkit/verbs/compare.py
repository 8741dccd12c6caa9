"""`hfkit compare`: two systems' predictions on the same rows; how they differ, and whether that is noise. No torch."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from statistics import fmean, stdev
from typing import Any

import numpy as np

from hfkit.errors import DataError
from hfkit.events import Event, note
from hfkit.metrics.statistics import mcnemar, paired_bootstrap
from hfkit.tasks import task_class
from hfkit.tasks.analysis import masks_of
from hfkit.tasks.base import LOWER_IS_BETTER, Task
from hfkit.tasks.scoring import RESAMPLES, Measured, bootstrap_name, light_columns
from hfkit.verbs.columns_file import Evaluated
from hfkit.verbs.compared import System, systems

SLICE_RESAMPLES = 200
LEAST_ROWS = 20  # of a slice whose difference is worth an interval


def compare(
    a: str,
    b: str,
    *,
    data: Any = None,
    task: str | None = None,
    overrides: Sequence[str] = (),
    offline: bool = False,
) -> Iterator[Event]:
    """Compare two systems on the same rows: runs, evaluations, or files of predictions (these need `data` and `task`).

    Several seeds of a system are given with commas, `run1,run2,run3`; their metrics are averaged, and their spread is
    told. Yields events, last "result" with the object that `--json` prints. Raises HfkitError.
    """
    started = time.time()
    first, second = yield from systems(a, b, data=data, task=task, overrides=overrides, offline=offline)
    example = first.evaluated[0]
    bound = task_of(example)
    check_same_rows(first, second)
    tables = aligned([*first.evaluated, *second.evaluated])
    check_same_gold(tables, (first, second))
    before, after = tables[: len(first.evaluated)], tables[len(first.evaluated) :]
    fields = {
        "task": example.task,
        "data": example.data,
        "rows": len(example.measured),
        "a": side(bound, first, before),
        "b": side(bound, second, after),
        **differences(bound, example.measured, before, after),
        "slices": slices(bound, example, before, after),
    }
    yield from map(note, (f"a is {first.name}", f"b is {second.name}"))
    result = {**fields, "verdict": verdict(bound, fields), "throughput": {"seconds": time.time() - started}}
    yield Event("result", {name: value for name, value in result.items() if value not in ({}, None)})


def task_of(found: Evaluated) -> Task:
    """The task that measured an evaluation, with the settings it had."""
    kind = task_class(found.task)
    return kind(kind.Settings(**{k: v for k, v in found.settings.items() if k in kind.Settings.model_fields}))


def aligned(evaluated: Sequence[Evaluated]) -> list[dict[str, np.ndarray]]:
    """The columns of each seed, rows in the order of the first."""
    ids = evaluated[0].measured.ids
    tables = []
    for found in evaluated:
        columns = light_columns(found.measured.columns)
        if found.measured.ids != ids:
            place = {name: number for number, name in enumerate(found.measured.ids)}
            order = np.asarray([place.get(name, -1) for name in ids])
            if len(place) != len(ids) or (order < 0).any():
                raise DataError(
                    f"{found.data}: the evaluations were made on different rows", "compare on one data set: --data D"
                )
            columns = {name: values[order] for name, values in columns.items()}
        tables.append(columns)
    return tables


def check_same_rows(first: System, second: System) -> None:
    """Raise DataError unless the two are about the same rows in the same task with the same gold."""
    one, other = first.evaluated[0], second.evaluated[0]
    if one.task != other.task:
        raise DataError(f"a is {one.task}, b is {other.task}", "compare two systems of one task")
    left, right = set(one.measured.ids), set(other.measured.ids)
    if left != right:
        only = f"{len(left - right):,} rows are only in a, {len(right - left):,} only in b"
        raise DataError(
            f"the two were not evaluated on the same rows: {only} ({one.data}, {other.data})",
            "evaluate both on one data set, or give it: --data D",
        )


def check_same_gold(tables: Sequence[Mapping[str, np.ndarray]], systems: Sequence[System]) -> None:
    """Raise DataError unless all were scored by one scorer against one gold."""
    scorers = list(dict.fromkeys(str(e.settings.get("scorer")) for system in systems for e in system.evaluated))
    if len(scorers) > 1:
        raise DataError(f"they were scored by {' and '.join(scorers)}", "score both alike on the data: --data D")
    for name, values in tables[0].items():
        if not (name.startswith(("gold", "has_answer", "heuristic", "classes")) or name in ("tokens", "bytes")):
            continue
        if not all(name in table and np.array_equal(values, table[name]) for table in tables):
            raise DataError(
                f"the two were not scored against the same gold ({name} differs)",
                "labels or data differ: compare on one data set, --data D",
            )


def side(task: Task, system: System, tables: Sequence[Mapping[str, np.ndarray]]) -> dict[str, Any]:
    """The name and metrics of one system; of several seeds the mean, the spread (standard deviation), and each."""
    each = [task.reduce(table) for table in tables]
    names = [name for name in each[0] if all(name in found for found in each)]
    found: dict[str, Any] = {"name": system.name, "metrics": {name: fmean(m[name] for m in each) for name in names}}
    if len(each) > 1:
        found |= {
            "seeds": len(each),
            "spread": {name: stdev(m[name] for m in each) for name in names},
            "each": {name: [m[name] for m in each] for name in names},
        }
    return found


def differences(
    task: Task, rows: Measured, before: list[dict[str, np.ndarray]], after: list[dict[str, np.ndarray]]
) -> dict[str, Any]:
    """b - a of every metric with its interval and p-value; McNemar's test of the rows that only one gets right."""
    drawn = paired_bootstrap(before, after, task.reduce, groups=rows.groups, resamples=RESAMPLES)
    found: dict[str, Any] = {
        "differences": {name: values["difference"] for name, values in drawn.items()},
        "ci95": {name: values["ci95"] for name, values in drawn.items()},
        "p_value": {name: values["p_value"] for name, values in drawn.items()},
        "method": f"paired {bootstrap_name(rows)}; p one-sided (Berg-Kirkpatrick 2012)",
    }
    if len(before) == len(after) == 1:
        shares = task.means(before[0]), task.means(after[0])
        plain = [name for name in shares[0] if all(np.isin(side[name], (0, 1)).all() for side in shares)]
        found["mcnemar"] = {name: mcnemar(shares[0][name], shares[1][name]) for name in plain}
    return found


def slices(
    task: Task, example: Evaluated, before: list[dict[str, np.ndarray]], after: list[dict[str, np.ndarray]]
) -> dict[str, dict[str, Any]]:
    """{slice: {value: {"rows", "differences", "ci95"}}} of the headline metric; small slices have no interval."""
    found: dict[str, dict[str, Any]] = {}
    for name, values in example.slices.items():
        parts = {value: _slice(task, example.measured, before, after, mask) for value, mask in masks_of(values).items()}
        found[name] = {value: part for value, part in parts.items() if part["differences"]}
    return found


def _slice(
    task: Task,
    rows: Measured,
    before: list[dict[str, np.ndarray]],
    after: list[dict[str, np.ndarray]],
    inside: np.ndarray,
) -> dict[str, Any]:
    name = headline(task, task.reduce(before[0]))
    one, other = (
        [{key: values[inside] for key, values in table.items()} for table in side] for side in (before, after)
    )
    count = int(inside.sum())
    metrics = [task.reduce(table) for table in (*one, *other)]
    if not all(name in found for found in metrics):
        return {"rows": count, "differences": {}}
    values = [found[name] for found in metrics]
    part: dict[str, Any] = {"rows": count, "differences": {name: fmean(values[len(one) :]) - fmean(values[: len(one)])}}
    if count >= LEAST_ROWS:
        groups = None if rows.groups is None else rows.groups[inside]
        drawn = paired_bootstrap(one, other, task.reduce, groups=groups, resamples=SLICE_RESAMPLES, keys=[name])
        part["ci95"] = {key: found["ci95"] for key, found in drawn.items()}
    return part


def headline(task: Task, metrics: Mapping[str, float]) -> str:
    """The task's headline metric, else the first that there is."""
    return task.headline[0] if task.headline[0] in metrics else next(iter(metrics))


def verdict(task: Task, found: Mapping[str, Any]) -> str:
    """One plain sentence: which is better, by how much, and whether that could be noise."""
    name = headline(task, found["differences"])
    size, (low, high) = found["differences"][name], found["ci95"][name]
    if size == 0 and low == 0 == high:
        return f"a and b do not differ in {name}"
    better = "b" if (size < 0) == (name in LOWER_IS_BETTER) else "a"
    words = f"{name} differs by {size:+.2f} (b - a), 95 % interval {low:+.2f} to {high:+.2f}"
    if low <= 0 <= high:
        return f"{words}: this can be noise, the interval holds 0, so these rows do not tell which is better"
    spread = _between_seeds(found, name)
    if spread is not None and abs(size) < 2 * spread:
        return (
            f"{words}: {better} is better on these rows by more than the choice of rows explains, but seeds differ as "
            f"much (standard error of the means {spread:.2f}), so this can be noise of training"
        )
    one_run = "" if spread is not None else "; another seed may differ more than another draw of rows"
    return f"{words}: {better} is better, more than the choice of rows explains{one_run}"


def _between_seeds(found: Mapping[str, Any], name: str) -> float | None:
    """Standard error of the difference of the means over seeds; None when neither side has several."""
    parts = [side["spread"][name] ** 2 / side["seeds"] for side in (found["a"], found["b"]) if "spread" in side]
    return sum(parts) ** 0.5 if parts else None
