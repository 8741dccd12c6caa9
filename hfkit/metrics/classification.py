"""Metrics of classification and regression from columns of gold and predicted values; equal to scikit-learn's.

Columns, one entry per row. Single label: `gold`, `predicted` (class numbers 0..k-1) and, if the model gives them,
`p_0`..`p_{k-1}` (probabilities). Several labels: `gold_i`, `predicted_i` (0 or 1), `p_i`. Numbers: `gold_i`,
`predicted_i`. A metric that the rows leave undefined (an AUC without negatives, a correlation with a constant) is left
out of the result. Accuracy and F1 are in percent, everything else is in its own unit. Without the `p_` columns
log_loss and roc_auc are left out: with many classes the AUC takes most of the time, so a bootstrap that does not
report it should not be given them.
"""

from collections.abc import Mapping, Sequence
from itertools import permutations

import numpy as np

from hfkit.errors import DataError
from hfkit.metrics.weights import WEIGHT

Columns = Mapping[str, np.ndarray]


def reduce_single(columns: Columns, labels: Sequence[str]) -> dict[str, float]:
    """accuracy, macro_f1, mcc, and if defined log_loss, roc_auc, qwk, for one label a row.

    macro_f1 averages over the classes that occur in gold or predicted (scikit-learn's default), so a class that a
    slice does not contain does not lower it. mcc is 0 when gold or predicted has one class only. log_loss is in nats,
    probabilities clipped to [2.2e-16, 1 - 2.2e-16]. roc_auc is that of class 1 for two classes, else the plain mean
    of one-vs-rest over all classes. qwk comes when there are three labels or more and all are integers; it weighs by
    the distance of their places in ascending order. `labels` names the classes, in class order.
    """
    classes = len(labels)
    gold, predicted = _class_numbers(columns, "gold", classes), _class_numbers(columns, "predicted", classes)
    table = confusion(gold, predicted, classes, columns.get(WEIGHT))
    metrics = {
        "accuracy": 100.0 * float(np.trace(table)) / max(float(table.sum()), 1),
        "macro_f1": 100.0 * _macro_f1_of_present(table),
        "mcc": matthews(table),
    }
    if _has(columns, "p"):
        probabilities = _matrix(columns, "p", classes)
        metrics["log_loss"] = _mean_negative_log(probabilities[np.arange(len(gold)), gold])
        auc = _auc_single(gold, probabilities)
        if auc is not None:
            metrics["roc_auc"] = auc
    kappa = quadratic_kappa(table, labels)
    if kappa is not None:
        metrics["qwk"] = kappa
    return metrics


def reduce_multi(columns: Columns, labels: Sequence[str]) -> dict[str, float]:
    """accuracy, macro_f1, micro_f1, mcc, and if defined log_loss, roc_auc, for any number of labels a row.

    accuracy: the share of rows with every label right. macro_f1 averages over all labels; one that is neither in gold
    nor predicted counts 0. mcc: of all (row, label) decisions together. log_loss (nats): binary, mean over rows and
    labels. roc_auc: plain mean over labels, left out as soon as one label is always or never set.
    """
    count = len(labels)
    gold = _matrix(columns, "gold", count) > 0.5
    predicted = _matrix(columns, "predicted", count) > 0.5
    hits = np.sum(gold & predicted, axis=0)
    total = np.sum(gold, axis=0) + np.sum(predicted, axis=0)
    metrics = {
        "accuracy": 100.0 * float(np.mean(np.all(gold == predicted, axis=1))),
        "macro_f1": 100.0 * float(np.mean(2 * hits / np.maximum(total, 1))),
        "micro_f1": 100.0 * float(2 * hits.sum() / max(int(total.sum()), 1)),
        "mcc": matthews(confusion(gold.ravel().astype(np.int64), predicted.ravel().astype(np.int64), 2)),
    }
    if _has(columns, "p"):
        probabilities = _matrix(columns, "p", count)
        metrics["log_loss"] = _mean_negative_log(np.where(gold, probabilities, 1 - probabilities))
        areas = [auc_binary(gold[:, label], probabilities[:, label]) for label in range(count)]
        defined = [area for area in areas if area is not None]
        if len(defined) == count:
            metrics["roc_auc"] = float(np.mean(defined))
    return metrics


def reduce_regression(columns: Columns, targets: int = 1) -> dict[str, float]:
    """rmse (one number a row) or mcrmse (several), and if defined pearson and spearman, their mean over the targets.

    mcrmse is the mean over targets of each target's RMSE. A correlation is left out as soon as one target's gold or
    predicted values are all equal.
    """
    gold, predicted = _matrix(columns, "gold", targets), _matrix(columns, "predicted", targets)
    errors = np.sqrt(np.mean((gold - predicted) ** 2, axis=0))
    metrics = {"rmse" if targets == 1 else "mcrmse": float(np.mean(errors))}
    pairs = [(gold[:, target], predicted[:, target]) for target in range(targets)]
    linear = [pearson(left, right) for left, right in pairs]
    ranked = [pearson(average_ranks(left), average_ranks(right)) for left, right in pairs]
    for name, values in (("pearson", linear), ("spearman", ranked)):
        defined = [value for value in values if value is not None]
        if len(defined) == targets:
            metrics[name] = float(np.mean(defined))
    return metrics


def confusion(gold: np.ndarray, predicted: np.ndarray, classes: int, weight: np.ndarray | None = None) -> np.ndarray:
    """Counts [classes, classes]: row = gold class, column = predicted class; rows count once, or `weight` times."""
    cells = gold * classes + predicted
    return np.bincount(cells, weights=weight, minlength=classes * classes).reshape(classes, classes)


def matthews(table: np.ndarray) -> float:
    """Matthews correlation (Gorodkin's R_K for many classes) of a confusion table; 0 when one side is constant."""
    counts = table.astype(np.float64)
    golds, guesses, rows = counts.sum(axis=1), counts.sum(axis=0), counts.sum()
    spread = (rows * rows - golds @ golds) * (rows * rows - guesses @ guesses)
    if spread == 0:
        return 0.0
    return float((np.trace(counts) * rows - golds @ guesses) / np.sqrt(spread))


def quadratic_kappa(table: np.ndarray, labels: Sequence[str]) -> float | None:
    """Cohen's kappa with squared distances; None for fewer than three labels, labels that are not integers, or when
    gold and predicted are one and the same class throughout."""
    try:
        order = np.argsort([int(label) for label in labels], kind="stable")
    except ValueError:
        return None
    if len(labels) < 3:
        return None
    counts = table[np.ix_(order, order)].astype(np.float64)
    places = np.arange(len(labels))
    weights = (places[:, None] - places[None, :]) ** 2
    expected = np.sum(weights * np.outer(counts.sum(axis=1), counts.sum(axis=0))) / counts.sum()
    return None if expected == 0 else float(1 - np.sum(weights * counts) / expected)


def auc_binary(positive: np.ndarray, scores: np.ndarray) -> float | None:
    """Area under the ROC curve: the share of (positive, negative) pairs in right order, ties count half (Mann-Whitney).

    None without both kinds of rows. `positive` is boolean.
    """
    above, below = np.sort(scores[positive]), np.sort(scores[~positive])
    if len(above) == 0 or len(below) == 0:
        return None
    wins = np.searchsorted(below, above, side="left").sum() + np.searchsorted(below, above, side="right").sum()
    return float(wins / (2 * len(above) * len(below)))


def average_ranks(values: np.ndarray) -> np.ndarray:
    """Ranks from 1; equal values share the mean of their ranks."""
    _, place, counts = np.unique(values, return_inverse=True, return_counts=True)
    return (np.cumsum(counts) - (counts - 1) / 2)[place]


def pearson(left: np.ndarray, right: np.ndarray) -> float | None:
    """Linear correlation, within [-1, 1]; None when either side is constant."""
    if np.all(left == left[0]) or np.all(right == right[0]):
        return None
    left, right = left - left.mean(), right - right.mean()
    scale = float(np.linalg.norm(left) * np.linalg.norm(right))
    return None if scale == 0 else float(np.clip(left @ right / scale, -1.0, 1.0))


def permutation_accuracies(gold: np.ndarray, predicted: np.ndarray, classes: int = 3) -> dict[tuple[int, ...], float]:
    """Accuracy in percent for every way to rename the predicted classes: key[i] is what class i is taken for.

    A model whose label order is mixed up shows a low accuracy for the identity and a high one elsewhere. For three
    classes the three cyclic renamings add up to 100, and so do the three swaps. Meant for few classes (k! entries).
    """
    table = confusion(np.asarray(gold, dtype=np.int64), np.asarray(predicted, dtype=np.int64), classes)
    rows = max(int(table.sum()), 1)
    return {
        renamed: 100.0 * sum(int(table[renamed[guess], guess]) for guess in range(classes)) / rows
        for renamed in permutations(range(classes))
    }


def _macro_f1_of_present(table: np.ndarray) -> float:
    total = table.sum(axis=0) + table.sum(axis=1)
    present = total > 0
    return float(np.mean(2 * np.diag(table)[present] / total[present]))


def _auc_single(gold: np.ndarray, probabilities: np.ndarray) -> float | None:
    classes = probabilities.shape[1]
    if classes == 2:
        return auc_binary(gold == 1, probabilities[:, 1])
    if len(np.unique(gold)) < classes:
        return None
    areas = [auc_binary(gold == number, probabilities[:, number]) for number in range(classes)]
    defined = [area for area in areas if area is not None]
    return float(np.mean(defined)) if len(defined) == classes else None


def _mean_negative_log(probabilities: np.ndarray) -> float:
    smallest = float(np.finfo(np.float64).eps)
    return float(-np.mean(np.log(np.clip(probabilities, smallest, 1 - smallest))))


def _class_numbers(columns: Columns, name: str, classes: int) -> np.ndarray:
    values = np.asarray(columns[name])
    if len(values) == 0:
        raise DataError("there are no rows to score")
    if not np.all((values >= 0) & (values < classes)):
        raise DataError(f"column {name} holds something that is not one of the {classes} class numbers")
    return values.astype(np.int64)


def _has(columns: Columns, prefix: str) -> bool:
    return any(name.startswith(f"{prefix}_") for name in columns)


def _matrix(columns: Columns, prefix: str, count: int) -> np.ndarray:
    """The columns prefix_0.. as one float64 array [rows, count]."""
    present = sorted(name for name in columns if name.startswith(f"{prefix}_"))
    if len(present) != count or any(f"{prefix}_{number}" not in columns for number in range(count)):
        found = ", ".join(present) or "none"
        raise DataError(f"expected the columns {prefix}_0 to {prefix}_{count - 1}, found {found}")
    matrix = np.column_stack([np.asarray(columns[f"{prefix}_{number}"], dtype=np.float64) for number in range(count)])
    if len(matrix) == 0:
        raise DataError("there are no rows to score")
    if not np.isfinite(matrix).all():
        raise DataError(f"the columns {prefix}_... hold values that are not finite")
    return matrix
