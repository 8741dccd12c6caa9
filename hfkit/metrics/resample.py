"""Bootstrap resamples of columns: rows, or whole groups of rows, drawn with replacement; `statistics` reads them."""

from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np

from hfkit.errors import DataError
from hfkit.metrics.weights import WEIGHT

Columns = Mapping[str, np.ndarray]
Reduce = Callable[[Columns], Mapping[str, float]]

_FEW = 8  # kinds of groups are drawn at once when there are this many times fewer of them than groups


def resampled(
    tables: Sequence[Columns], reduce: Reduce, *, groups: np.ndarray | None, resamples: int, seed: int
) -> Iterator[list[Mapping[str, float]]]:
    """What `reduce` makes of each table in every resample; all tables (of the same rows) share the draws.

    With `groups` (an id per row) whole groups are drawn. Rows that are equal in every table are handed to `reduce`
    once, with the column `weight` that says how often they were drawn: 30,000 classified rows are then a dozen. A
    `reduce` that does not read `weight`, which is tried first, is given the drawn rows themselves. A resample of which
    `reduce` can make nothing, such as blocks without a scored token, has no metrics. Memory: one resample, or one
    number for each resample and kind of group. Raises DataError without rows, ValueError for arguments that do not fit.
    """
    count = row_count(tables)
    if resamples < 1:
        raise ValueError(f"resamples must be at least 1, not {resamples}")
    if groups is not None and len(groups) != count:
        raise ValueError(f"{len(groups)} group ids for {count} rows")
    reduce = _or_nothing(reduce)
    random = np.random.default_rng(seed)
    member = np.arange(count) if groups is None else np.unique(groups, return_inverse=True)[1]
    pattern, shown = _patterns(tables)
    few = [_take(table, shown) for table in tables]
    if not all(_reads_weight(table, reduce) for table in few):
        for drawn in _drawn(random, member, resamples):
            rows = np.repeat(np.arange(count), drawn)
            yield [reduce(_take(table, rows)) for table in tables]
        return
    for weight in _weights(random, member, pattern, len(shown), resamples):
        yield [reduce({**table, WEIGHT: weight}) for table in few]


def _or_nothing(reduce: Reduce) -> Reduce:
    def reduced(columns: Columns) -> Mapping[str, float]:
        try:
            return reduce(columns)
        except DataError:
            return {}

    return reduced


def row_count(tables: Sequence[Columns]) -> int:
    """The one length of all columns. Raises ValueError when they differ, DataError when it is 0."""
    counts = {len(values) for table in tables for values in table.values()}
    if len(counts) > 1:
        raise ValueError(f"columns of different lengths: {sorted(counts)}")
    rows = counts.pop() if counts else 0
    if rows == 0:
        raise DataError("there are no rows to score")
    return rows


def _patterns(tables: Sequence[Columns]) -> tuple[np.ndarray, np.ndarray]:
    """(number of each row's pattern, one row of each pattern): rows equal in every column share a pattern."""
    code = np.zeros(row_count(tables), dtype=np.int64)
    for table in tables:
        for values in table.values():
            found, place = np.unique(values, return_inverse=True)
            if len(found) > 1:
                code = np.unique(code * len(found) + place, return_inverse=True)[1]
    _, shown = np.unique(code, return_index=True)
    return code, shown


def _reads_weight(table: Columns, reduce: Reduce) -> bool:
    """Whether `reduce` makes the same of rows with a weight as of rows that stand there so many times."""
    count = row_count([table])
    often = np.arange(count) % 3 + 2
    weighted = reduce({**table, WEIGHT: often.astype(np.float64)})
    repeated = reduce(_take(table, np.repeat(np.arange(count), often)))
    return weighted.keys() == repeated.keys() and all(
        np.isclose(weighted[name], repeated[name], rtol=1e-9, atol=1e-12, equal_nan=True) for name in weighted
    )


def _drawn(random: np.random.Generator, member: np.ndarray, resamples: int) -> Iterator[np.ndarray]:
    """How often each row is drawn, resample by resample: as many groups as there are, with replacement."""
    groups = int(member.max()) + 1
    for _ in range(resamples):
        yield np.bincount(random.integers(0, groups, size=groups), minlength=groups)[member]


def _weights(
    random: np.random.Generator, member: np.ndarray, pattern: np.ndarray, patterns: int, resamples: int
) -> Iterator[np.ndarray]:
    """How often each pattern is drawn, resample by resample.

    Groups with the same rows are one kind of group. Few kinds are drawn by one multinomial, which is the same
    distribution as drawing the groups one by one.
    """
    content, times = _kinds(member, pattern, patterns)
    if content is None or len(times) * _FEW > member.max() + 1:
        for drawn in _drawn(random, member, resamples):
            yield np.bincount(pattern, weights=drawn, minlength=patterns)
        return
    groups = int(times.sum())
    yield from random.multinomial(groups, times / groups, size=resamples) @ content


def _kinds(member: np.ndarray, pattern: np.ndarray, patterns: int) -> tuple[np.ndarray | None, np.ndarray]:
    """(rows of each pattern in a group of each kind [kinds, patterns], groups of each kind).

    Two groups are of one kind when the sums of a random 64-bit number per pattern agree; that they do by chance has a
    probability below 1e-9 for a hundred thousand groups. None in place of a table that would be too large.
    """
    marks = np.random.default_rng(0).integers(0, 2**63, size=patterns, dtype=np.uint64)
    sums = np.zeros(int(member.max()) + 1, dtype=np.uint64)
    np.add.at(sums, member, marks[pattern])
    _, first, kind, times = np.unique(sums, return_index=True, return_inverse=True, return_counts=True)
    if len(times) * patterns > 1 << 22:
        return None, times
    representative = np.full(len(sums), -1)
    representative[first] = kind[first]
    place = representative[member]
    inside = place >= 0
    content = np.zeros((len(times), patterns))
    np.add.at(content, (place[inside], pattern[inside]), 1.0)
    return content, times


def _take(columns: Columns, rows: np.ndarray) -> dict[str, np.ndarray]:
    return {name: np.asarray(values)[rows] for name, values in columns.items()}
