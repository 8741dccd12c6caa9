"""What lies behind the scores: slices, confusion, calibration, thresholds, abstention, mistakes; for eval and score."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from hfkit.metrics import calibration as calibrated
from hfkit.metrics.classification import confusion
from hfkit.metrics.squad import best_threshold, decided
from hfkit.metrics.statistics import grouped_wilson
from hfkit.tasks.base import Prediction, Row, Task
from hfkit.tasks.scoring import Measured
from hfkit.tasks.slicing import of_columns

MISTAKES = 5  # shown and kept
LONGEST = 300  # characters of a text kept with a mistake
_MOST_VALUES = 1000  # of a column; one with more says nothing by its values


def analysis(
    task: Task,
    found: Measured,
    predictions: Sequence[Prediction],
    rows: Sequence[Row],
    values: Mapping[str, Sequence[str]],
) -> dict[str, Any]:
    """Whatever of `slices`, `confusion`, `calibration`, `thresholds`, `coverage`, `mistakes` these rows allow.

    `predictions` and `rows` are all, in the data's order; `values` are those of `slice_values`.
    """
    if task.blocks or not len(found):
        return {}
    parts: dict[str, Any] = {"slices": slices(task, found, values)}
    classes = task.classes(found.columns, predictions[int(found.rows[0])])
    sure = found.columns.get("confidence")
    if classes is not None:
        table, names = classes
        counts = confusion(table["gold"].astype(int), table["predicted"].astype(int), len(names))
        parts["confusion"] = {"labels": names, "counts": counts.tolist()}
        chances = _probabilities(table, len(names))
        if chances is not None:
            parts["calibration"] = calibration(found, chances, table["gold"].astype(int), names)
            sure = chances.max(axis=1)
    if "null_gap" in found.columns and "has_answer" in found.columns:
        chance = _sigmoid(found.columns["null_gap"])
        event = (found.columns["has_answer"] < 0.5).astype(int)
        names = ["has an answer", "has no answer"]
        parts["calibration"] = calibration(found, np.column_stack([1 - chance, chance]), event, names)
        parts["thresholds"] = thresholds(found)
    means = task.means(found.columns)
    if sure is not None and means:
        name = task.headline[0] if task.headline[0] in means else next(iter(means))
        parts["coverage"] = {"metric": name, **calibrated.risk_coverage(sure, means[name])}
        gold = None if classes is None else [names[int(place)] for place in table["gold"]]
        parts["mistakes"] = mistakes(task, found, predictions, rows, sure, means[name], gold)
    return {name: value for name, value in parts.items() if value}


def slices(
    task: Task, found: Measured, values: Mapping[str, Sequence[str]]
) -> dict[str, dict[str, dict[str, Any]]]:
    """{slice: {value: {"rows", "metrics", "ci95"}}} of the metrics that are means over rows; else of the headline.

    `values` are those of `slice_values`. Intervals are Wilson's at the effective number of rows.
    """
    means = task.means(found.columns)
    return {
        name: {value: _part(task, found, means, inside) for value, inside in masks_of(held).items()}
        for name, held in values.items()
    }


def slice_values(
    task: Task, found: Measured, rows: Sequence[Row], columns: Sequence[str] = (), *, sliced: bool = True
) -> dict[str, list[str]]:
    """{slice: the value of each measured row}, of the slices that every row has and that tell rows apart.

    `columns` are the user's own to slice by; not `sliced`: of these alone. Running text has none.
    """
    if task.blocks or not (sliced or columns):
        return {}
    places = np.full(len(rows), -1)
    places[found.rows] = np.arange(len(found))
    held: dict[str, list[str]] = {}
    has: Counter[str] = Counter()
    known: dict[str, str] = {}  # one string for each value: rows are many, values few
    for row, place in zip(rows, places, strict=True):
        if place < 0:
            continue
        for name, value in {**(task.slices(row) if sliced else {}), **of_columns(row, columns)}.items():
            has[name] += 1
            if name not in held:
                held[name] = [""] * len(found)
            held[name][place] = known.setdefault(value, value)
    whole = {name: values for name, values in held.items() if has[name] == len(found)}
    return {name: values for name, values in whole.items() if name in columns or len(set(values)) > 1}


def masks_of(values: Sequence[str]) -> dict[str, np.ndarray]:
    """The rows of each value, in the order of the values' numbers, else of their letters."""
    names = [name for name, _ in Counter(values).most_common(_MOST_VALUES)]
    places = {name: place for place, name in enumerate(names)}
    code = np.asarray([places.get(value, -1) for value in values])
    return {name: code == places[name] for name in sorted(names, key=_order)}


def calibration(found: Measured, chances: np.ndarray, gold: np.ndarray, names: Sequence[str]) -> dict[str, Any]:
    """ECE, Brier and NLL, the reliability table, and what a temperature fitted on one half does to the other."""
    sure, right = calibrated.top_class(chances, gold)
    result: dict[str, Any] = {
        "of": list(names),
        **calibrated.calibration(chances, gold),
        "reliability": calibrated.reliability(sure, right, 10),
    }
    fit = one_half(found)
    if fit is not None:
        temperature = calibrated.best_temperature(chances[fit], gold[fit])
        result["temperature"] = {
            "value": temperature,
            "fitted_on_rows": int(fit.sum()),
            "rows": int((~fit).sum()),
            "before": calibrated.calibration(chances[~fit], gold[~fit]),
            "after": calibrated.calibration(calibrated.with_temperature(chances[~fit], temperature), gold[~fit]),
        }
    return result


def thresholds(found: Measured) -> dict[str, Any]:
    """The official best thresholds over all rows, and one fitted to F1 on one half and reported on the other.

    The best of all rows is chosen on the rows it is reported on, so it flatters; `held_out` does not.
    """
    columns = found.columns
    result: dict[str, Any] = {}
    for name, metric in (("span_em", "exact_match"), ("span_f1", "f1")):
        best, at = best_threshold(columns[name], columns["null_gap"], columns["has_answer"], columns["span_given"])
        result |= {f"best_{metric}": best, f"best_{metric}_threshold": at}
    fit = one_half(found)
    if fit is not None:
        used = [columns[name] for name in ("span_f1", "null_gap", "has_answer", "span_given")]
        _, at = best_threshold(*(values[fit] for values in used))
        rest = {name: values[~fit] for name, values in columns.items()}
        gaps, answerable = rest["null_gap"], rest["has_answer"]
        result["held_out"] = {
            "threshold": at,
            "fitted_on_rows": int(fit.sum()),
            "rows": int((~fit).sum()),
            "exact_match": decided(rest["span_em"], gaps, answerable, rest["span_given"], at),
            "f1": decided(rest["span_f1"], gaps, answerable, rest["span_given"], at),
            "exact_match_as_predicted": 100.0 * float(np.mean(rest["em"])),
            "f1_as_predicted": 100.0 * float(np.mean(rest["f1"])),
        }
    return result


def one_half(found: Measured) -> np.ndarray | None:
    """A mask of half of the rows, whole contexts or premises, drawn by a fixed seed; None for fewer than two."""
    member = np.arange(len(found)) if found.groups is None else found.groups
    units = np.unique(member)
    if len(units) < 2:
        return None
    drawn = np.random.default_rng(0).permutation(len(units))
    return np.isin(member, units[drawn[: len(units) // 2]])


def mistakes(
    task: Task,
    found: Measured,
    predictions: Sequence[Prediction],
    rows: Sequence[Row],
    sure: np.ndarray,
    score: np.ndarray,
    named: Sequence[str] | None = None,
) -> list[dict[str, Any]]:
    """The rows that the model got all wrong and was surest of: id, texts, gold, prediction, confidence.

    `named` are the classes of the gold labels, which numbers do not say.
    """
    wrong = np.flatnonzero((score == 0) & np.isfinite(sure))
    gold = next(column.name for column in task.columns if column.gold)
    texts = [column.name for column in task.columns if column.name != "id" and not column.gold]
    listed = []
    for place in wrong[np.argsort(-sure[wrong], kind="stable")][:MISTAKES].tolist():
        row, said = rows[int(found.rows[place])], predictions[int(found.rows[place])]
        listed.append(
            {
                "id": found.ids[place],
                **{name: _cut(row[name]) for name in texts if row.get(name)},
                "gold": _gold(row.get(gold)) if named is None else named[place],
                "prediction": said["prediction"],
                "confidence": float(sure[place]),
            }
        )
    return listed


def _part(task: Task, found: Measured, means: Mapping[str, np.ndarray], inside: np.ndarray) -> dict[str, Any]:
    count = int(inside.sum())
    if not means:
        return {"rows": count, "metrics": _headline(task, found, means, inside)}
    groups = None if found.groups is None else found.groups[inside]
    metrics = {name: 100.0 * float(np.mean(values[inside])) for name, values in means.items()}
    return {
        "rows": count,
        "metrics": {**_headline(task, found, means, inside), **metrics},
        "ci95": {
            name: [100.0 * end for end in grouped_wilson(values[inside], groups)] for name, values in means.items()
        },
    }


def _headline(task: Task, found: Measured, means: Mapping[str, np.ndarray], inside: np.ndarray) -> dict[str, float]:
    """The headline metric of some rows, where it is no mean over rows."""
    name = task.headline[0]
    if name in means:
        return {}
    whole = task.reduce({key: values[inside] for key, values in found.columns.items()})
    return {name: whole[name]} if name in whole else {}


def _probabilities(table: Mapping[str, np.ndarray], classes: int) -> np.ndarray | None:
    """[rows, classes], where the table has one for each class and they add up to 1; else None."""
    held = [table[f"p_{place}"] for place in range(classes) if f"p_{place}" in table]
    if len(held) != classes:
        return None
    chances = np.column_stack(held)
    return chances if np.allclose(chances.sum(axis=1), 1.0, atol=1e-3) else None


def _order(name: str) -> tuple[float, str]:
    found = re.match(r"\d+", name)
    return (float(found[0]) if found else float("inf"), name)


def _sigmoid(values: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-np.clip(values, -700, 700)))


def _gold(value: Any) -> Any:
    """A label as it stands; the distinct texts of answers."""
    if isinstance(value, list) and all(isinstance(item, Mapping) for item in value):
        return list(dict.fromkeys(item["text"] for item in value))
    return value


def _cut(text: Any) -> str:
    shown = str(text)
    return shown if len(shown) <= LONGEST else shown[: LONGEST - 3] + "..."
