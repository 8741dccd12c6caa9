"""Thresholds of probabilities that make a metric best on rows with gold; the metric is given as a function."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

DEFAULT = 0.5
CANDIDATES = 400  # thresholds tried in a pass, shared among the labels
LEAST = 20  # for each of them
PASSES = 3  # over all labels; a pass that changes nothing is the last

Score = Callable[[np.ndarray], float]  # of decisions [rows, labels], 0 or 1; more is better


def fit(probabilities: np.ndarray, score: Score) -> np.ndarray:
    """A threshold for each label (columns of `probabilities` [rows, labels]); a label is chosen above its own.

    One label after the other, the rest held fixed (coordinate ascent from 0.5). Of equally good thresholds the one
    nearest to 0.5 is taken, so that what rows do not decide stays as it is.
    """
    found = np.full(probabilities.shape[1], DEFAULT)
    decided = probabilities > found
    best = score(decided)
    most = max(LEAST, CANDIDATES // len(found))
    for _ in range(PASSES):
        before = found.copy()
        for label in range(len(found)):
            for candidate in candidates(probabilities[:, label], most):
                column = decided[:, label].copy()
                decided[:, label] = probabilities[:, label] > candidate
                value = score(decided)
                if value > best:
                    best, found[label] = value, candidate
                else:
                    decided[:, label] = column
        if np.array_equal(before, found):
            break
    return found


def candidates(values: np.ndarray, most: int) -> Sequence[float]:
    """Midpoints between neighbouring probabilities, at most `most` of even ranks, those nearest to 0.5 first."""
    distinct = np.unique(values)
    middles = (distinct[1:] + distinct[:-1]) / 2
    if len(middles) > most:
        middles = middles[np.linspace(0, len(middles) - 1, most).round().astype(int)]
    ordered: list[float] = middles[np.argsort(np.abs(middles - DEFAULT), kind="stable")].tolist()
    return ordered


def halves(ids: Sequence[str]) -> np.ndarray:
    """Which of two halves each row is in, by its id alone."""
    from hashlib import blake2b

    return np.asarray([blake2b(name.encode(), digest_size=1).digest()[0] & 1 for name in ids], dtype=bool)


def held_out(probabilities: np.ndarray, ids: Sequence[str], score_of: Callable[[np.ndarray], Score]) -> np.ndarray:
    """Decisions of each half of the rows by thresholds fitted on the other: what thresholds do to rows not seen.

    `score_of` gives the score of the rows of a mask.
    """
    second = halves(ids)
    decided = np.zeros(probabilities.shape, dtype=bool)
    for inside in (second, ~second):
        if inside.any() and not inside.all():
            decided[~inside] = probabilities[~inside] > fit(probabilities[inside], score_of(inside))
        else:
            decided[~inside] = probabilities[~inside] > DEFAULT
    return decided
