"""HANS (McCoy, Pavlick & Linzen 2019): accuracy by heuristic and gold label of an NLI model; stands beside the
classification metrics.

A three-way model decides first (argmax), then neutral and contradiction both count as non-entailment, as in
evaluate_heur_output.py. Always answering entailment gives 100 and 0 in the cells and 50 overall.
"""

from collections.abc import Mapping
from typing import Literal

import numpy as np

from hfkit.errors import DataError

HEURISTICS = ("lexical_overlap", "subsequence", "constituent")
_NOT_ENTAILED = ("non-entailment", "not_entailment", "neutral", "contradiction")


def entails(probabilities: Mapping[str, float], rule: Literal["argmax", "sum"] = "argmax") -> bool:
    """Whether the model says entailment. "argmax" (official): the likeliest class is entailment, the first of equals.

    "sum": entailment has more probability than all other classes together; another metric, not to be compared with
    published numbers.
    """
    if rule == "argmax":
        return max(probabilities, key=probabilities.__getitem__) == "entailment"
    return probabilities["entailment"] > 0.5 * sum(probabilities.values())


def measure_hans(predicted: str, gold: str, heuristic: str) -> dict[str, float]:
    """`correct` (0 or 1), `entailed` (the gold label: 0 or 1) and `heuristic` (its place in HEURISTICS) of one row.

    `predicted` is a class name; everything but "entailment" means non-entailment. Raises DataError for a gold label
    or a heuristic that HANS does not have.
    """
    if heuristic not in HEURISTICS:
        raise DataError(f"unknown HANS heuristic {heuristic!r}", hint=f"one of {', '.join(HEURISTICS)}")
    if gold != "entailment" and gold not in _NOT_ENTAILED:
        raise DataError(f"unknown HANS gold label {gold!r}", hint="entailment or non-entailment")
    entailed = gold == "entailment"
    return {
        "correct": float((predicted == "entailment") == entailed),
        "entailed": float(entailed),
        "heuristic": float(HEURISTICS.index(heuristic)),
    }


def reduce_hans(columns: Mapping[str, np.ndarray]) -> dict[str, float]:
    """In percent: `accuracy` of all rows, one key per cell such as `subsequence_non_entailment`, and `overall`.

    `overall` is the plain mean of the six cells. A cell without rows is left out, and then `overall` is too.
    """
    correct, entailed, heuristic = (np.asarray(columns[name]) for name in ("correct", "entailed", "heuristic"))
    if len(correct) == 0:
        raise DataError("there are no rows to score")
    cells = {}
    for label, name in ((1, "entailment"), (0, "non_entailment")):
        for number, title in enumerate(HEURISTICS):
            inside = (heuristic == number) & (entailed == label)
            if inside.any():
                cells[f"{title}_{name}"] = 100.0 * float(np.mean(correct[inside]))
    metrics = {"accuracy": 100.0 * float(np.mean(correct)), **cells}
    if len(cells) == 2 * len(HEURISTICS):
        metrics["overall"] = sum(cells.values()) / len(cells)
    return metrics
