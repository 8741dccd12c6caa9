"""An average beside its best member: how much better it is, and whether that is noise. For ensemble and average."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hfkit.tasks.base import Task
from hfkit.tasks.scoring import Measured, light_columns
from hfkit.verbs.compare import differences


def difference(task: Task, best: Measured, average: Measured, metric: str) -> dict[str, Any]:
    """`average` - `best` by `metric`, on the same rows: `differences`, its interval `ci95`, `p_value`."""
    drawn = differences(task, average, [light_columns(best.columns)], [light_columns(average.columns)])
    return {name: drawn[name].get(metric) for name in ("differences", "ci95", "p_value")}


def verdict(what: str, metric: str, average: float, member: str, best: float, found: Mapping[str, Any]) -> str:
    """One sentence: the average (`what` it is) beside its best `member`, and whether the difference could be noise."""
    size, (low, high) = found["differences"], found["ci95"]
    sure = "" if low <= 0 <= high else ", more than the choice of rows explains"
    return (
        f"{metric}: {what} {average:.2f}, best member {member} {best:.2f}; "
        f"difference {size:+.2f}, 95 % interval {low:+.2f} to {high:+.2f}{sure}"
    )
