"""Thresholds of labels, fitted on out-of-fold rows and kept only if they help rows they were not fitted on."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from hfkit.data.predictions import read_predictions
from hfkit.errors import DataError, UsageError
from hfkit.events import Event, note
from hfkit.metrics import thresholds as fitting
from hfkit.run import shown_path
from hfkit.tasks.base import LOWER_IS_BETTER, Prediction, Task
from hfkit.tasks.labels import in_order
from hfkit.tasks.scoring import Measured, light_columns, measured
from hfkit.verbs.columns_file import read_columns

OUT_OF_FOLD = Path("eval", "oof")  # where a cross-validation and an ensemble keep the evaluation of such rows
GOLD = ("gold", "label")  # keys under which a line of out-of-fold predictions may hold its gold


@dataclass(frozen=True)
class Thresholds:
    """Above which probability a label is chosen; of two exclusive labels the second in order, else the first."""

    metric: str
    values: Mapping[str, float]
    exclusive: tuple[str, str] | None  # (otherwise, above) where a row has one of two labels
    rows: int
    before: float  # of these rows, at 0.5
    fitted: float  # of these rows, which flatters
    held_out: float  # of each half by the thresholds of the other

    def applied(self, item: Prediction) -> Prediction:
        """The prediction with the labels that its probabilities give."""
        shares = item["probabilities"]
        chosen = [name for name, limit in self.values.items() if shares[name] > limit]
        if self.exclusive is None:
            return {**item, "prediction": chosen}
        return {**item, "prediction": self.exclusive[1] if chosen else self.exclusive[0]}

    def shown(self) -> dict[str, Any]:
        """The part of the result object."""
        scores = {"before": self.before, "fitted": self.fitted, "held_out": self.held_out}
        return {"metric": self.metric, "values": dict(self.values), "rows": self.rows, **scores}


def rows_out_of_fold(task: Task, path: Path) -> tuple[Measured, list[str]]:
    """What was measured of out-of-fold rows, and the labels in the order of its columns.

    `path` is a folder of an evaluation, one that holds it as eval/oof (a cross-validation), or JSON lines with gold.
    Raises DataError for rows without gold or probabilities.
    """
    if path.is_dir():
        folder = path / OUT_OF_FOLD if (path / OUT_OF_FOLD).is_dir() else path
        return of_evaluation(task, folder)
    items = read_predictions(path)
    key = next((name for name in GOLD if items and all(name in item for item in items)), None)
    if key is None and (path.parent / OUT_OF_FOLD).is_dir():  # what a cross-validation wrote beside them
        return of_evaluation(task, path.parent / OUT_OF_FOLD)
    if key is None:
        raise DataError(
            f"{path}: not every line holds its gold",
            'add it as {"id": ..., "probabilities": {...}, "gold": ...}, or give the folder of an evaluation',
        )
    names = in_order(task.settings.labels) if task.settings.target == "single" else list(task.settings.labels)
    chances(names, items, path)
    return measured(task, items, [{"id": item["id"], "label": item[key]} for item in items]), names


def of_evaluation(task: Task, folder: Path) -> tuple[Measured, list[str]]:
    """The rows of an evaluation's columns.json, with the probabilities of its predictions."""
    evaluated = read_columns(folder)
    kept, said = evaluated.measured, evaluated.settings.get("labels")
    made = {item["id"]: item for item in read_predictions(folder / "predictions.jsonl")}
    items = [made[name] for name in kept.ids if name in made]
    if len(items) != len(kept):
        raise DataError(f"{folder}: predictions.jsonl lacks rows of columns.json", "evaluate again with --overwrite")
    names = in_order(task.settings.labels) if task.settings.target == "single" or not said else list(said)
    columns = {**kept.columns, **chances(names, items, folder)}
    return Measured(columns, kept.ids, kept.rows, kept.groups, kept.unit, kept.unscored), names


def chances(names: list[str], items: list[Prediction], path: Path) -> dict[str, np.ndarray]:
    """The probability columns p_0.. of predictions, in this order of labels. Raises DataError."""
    if not all(set(names) == set(item.get("probabilities") or {}) for item in items):
        raise DataError(f"{path}: not every line holds probabilities of {', '.join(names[:8])}", "predict them again")
    return {
        f"p_{place}": np.asarray([item["probabilities"][name] for item in items]) for place, name in enumerate(names)
    }


def fitted(
    task: Task, found: Measured, names: list[str], metric: str | None, path: Path
) -> Generator[Event, None, Thresholds | None]:
    """Thresholds of the labels `names` for a metric; None where there can be none, or they do not help rows that they
    were not fitted on.

    Yields a line that says what came out. Raises UsageError for an unknown metric.
    """
    single = task.settings.target == "single"
    metric = metric or task.headline[0]
    if single and len(names) != 2:
        yield note(f"{len(names)} exclusive labels have no thresholds: the most probable one is taken")
        return None
    light = light_columns(found.columns)
    known = task.reduce(light)
    if metric not in known:
        if metric not in task.definitions():
            raise UsageError(f"'{metric}' is not a metric of this task", "there are " + ", ".join(known))
        yield note(f"{metric} does not depend on thresholds, so none is fitted")
        return None
    places = [1] if single else list(range(len(names)))
    probabilities = np.column_stack([found.columns[f"p_{place}"] for place in places])
    sign = -1.0 if metric in LOWER_IS_BETTER else 1.0

    def value(decided: np.ndarray, inside: np.ndarray | slice) -> float:
        new = {"predicted": decided[:, 0]} if single else {f"predicted_{n}": decided[:, n] for n in places}
        columns = {name: column[inside] for name, column in light.items()} | new
        return task.reduce({name: np.asarray(column, dtype=np.float64) for name, column in columns.items()})[metric]

    def score_of(inside: np.ndarray | slice) -> fitting.Score:
        return lambda decided: sign * value(decided, inside)

    whole = slice(None)
    before = value(probabilities > fitting.DEFAULT, whole)
    held = value(fitting.held_out(probabilities, found.ids, score_of), whole)
    limits = fitting.fit(probabilities, score_of(whole))
    best = value(probabilities > limits, whole)
    scores = f"{metric} {before:.2f} at 0.5, {held:.2f} on rows that thresholds were not fitted on"
    place = f"{len(found):,} rows of {shown_path(path)}"
    if sign * held <= sign * before:
        yield note(f"thresholds do not help and are left at 0.5: {scores} ({place})")
        return None
    yield note(f"thresholds fitted: {scores}, {best:.2f} on those they were fitted on ({place})")
    chosen = dict(zip([names[number] for number in places], limits.tolist(), strict=True))
    pair = (names[0], names[1]) if single else None
    return Thresholds(metric, chosen, pair, len(found), before, best, held)
