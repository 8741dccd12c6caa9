"""Mapped files: what was read is given up again, and comes back the same."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from hfkit.data import mapped as mapping
from hfkit.data.mapped import Mapped

ROWS, BATCHES = 1000, 40


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """40 batches of 1,000 rows of 100 numbers: 32 MB."""
    path = tmp_path / "rows.arrow"
    schema = pa.schema([("values", pa.list_(pa.int64()))])
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, schema) as writer:
        for number in range(BATCHES):
            values = pa.array(np.arange(ROWS * 100) + number * ROWS * 100)
            lists = pa.ListArray.from_arrays(pa.array(range(0, ROWS * 100 + 1, 100), pa.int32()), values)
            writer.write_batch(pa.record_batch([lists], schema=schema))
    return path


def resident() -> int:
    """Bytes of mapped files in this process's memory."""
    status = Path("/proc/self/status")
    if not status.exists():
        pytest.skip("this system does not say")
    line = next(line for line in status.read_text("utf-8").splitlines() if line.startswith("RssFile:"))
    return int(line.split()[1]) * 1024


def test_pages_are_given_up_and_come_back(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mapping, "RESIDENT_BYTES", 2_000_000)
    opened = Mapped(file)
    before, most, total, kept = resident(), 0, 0, None
    for batch in opened:
        values = batch.column(0).values.to_numpy()
        kept = values if kept is None else kept
        total += int(values.sum())
        most = max(most, resident() - before)
    assert most < 20_000_000  # of 32; neighbours of what is asked for come along
    assert total == sum(range(ROWS * BATCHES * 100))
    assert kept is not None and kept[:100].tolist() == list(range(100))  # a view of pages given up long ago


def test_single_rows_leave_the_file_on_disk(file: Path) -> None:
    opened = Mapped(file)
    opened.release()
    before = resident()
    for index in range(0, len(opened), 7):
        assert opened.row(index)["values"][0] == index * 100
    assert resident() - before < 4_000_000  # of 32


def test_single_rows_equal_those_of_the_batches(tmp_path: Path) -> None:
    path = tmp_path / "rows.arrow"
    lists = {"ids": pa.list_(pa.int32()), "shares": pa.list_(pa.float64())}
    schema = pa.schema({"row": pa.int64(), "score": pa.float64(), **lists, "text": pa.large_string()})
    rows = [
        {"row": n, "score": n / 7, "ids": list(range(n % 4)), "shares": [n / 3] * (n % 3), "text": "é" * (n % 5)}
        for n in range(25)
    ]
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, schema) as writer:
        for first in range(0, 25, 10):
            writer.write_batch(pa.RecordBatch.from_pylist(rows[first : first + 10], schema=schema))
    opened = Mapped(path)
    assert len(opened) == 25
    for index in [*range(25), -1, -25]:
        found, wanted = opened.row(index), rows[index]
        assert {name: type(found[name]) for name in ("row", "score")} == {"row": int, "score": float}
        assert (found["row"], found["score"], found["text"].decode()) == (
            wanted["row"],
            wanted["score"],
            wanted["text"],
        )
        assert (found["ids"].dtype, found["shares"].dtype) == (np.int32, np.float64)
        assert (found["ids"].tolist(), found["shares"].tolist()) == (wanted["ids"], wanted["shares"])
    for index in (25, -26):
        with pytest.raises(IndexError):
            opened.row(index)
