"""Numbers between Python, numpy and Arrow's columns, without pyarrow's own conversions: the first of these imports
pandas, which takes 0.4 seconds of every command. For the files of the cache."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from typing import Any

import numpy as np
import pyarrow as pa

LISTS, NUMBERS = (list, tuple, np.ndarray), (int, float, np.integer, np.floating, np.bool_)
_LISTED: dict[str, np.dtype[Any]] = {"i": np.dtype(np.int32), "f": np.dtype(np.float64)}  # of the values of lists
_SINGLE: dict[str, np.dtype[Any]] = {"i": np.dtype(np.int64), "f": np.dtype(np.float64)}


def column_of(name: str, values: Sequence[Any], kind: pa.DataType | None = None) -> pa.Array:
    """A column of numbers (int64 or float64) or of lists of numbers (int32 or float64), as `kind` says or they are.

    Raises TypeError for anything else, None included, and for what `kind` does not hold; OverflowError for integers
    that are too large.
    """
    if any(value is None for value in values):
        raise TypeError(_refused(name, "None"))
    if pa.types.is_list(kind) if kind else isinstance(values[0], LISTS):
        wrong = next((value for value in values if not isinstance(value, LISTS)), None)
        if wrong is not None:
            raise TypeError(_refused(name, type(wrong).__name__))
        ends = np.cumsum([0, *map(len, values)], dtype=np.int32)
        inside = _flat(name, list(chain.from_iterable(values)), _LISTED, kind and kind.value_type)
        return pa.Array.from_buffers(
            pa.list_(inside.type), len(values), [None, pa.py_buffer(ends)], null_count=0, children=[inside]
        )
    return _flat(name, values, _SINGLE, kind)


def numbers_in(column: pa.Array) -> np.ndarray:
    """The values of a column of numbers without nulls, (rows,); a view of the column's own memory."""
    kind = np.dtype(column.type.to_pandas_dtype())
    if not len(column):
        return np.zeros(0, kind)
    return np.frombuffer(column.buffers()[1], kind, len(column), column.offset * kind.itemsize)


def list_lengths(column: pa.ListArray) -> np.ndarray:
    """How many values each list of a column holds, (rows,) int32."""
    if not len(column):
        return np.zeros(0, np.int32)
    return np.diff(np.frombuffer(column.buffers()[1], np.int32, len(column) + 1, column.offset * 4))


def _flat(name: str, values: Sequence[Any], kinds: dict[str, np.dtype[Any]], kind: pa.DataType | None) -> pa.Array:
    """Numbers as Arrow keeps them, of the type that `kinds` has for theirs, or of `kind`."""
    try:
        found = np.asarray(values) if len(values) else np.zeros(0, np.int64)
    except ValueError:  # numbers beside lists of them
        found = np.asarray(values, dtype=object)
    plain, floating = found.ndim == 1 and found.dtype.kind in "iubf", found.dtype.kind == "f"
    if not plain:
        for value in values:
            if not isinstance(value, NUMBERS):
                raise TypeError(_refused(name, "None" if value is None else type(value).__name__))
    if not plain or (floating and all(isinstance(value, (int, np.integer)) for value in values)):
        raise OverflowError(f"feature column '{name}' holds {max(values)}: too large")
    wanted = np.dtype(kind.to_pandas_dtype()) if kind else kinds["f" if floating else "i"]
    if floating and wanted.kind != "f":
        raise TypeError(f"feature column '{name}' holds fractions, and whole numbers before them")
    if wanted.kind == "i" and found.size and not (np.can_cast(found.dtype, wanted) or _fits(found, wanted)):
        raise OverflowError(f"feature column '{name}' holds {found.max()} or {found.min()}: too large for {wanted}")
    kept = np.ascontiguousarray(found, dtype=wanted)
    return pa.Array.from_buffers(pa.from_numpy_dtype(wanted), len(kept), [None, pa.py_buffer(kept)], null_count=0)


def _refused(name: str, what: str) -> str:
    return f"feature column '{name}' holds {what}; numbers and lists of numbers are allowed"


def _fits(values: np.ndarray, wanted: np.dtype[Any]) -> bool:
    bounds = np.iinfo(wanted)
    return bool(bounds.min <= values.min() and values.max() <= bounds.max)
