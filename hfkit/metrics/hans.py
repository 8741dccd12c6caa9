"""HANS (McCoy, Pavlick & Linzen 2019): accuracy by heuristic and gold label of an NLI model; stands beside the
classification metrics.

A three-way model decides first (argmax), then neutral and contradiction both count as non-entailment, as in
evaluate_heur_output.py. Always answering entailment gives 100 and 0 in the cells and 50 overall.
"""

from collections.abc import Mapping

import numpy as np

from hfkit.errors import DataError
from hfkit.metrics.weights import mean

HEURISTICS = ("lexical_overlap", "subsequence", "constituent")


def reduce_hans(columns: Mapping[str, np.ndarray]) -> dict[str, float]:
    """Columns `correct` and `entailed` (the gold label), 0 or 1, and `heuristic` (its place in HEURISTICS) of each row.

    In percent: `accuracy` of all rows, one key per cell such as `subsequence_non_entailment`, and `overall`.

    `overall` is the plain mean of the six cells. A cell without rows is left out, and then `overall` is too.
    """
    correct, entailed, heuristic = (np.asarray(columns[name]) for name in ("correct", "entailed", "heuristic"))
    if len(correct) == 0:
        raise DataError("there are no rows to score")
    cells = {}
    for label, name in ((1, "entailment"), (0, "non_entailment")):
        for number, title in enumerate(HEURISTICS):
            share = mean(columns, correct, (heuristic == number) & (entailed == label))
            if share is not None:
                cells[f"{title}_{name}"] = 100.0 * share
    metrics = {"accuracy": 100.0 * (mean(columns, correct) or 0.0), **cells}
    if len(cells) == 2 * len(HEURISTICS):
        metrics["overall"] = sum(cells.values()) / len(cells)
    return metrics
