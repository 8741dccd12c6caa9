"""What one NLI row measures, and the metrics of many: three classes, or entailment or not where either side has two."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from hfkit.errors import DataError
from hfkit.metrics.classification import reduce_single
from hfkit.metrics.definitions import definition
from hfkit.metrics.hans import HEURISTICS, reduce_hans
from hfkit.metrics.weights import WEIGHT
from hfkit.tasks import labels as names
from hfkit.tasks.base import Row

ROUNDING = 0.02  # by which probabilities that were printed with few digits may miss 1


def heuristic(row: Row) -> int | None:
    """The place in HEURISTICS of a row of HANS; None in other data."""
    value = row.get("heuristic")
    return HEURISTICS.index(value) if value in HEURISTICS else None


def check_chances(chances: Mapping[str, float], row_id: str) -> None:
    """Raise DataError unless the probabilities are of the three classes, or of entailment or not, and add up to 1."""
    if set(chances) not in (set(names.THREE_WAY), set(names.TWO_WAY)):
        listed = ", ".join(chances) or "no class"
        raise DataError(
            f"row {row_id!r}: the probabilities are of {listed}",
            f"needed are {', '.join(names.THREE_WAY)}, or {' and '.join(names.TWO_WAY)}",
        )
    whole = sum(chances.values())
    if abs(whole - 1) > ROUNDING:
        raise DataError(f"row {row_id!r}: the probabilities add up to {whole:.4g}, not to 1", "give those of a softmax")


def statistics(gold: str, said: str, chances: Mapping[str, float], heuristic: int | None) -> dict[str, float]:
    """Columns of one row: `gold`, `predicted` (places in `labels.CLASSES`), `p_0`.. (probabilities in that order)."""
    if names.OTHER in chances and gold != names.ENTAILMENT:
        gold = names.OTHER
    values = {"gold": float(names.CLASSES.index(gold)), "predicted": float(names.CLASSES.index(said))}
    for place, name in enumerate(name for name in names.CLASSES if name in chances):
        values[f"p_{place}"] = chances[name]
    if heuristic is not None:
        values["heuristic"] = float(heuristic)
    return values


def two_way(columns: Mapping[str, np.ndarray]) -> bool:
    """Whether gold or the model knows only entailment or not."""
    other = names.CLASSES.index(names.OTHER)
    chances = sum(name.startswith("p_") for name in columns)
    either = (np.asarray(columns["gold"]) == other).any() or (np.asarray(columns["predicted"]) == other).any()
    return bool(either) or chances == len(names.TWO_WAY)


def decided(columns: Mapping[str, np.ndarray]) -> tuple[dict[str, np.ndarray], list[str]]:
    """The columns as `metrics.classification` has them, and the names of their classes."""
    gold, predicted = np.asarray(columns["gold"]), np.asarray(columns["predicted"])
    chances = [columns[name] for name in sorted(columns) if name.startswith("p_")]
    two = two_way(columns)
    if two:
        gold, predicted = (gold > 0).astype(np.int64), (predicted > 0).astype(np.int64)
        chances = [chances[0], np.sum(chances[1:], axis=0)] if chances else []
    table = {"gold": gold, "predicted": predicted, **{f"p_{place}": values for place, values in enumerate(chances)}}
    if WEIGHT in columns:
        table[WEIGHT] = columns[WEIGHT]
    return table, list(names.TWO_WAY if two else names.THREE_WAY)


def reduce(columns: Mapping[str, np.ndarray]) -> dict[str, float]:
    """Metrics of the columns of `statistics`; HANS' cells where the rows have its heuristics."""
    table, classes = decided(columns)
    metrics = reduce_single(table, classes)
    metrics.pop("roc_auc", None)
    if len(classes) == len(names.TWO_WAY) and "heuristic" in columns:
        cells = {"correct": table["gold"] == table["predicted"], "entailed": table["gold"] == 0}
        kept = {name: columns[name] for name in ("heuristic", WEIGHT) if name in columns}
        metrics |= {key: value for key, value in reduce_hans({**cells, **kept}).items() if key != "accuracy"}
    return metrics


def means(columns: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """`accuracy` of each row, 0 or 1."""
    table, _ = decided(columns)
    return {"accuracy": (table["gold"] == table["predicted"]).astype(np.float64)}


def cells(columns: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The rows (a mask) of each of HANS' cells; none where the rows have no heuristics."""
    if "heuristic" not in columns or not two_way(columns):
        return {}
    entailed, heuristic = decided(columns)[0]["gold"] == 0, np.asarray(columns["heuristic"])
    return {
        f"{title}_{label}": (heuristic == number) & (entailed == (label == "entailment"))
        for label in ("entailment", "non_entailment")
        for number, title in enumerate(HEURISTICS)
    }


def definitions(read: Mapping[str, Mapping[str, str | None]], *, hypothesis_only: bool) -> dict[str, str]:
    """What each metric is. `read` says how the labels of data and model were read, which is part of what they are."""
    said = "; a three-way answer on two-way gold is decided first, then read as entailment or not"
    said += "; hypothesis only: the premise was left out" if hypothesis_only else ""
    said += "".join(f"; {side} labels: {show_reading(labels)}" for side, labels in read.items() if labels)
    single = {key: definition("single", key) for key in ("accuracy", "macro_f1", "mcc", "log_loss")}
    cells = [f"{title}_{label}" for label in ("entailment", "non_entailment") for title in HEURISTICS]
    hans = {key: definition("hans", key) for key in ("overall", *cells)}
    return {**single, "accuracy": single["accuracy"] + said, **hans}


def show_reading(labels: Mapping[str, str | None]) -> str:
    """`0 = entailment, neutral, - = no gold`: a label that is its own class is not said twice."""
    return ", ".join(
        value if value == name else f"{value or 'empty'} = {name or 'no gold'}" for value, name in labels.items()
    )
