"""Confidence intervals and paired comparison from columns of per-row statistics; knows no metric by name."""

import math
from collections.abc import Collection, Mapping, Sequence
from statistics import NormalDist, fmean

import numpy as np

from hfkit.errors import DataError
from hfkit.metrics.resample import Columns, Reduce, resampled, row_count


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
    the rows themselves do not, it gets no interval. Same seed, same result.
    Raises DataError without rows, ValueError for fewer than one resample.
    """
    row_count([columns])
    names = [name for name in reduce(columns) if keys is None or name in keys]
    found: dict[str, list[float]] = {name: [] for name in names}
    for (metrics,) in resampled([columns], reduce, groups=groups, resamples=resamples, seed=seed):
        for name in names:
            if name in metrics:
                found[name].append(metrics[name])
    return {name: _interval(values) for name, values in found.items() if 2 * len(values) >= resamples}


def paired_bootstrap(
    first: Sequence[Columns],
    second: Sequence[Columns],
    reduce: Reduce,
    *,
    groups: np.ndarray | None = None,
    resamples: int = 1000,
    seed: int = 0,
    keys: Collection[str] | None = None,
) -> dict[str, dict[str, float | list[float]]]:
    """{metric: {"difference": second - first, "ci95": [low, high], "p_value": p}} of two systems on the same rows.

    A system is one table of columns, or those of several seeds, whose metrics are averaged. All are resampled with the
    same draws. `p_value` is one-sided (Berg-Kirkpatrick, Burkett & Klein 2012): the share of resamples whose difference
    exceeds the observed one by at least as much again, in its direction, with one added above and below; about 1 for
    equal systems. Arguments and errors as in bootstrap_ci; also raises DataError when the two differ in rows.
    """
    counts = dict.fromkeys(row_count([table]) for table in (*first, *second))
    if len(counts) > 1:
        raise DataError(f"the two have {' and '.join(map(str, counts))} rows, so they cannot be compared")
    split = len(first)
    observed = _differences([reduce(table) for table in (*first, *second)], split)
    drawn: dict[str, list[float]] = {name: [] for name in observed if keys is None or name in keys}
    for metrics in resampled([*first, *second], reduce, groups=groups, resamples=resamples, seed=seed):
        differences = _differences(metrics, split)
        for name, values in drawn.items():
            if name in differences:
                values.append(differences[name])
    return {
        name: {
            "difference": observed[name],
            "ci95": _interval(values),
            "p_value": _shifted_p_value(observed[name], np.asarray(values)),
        }
        for name, values in drawn.items()
        if 2 * len(values) >= resamples
    }


def mcnemar(first: np.ndarray, second: np.ndarray) -> dict[str, float]:
    """The exact test of McNemar (1947) on two systems' right (1) and wrong (0) rows.

    {"first_only": rows that only the first gets right, "second_only", "p_value": two-sided binomial}; 1 when equal.
    """
    if len(first) != len(second):
        raise DataError(f"the two have {len(first)} and {len(second)} rows, so they cannot be compared")
    left, right = np.asarray(first) > 0.5, np.asarray(second) > 0.5
    one, two = int(np.count_nonzero(left & ~right)), int(np.count_nonzero(right & ~left))
    return {"first_only": one, "second_only": two, "p_value": binomial_p_value(min(one, two), one + two)}


def binomial_p_value(fewer: int, trials: int) -> float:
    """Two-sided p-value of at most `fewer` of `trials` throws of a fair coin on one side; exact, in integers."""
    term, below = 1, 0
    for place in range(fewer + 1):
        below += term
        term = term * (trials - place) // (place + 1)
    return min(1.0, 2 * below / (1 << trials))


def wilson(successes: int, n: int, level: float = 0.95) -> tuple[float, float]:
    """Wilson's score interval (0-1) of a share of `n` independent rows (Wilson 1927); (0, 1) when n is 0."""
    return _wilson(successes / n, n, level) if n else (0.0, 1.0)


def grouped_wilson(values: np.ndarray, groups: np.ndarray | None = None) -> tuple[float, float]:
    """95 % interval (0-1) of the mean of values within 0 and 1, rows of one group being dependent; for small slices.

    Wilson's interval at the effective number of rows (Dean & Pagano 2015): as many as would give independent rows the
    variance that the sums over groups have, never more than there are rows. `groups` are numbers from 0. Without
    values: (0, 1).
    """
    count = len(values)
    if not count:
        return 0.0, 1.0
    share = float(np.mean(values))
    member = np.arange(count) if groups is None else groups
    sums = np.bincount(member, weights=values - share)
    units = int(np.count_nonzero(np.bincount(member)))
    spread = float(sums @ sums) / count**2 * units / max(units - 1, 1)
    effective = float(units) if spread <= 1e-12 else min(share * (1 - share) / spread, count)
    return _wilson(share, effective, 0.95)


def _wilson(share: float, n: float, level: float) -> tuple[float, float]:
    z = NormalDist().inv_cdf(0.5 + level / 2)
    centre = share + z * z / (2 * n)
    half = z * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    scale = 1 + z * z / n
    # Exact at the ends, where rounding would leave 1e-17.
    low = 0.0 if share == 0 else (centre - half) / scale
    high = 1.0 if share == 1 else (centre + half) / scale
    return low, high


def _differences(metrics: Sequence[Mapping[str, float]], split: int) -> dict[str, float]:
    """Mean of the tables from `split` on, minus mean of those before it, of each metric that all of them have."""
    names = [name for name in metrics[0] if all(name in found for found in metrics)]
    return {
        name: fmean(found[name] for found in metrics[split:]) - fmean(found[name] for found in metrics[:split])
        for name in names
    }


def _interval(values: list[float]) -> list[float]:
    # An infinite perplexity must not turn the interval into nan: then the values themselves, not interpolated.
    if np.isfinite(values).all():
        return np.percentile(values, [2.5, 97.5]).tolist()
    return np.percentile(values, [2.5, 97.5], method="nearest").tolist()


def _shifted_p_value(observed: float, drawn: np.ndarray) -> float:
    direction = -1.0 if observed < 0 else 1.0
    beyond = int(np.count_nonzero(direction * drawn >= 2 * abs(observed)))
    return (beyond + 1) / (len(drawn) + 1)
