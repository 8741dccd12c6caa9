"""Columns of numbers: equal to pyarrow's own, strict, and made without pandas."""

import subprocess
import sys
import textwrap
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from hfkit.data.numbers import column_of, list_lengths, numbers_in

COLUMNS = [
    ([1, -2, 2**40], pa.int64()),
    ([1, 0.5], pa.float64()),
    ([np.int64(3), np.float32(0.5)], pa.float64()),
    ([[1, 2], [], [-3]], pa.list_(pa.int32())),
    ([[], []], pa.list_(pa.int32())),
    ([[0.5], [1, 2]], pa.list_(pa.float64())),
    ([np.arange(3), np.zeros(0, np.int64)], pa.list_(pa.int32())),
]


@pytest.mark.parametrize(("values", "kind"), COLUMNS)
def test_columns_are_those_of_pyarrow(values: list[Any], kind: pa.DataType) -> None:
    for given in (None, kind):
        column = column_of("x", values, given)
        column.validate(full=True)
        assert column.equals(pa.array(values, kind))


def test_truth_values_are_counted_as_numbers() -> None:
    assert numbers_in(column_of("x", [True, False])).tolist() == [1, 0]


@pytest.mark.parametrize("part", [slice(0, 3), slice(1, 3), slice(2, 2)])
def test_numbers_and_lengths_come_back_of_slices_too(part: slice) -> None:
    numbers = column_of("x", [5, 6, 7])[part.start : part.stop]
    lists = column_of("x", [[1, 2], [], [3]])[part.start : part.stop]
    assert numbers_in(numbers).tolist() == [5, 6, 7][part] and numbers_in(numbers).dtype == np.int64
    assert list_lengths(lists).tolist() == [2, 0, 1][part] and list_lengths(lists).dtype == np.int32


@pytest.mark.parametrize(
    ("values", "kind", "message"),
    [
        ([1, None], None, "'x' holds None"),
        ([[1], None], None, "'x' holds None"),
        ([[1], [None]], None, "'x' holds None"),
        (["a"], None, "'x' holds str"),
        ([["a"]], None, "'x' holds str"),
        ([[[1]], [[2]]], None, "'x' holds list"),
        ([[1, [2]]], None, "'x' holds list"),
        ([[1], 2], None, "'x' holds int"),
        ([b"ab"], None, "'x' holds bytes"),
        ([np.zeros((2, 2))], None, "'x' holds ndarray"),
        ([0.5], pa.int64(), "'x' holds fractions"),
        ([[0.5]], pa.list_(pa.int32()), "'x' holds fractions"),
    ],
)
def test_what_is_no_number_is_refused(values: list[Any], kind: pa.DataType | None, message: str) -> None:
    with pytest.raises(TypeError, match=message):
        column_of("x", values, kind)


@pytest.mark.parametrize("values", [[[2**31]], [[-(2**31) - 1]], [2**63], [2**64], [2**63, -1]])
def test_integers_that_are_too_large_are_refused_not_wrapped(values: list[Any]) -> None:
    with pytest.raises(OverflowError, match="'x' holds"):
        column_of("x", values)


def test_features_are_written_and_read_without_pandas(tmp_path: Any) -> None:
    """pyarrow imports pandas at the first list it is given, which takes longer than to encode a thousand rows."""
    code = f"""
        import os, sys
        os.environ["HFKIT_CACHE"] = {str(tmp_path)!r}
        from pathlib import Path
        from hfkit.data.features import Features, _write_features
        rows = ({{"row": i, "input_ids": [i, i + 1], "weight": 0.5}} for i in range(1500))
        path = Path({str(tmp_path)!r}) / "features.arrow"
        _write_features(path, rows, 1500, False, None)
        found = Features(path, "")
        assert found.rows.tolist() == list(range(1500)) and set(found.lengths.tolist()) == {{2}}
        assert found.take([7])[0]["input_ids"].tolist() == [7, 8] and found.take([7])[0]["weight"] == 0.5
        assert "pandas" not in sys.modules
    """
    subprocess.run([sys.executable, "-c", textwrap.dedent(code)], check=True, timeout=120)
