"""HANS (McCoy, Pavlick & Linzen 2019): accuracy by heuristic and gold label of an NLI model; stands beside the
classification metrics.

A three-way model decides first (argmax), then neutral and contradiction both count as non-entailment, as in
evaluate_heur_output.py. Always answering entailment gives 100 and 0 in the cells and 50 overall.
"""

from collections.abc import Mapping

import numpy as np

from hfkit.errors import DataError
from hfkit.metrics.weights import WEIGHT

HEURISTICS = ("lexical_overlap", "subsequence", "constituent")


def reduce_hans(columns: Mapping[str, np.ndarray]) -> dict[str, float]:
    """Columns `correct` and `entailed` (the gold label), 0 or 1, and `heuristic` (its place in HEURISTICS) of each row.

    In percent: `accuracy` of all rows, one key per cell such as `subsequence_non_entailment`, and `overall`.

    `overall` is the plain mean of the six cells. A cell without rows is left out, and then `overall` is too.
    """
    correct, entailed, heuristic = (np.asarray(columns[name]) for name in ("correct", "entailed", "heuristic"))
    if len(correct) == 0:
        raise DataError("there are no rows to score")
    weight = columns.get(WEIGHT, np.ones(len(correct)))
    cell = heuristic.astype(np.int64) * 2 + (entailed == 1)
    rows = np.bincount(cell, weights=weight, minlength=2 * len(HEURISTICS)).tolist()
    right = np.bincount(cell, weights=weight * correct, minlength=2 * len(HEURISTICS)).tolist()
    cells = {
        f"{title}_{name}": 100.0 * right[2 * number + label] / rows[2 * number + label]
        for label, name in ((1, "entailment"), (0, "non_entailment"))
        for number, title in enumerate(HEURISTICS)
        if rows[2 * number + label]
    }
    metrics = {"accuracy": 100.0 * sum(right) / max(sum(rows), 1), **cells}
    if len(cells) == 2 * len(HEURISTICS):
        metrics["overall"] = sum(cells.values()) / len(cells)
    return metrics
