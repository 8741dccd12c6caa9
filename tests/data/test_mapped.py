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
    schema = pa.schema([("values", pa.list_(pa.int64(), 100))])
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, schema) as writer:
        for number in range(BATCHES):
            values = pa.array(np.arange(ROWS * 100) + number * ROWS * 100)
            writer.write_batch(pa.record_batch([pa.FixedSizeListArray.from_arrays(values, 100)], schema=schema))
    return path


def resident() -> int:
    """Bytes of mapped files in this process's memory."""
    status = Path("/proc/self/status")
    if not status.exists():
        pytest.skip("this system does not say")
    line = next(line for line in status.read_text("utf-8").splitlines() if line.startswith("RssFile:"))
    return int(line.split()[1]) * 1024


@pytest.mark.parametrize("whole", [False, True])
def test_pages_are_given_up_and_come_back(file: Path, whole: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mapping, "RESIDENT_BYTES", 2_000_000)
    opened = Mapped(file)
    before, most, total, kept = resident(), 0, 0, None
    if whole:
        for batch in opened:
            total += int(batch.column(0).values.to_numpy().sum())
            most = max(most, resident() - before)
    else:
        for index in range(0, len(opened), 7):
            batch, inside = opened.place(index)
            value = batch.column(0).values.slice(inside * 100, 100).to_numpy()
            kept = value if kept is None else kept
            assert value[0] == index * 100
            most = max(most, resident() - before) if index % 700 == 0 else most
        assert kept is not None and kept.tolist() == list(range(100))  # a view of pages given up long ago
    assert most < 20_000_000  # of 32; neighbours of what is asked for come along
    assert not whole or total == sum(range(ROWS * BATCHES * 100))


def test_places(file: Path) -> None:
    opened = Mapped(file)
    assert len(opened) == ROWS * BATCHES
    assert opened.place(-1)[1] == ROWS - 1
    with pytest.raises(IndexError):
        opened.place(ROWS * BATCHES)
