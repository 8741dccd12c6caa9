"""Confidence intervals and paired comparison from columns of per-row statistics; knows no metric by name."""

import math
from collections.abc import Callable, Collection, Iterator, Mapping
from statistics import NormalDist

import numpy as np

from hfkit.errors import DataError

Columns = Mapping[str, np.ndarray]
Reduce = Callable[[Columns], Mapping[str, float]]


def bootstrap_ci(
    columns: Columns,
    reduce: Reduce,
    *,
    groups: np.ndarray | None = None,
    resamples: int = 1000,
    seed: int = 0,
    keys: Collection[str] | None = None,
) -> dict[str, list[float]]:
    """95 % percentile bootstrap intervals {metric: [low, high]} of what `reduce` makes of the rows (Efron 1979).

    Rows are drawn with replacement or, given `groups` (an id per row, such as its paragraph or premise), whole groups
    are: rows of one paragraph are not independent, and intervals over rows are then too narrow. `keys` limits the
    metrics. A metric that a resample leaves undefined is taken over the others; if under half of them define it, or
    the rows themselves do not, it gets no interval. Same seed, same result. Memory: one resample at a time.
    Raises DataError without rows, ValueError for fewer than one resample.
    """
    names = [name for name in reduce(columns) if keys is None or name in keys]
    found: dict[str, list[float]] = {name: [] for name in names}
    for rows in _resampled_rows(_row_count(columns), groups, resamples, seed):
        metrics = reduce(_take(columns, rows))
        for name in names:
            if name in metrics:
                found[name].append(metrics[name])
    return {name: _interval(values) for name, values in found.items() if 2 * len(values) >= resamples}


def paired_bootstrap(
    first: Columns,
    second: Columns,
    reduce: Reduce,
    *,
    groups: np.ndarray | None = None,
    resamples: int = 1000,
    seed: int = 0,
    keys: Collection[str] | None = None,
) -> dict[str, dict[str, float | list[float]]]:
    """{metric: {"difference": second - first, "ci95": [low, high], "p_value": p}} of two systems on the same rows.

    Both systems are resampled with the same draws. `p_value` is one-sided (Berg-Kirkpatrick, Burkett & Klein 2012):
    the share of resamples whose difference exceeds the observed one by at least as much again, in its direction,
    with one added above and below; about 1 for equal systems. Arguments and errors as in bootstrap_ci; also raises
    DataError when the two differ in rows.
    """
    if _row_count(first) != _row_count(second):
        raise DataError(f"the two have {_row_count(first)} and {_row_count(second)} rows, so they cannot be compared")
    before, after = reduce(first), reduce(second)
    observed = {name: after[name] - before[name] for name in before if name in after and (keys is None or name in keys)}
    drawn: dict[str, list[float]] = {name: [] for name in observed}
    for rows in _resampled_rows(_row_count(first), groups, resamples, seed):
        before, after = reduce(_take(first, rows)), reduce(_take(second, rows))
        for name in observed:
            if name in before and name in after:
                drawn[name].append(after[name] - before[name])
    return {
        name: {
            "difference": difference,
            "ci95": _interval(drawn[name]),
            "p_value": _shifted_p_value(difference, np.asarray(drawn[name])),
        }
        for name, difference in observed.items()
        if 2 * len(drawn[name]) >= resamples
    }


def wilson(successes: int, n: int, level: float = 0.95) -> tuple[float, float]:
    """Wilson's score interval (0-1) of a share of `n` independent rows (Wilson 1927); (0, 1) when n is 0."""
    if n == 0:
        return 0.0, 1.0
    z = NormalDist().inv_cdf(0.5 + level / 2)
    share = successes / n
    centre = share + z * z / (2 * n)
    half = z * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    scale = 1 + z * z / n
    # Exact at the ends, where rounding would leave 1e-17.
    low = 0.0 if successes == 0 else (centre - half) / scale
    high = 1.0 if successes == n else (centre + half) / scale
    return low, high


def _row_count(columns: Columns) -> int:
    counts = {len(values) for values in columns.values()}
    if len(counts) > 1:
        raise ValueError(f"columns of different lengths: {sorted(counts)}")
    rows = counts.pop() if counts else 0
    if rows == 0:
        raise DataError("there are no rows to score")
    return rows


def _resampled_rows(count: int, groups: np.ndarray | None, resamples: int, seed: int) -> Iterator[np.ndarray]:
    """Row numbers of each resample: `count` of them or, with groups, those of as many groups as there are."""
    if resamples < 1:
        raise ValueError(f"resamples must be at least 1, not {resamples}")
    random = np.random.default_rng(seed)
    if groups is None:
        for _ in range(resamples):
            yield random.integers(0, count, size=count)
        return
    if len(groups) != count:
        raise ValueError(f"{len(groups)} group ids for {count} rows")
    _, member_of, sizes = np.unique(groups, return_inverse=True, return_counts=True)
    by_group = np.argsort(member_of, kind="stable")
    starts = np.cumsum(sizes) - sizes
    for _ in range(resamples):
        drawn = random.integers(0, len(sizes), size=len(sizes))
        lengths = sizes[drawn]
        offsets = np.repeat(starts[drawn] - (np.cumsum(lengths) - lengths), lengths)
        yield by_group[offsets + np.arange(len(offsets))]


def _take(columns: Columns, rows: np.ndarray) -> dict[str, np.ndarray]:
    return {name: np.asarray(values)[rows] for name, values in columns.items()}


def _interval(values: list[float]) -> list[float]:
    # An infinite perplexity must not turn the interval into nan: then the values themselves, not interpolated.
    if np.isfinite(values).all():
        return np.percentile(values, [2.5, 97.5]).tolist()
    return np.percentile(values, [2.5, 97.5], method="nearest").tolist()


def _shifted_p_value(observed: float, drawn: np.ndarray) -> float:
    direction = -1.0 if observed < 0 else 1.0
    beyond = int(np.count_nonzero(direction * drawn >= 2 * abs(observed)))
    return (beyond + 1) / (len(drawn) + 1)
