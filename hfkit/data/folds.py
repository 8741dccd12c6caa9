"""Which fold of train each row belongs to: dealt out so that groups stay whole and labels even, or the user's own."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from hfkit.data.rows import Rows
from hfkit.data.split import by, column_of, divided, group_keys
from hfkit.data.validators import rows_text
from hfkit.errors import DataError, UsageError
from hfkit.recipe.keys import Data
from hfkit.tasks.base import Column

if TYPE_CHECKING:
    import numpy as np

MANY_NUMBERS = 20  # distinct numbers from which on labels are amounts: their tenths are kept even, not each number
BINS = 10
Strata = tuple[str, ...]  # what a row counts for: its label, or its labels
NONE: Strata = ("",)  # of rows without a label, which are evened out as one


def asks_for_folds(settings: Data) -> bool:
    """Whether a fold of train is to be held out."""
    return settings.folds is not None or settings.fold_column is not None


def check_folds(settings: Data) -> None:
    """Raise UsageError when the keys about folds and data.validation do not fit together."""
    if not asks_for_folds(settings):
        if settings.fold is not None:
            raise UsageError("data.fold is set without data.folds", "say how many folds there are: data.folds=5")
        return
    key = "data.folds" if settings.folds is not None else "data.fold_column"
    if settings.fold is None:
        last = f" to {settings.folds - 1}" if settings.folds is not None else " or more"
        raise UsageError(f"{key} is set without data.fold", f"say which fold is held out: data.fold=0{last}")
    if settings.folds is not None and settings.fold >= settings.folds:
        raise _beyond(settings.fold, settings.folds)
    if settings.validation is not None:
        raise UsageError(
            f"{key} and data.validation are both set", "a fold of train is the validation data: leave one out"
        )


def fold(rows: Rows, settings: Data, group: str | None, *, columns: Sequence[Column]) -> tuple[Rows, Rows, str]:
    """Train and validation rows for data.fold, and the line that says what is held out."""
    assert settings.fold is not None
    numbers, count, how = fold_numbers(rows, settings, group, columns=columns)
    if settings.fold >= count:
        raise _beyond(settings.fold, count)
    inside = numbers == settings.fold
    held = rows_text(int(inside.sum()))
    return divided(rows, inside, f"validation: fold {settings.fold} of {count}, {held} of train{how}")


def fold_numbers(
    rows: Rows, settings: Data, group: str | None, *, columns: Sequence[Column]
) -> tuple[np.ndarray, int, str]:
    """The fold of each row (rows,) from 0, how many folds there are, and words on how they were made.

    Groups stay in one fold, or without one rows whose texts (of the task's `columns`) are equal. Folds depend on the
    values of the rows, not on their order. Raises DataError when a fold would be empty, UsageError when
    data.fold_column has other folds than data.folds says.
    """
    if settings.fold_column is not None:
        return _given(rows, settings)
    assert settings.folds is not None
    import numpy as np

    name = settings.group or group
    _, owners, sizes = np.unique(group_keys(rows, name, columns), return_inverse=True, return_counts=True)
    if len(sizes) < settings.folds:
        raise DataError(
            f"{rows.name}: {len(sizes)} groups cannot make {settings.folds} folds{by(name)}", "use fewer folds"
        )
    strata = strata_of(rows)
    dealt = np.asarray(_dealt(owners, sizes, strata, settings.folds), dtype=np.int64)
    even = ", labels even" if any(found != NONE for found in strata) else ""
    return dealt[owners], settings.folds, f"{by(name)}{even}"


def strata_of(rows: Iterable[Mapping[str, Any]]) -> list[Strata]:
    """What each row counts for when folds are evened out: its label, its labels, the tenth of a number; else NONE.

    Several columns of numbers that are not 0 or 1 are not evened out.
    """
    values = [row.get("label") for row in rows]
    numbers = [_number(value) for value in values if value is not None]
    if numbers and None not in numbers and len(set(numbers)) > MANY_NUMBERS:
        import numpy as np

        amounts = np.asarray(numbers, dtype=np.float64)
        tenths = iter(np.searchsorted(np.quantile(amounts, np.arange(1, BINS) / BINS), amounts).tolist())
        return [NONE if value is None else (str(next(tenths)),) for value in values]
    known: dict[Strata, Strata] = {}  # one tuple for each label: rows are many, labels few
    return [known.setdefault(found, found) for found in map(_strata, values)]


def _strata(value: Any) -> Strata:
    if value is None:
        return NONE
    if isinstance(value, Mapping):
        flags = {name: _number(cell) for name, cell in value.items()}
        names = [name for name, flag in flags.items() if flag == 1] if set(flags.values()) <= {0.0, 1.0} else []
    else:
        names = list(map(str, value)) if isinstance(value, (list, tuple)) else [str(value)]
    return tuple(sorted(names)) or NONE


def _number(value: Any) -> float | None:
    if isinstance(value, (Mapping, list, tuple)):
        return None
    try:
        found = float(value)
    except ValueError:
        return None
    return found if math.isfinite(found) else None


def _dealt(owners: np.ndarray, sizes: np.ndarray, strata: Sequence[Strata], folds: int) -> list[int]:
    """The fold of each group, largest groups first: where it adds least to the variance of label shares over folds.

    Each group goes to the fold with the smallest sum over labels of (its rows of the label x the fold's) / (all of the
    label) squared, which is what the sum of squared shares grows by; then to the one with fewest rows. So rows that
    stand alone are dealt out label by label, and whole groups as evenly as their size lets them.
    """
    import numpy as np

    total = Counter(name for found in strata for name in found)
    members = np.argsort(owners, kind="stable").tolist()
    ends = np.cumsum(sizes).tolist()
    counts: list[Counter[str]] = [Counter() for _ in range(folds)]
    filled = [0] * folds
    chosen = [0] * len(sizes)
    for place in np.argsort(-sizes, kind="stable").tolist():  # groups stand in the order of their hashes
        size = int(sizes[place])
        held = Counter(name for row in members[ends[place] - size : ends[place]] for name in strata[row])
        weights = [(name, count / total[name] ** 2) for name, count in sorted(held.items())]
        costs = [sum(weight * have[name] for name, weight in weights) for have in counts]
        best = min(range(folds), key=lambda number: (costs[number], filled[number]))
        counts[best].update(held)
        filled[best] += size
        chosen[place] = best
    return chosen


def _given(rows: Rows, settings: Data) -> tuple[np.ndarray, int, str]:
    """The user's own folds: the values of data.fold_column in ascending order are folds 0, 1, and so on."""
    import numpy as np

    assert settings.fold_column is not None
    key = f"data.fold_column={settings.fold_column}"
    column = column_of(rows, settings.fold_column, "data.fold_column")
    values = [row.get(column) for row in rows]
    empty = [row["id"] for row, value in zip(rows, values, strict=True) if value is None or value == ""]
    if empty:
        shown = ", ".join(empty[:5])
        raise DataError(f"{rows.name}: {rows_text(len(empty))} without a fold in {key} ({shown})", "give each row one")
    texts = [str(value) for value in values]
    numbers = {text: _number(text) for text in texts}
    whole = None not in numbers.values()
    names = sorted(numbers, key=lambda text: (numbers[text] or 0.0, text) if whole else (0.0, text))
    if len(names) < 2:
        raise DataError(f"{rows.name}: all rows have one fold in {key}", "name another column, or take data.folds=5")
    if settings.folds not in (None, len(names)):
        raise UsageError(
            f"{key} has {len(names)} folds ({', '.join(names[:8])}), data.folds says {settings.folds}",
            "leave the number of folds out: the column says it",
        )
    places = {text: place for place, text in enumerate(names)}
    found = np.fromiter((places[text] for text in texts), dtype=np.int64, count=len(texts))
    return found, len(names), f", by {settings.fold_column}"


def _beyond(number: int, count: int) -> UsageError:
    return UsageError(f"data.fold={number} is not below data.folds={count}", "folds are counted from 0")
