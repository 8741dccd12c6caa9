"""Rows that count more than once: the optional column `weight` that every reduce function here understands.

A bootstrap says how often each kind of row was drawn instead of repeating rows; without the column a row counts once.
"""

from collections.abc import Mapping

import numpy as np

WEIGHT = "weight"

Columns = Mapping[str, np.ndarray]


def mean(columns: Columns, values: np.ndarray, inside: np.ndarray | None = None) -> float | None:
    """Mean of `values` over the rows `inside` (a mask; None: all), each as often as it counts; None without any."""
    weight = columns.get(WEIGHT)
    if inside is not None:
        values = values[inside]
        weight = None if weight is None else weight[inside]
    if weight is None:
        return float(np.mean(values)) if len(values) else None
    count = float(weight.sum())
    return float(values @ weight) / count if count > 0 else None


def total(columns: Columns, name: str) -> float:
    """Sum of a column over the rows, each as often as it counts."""
    values, weight = np.asarray(columns[name]), columns.get(WEIGHT)
    return float(np.sum(values)) if weight is None else float(values @ weight)
