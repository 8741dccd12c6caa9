"""An Arrow file on disk, as rows kept on disk and the features' cache read it: batches are mapped, single rows read."""

from __future__ import annotations

import bisect
import itertools
import mmap
import os
import weakref
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from hfkit.errors import ResourceError

RESIDENT_BYTES = 1 << 22  # about so much is read of a file before its pages are given up again
OPENED = 16  # batches between two releases while their heads are read, each of which brings in up to a megabyte


@dataclass(frozen=True, slots=True)
class Layout:
    """Where a column of one batch stands in the file, in bytes from its start."""

    name: str
    values: int
    kind: np.dtype[Any]  # of one value; uint8 for text
    offsets: int | None  # None for a column of plain numbers, which has no lists of them
    width: np.dtype[Any]  # of one offset


class Mapped:
    """Record batches of an Arrow file on disk, without nulls: only the pages that were used of late are in memory.

    The kernel would keep every page that was read among this process's, as long as memory lasts. Given up, they stay in
    the system's cache of files, and come back without the disk when they are asked for.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        handle = open(path, "rb")  # noqa: SIM115 - as long as this lives
        weakref.finalize(self, handle.close)
        self._descriptor = handle.fileno()
        self._pages = mmap.mmap(self._descriptor, 0, access=mmap.ACCESS_READ)
        buffer = pa.py_buffer(self._pages)
        self._start = buffer.address
        reader = pa.ipc.open_file(buffer)
        self.batches: list[pa.RecordBatch] = []
        for number in range(reader.num_record_batches):
            self.batches.append(reader.get_batch(number))
            if number % OPENED == 0:
                self.release()
        self.ends = list(itertools.accumulate(batch.num_rows for batch in self.batches))
        self._layouts: dict[int, list[Layout]] = {}
        self._most = max(1, RESIDENT_BYTES * len(self) // len(self._pages))  # rows between two releases
        self.release()

    def __reduce__(self) -> tuple[type[Mapped], tuple[Path]]:
        """Another process opens the file itself."""
        return Mapped, (self.path,)

    def __len__(self) -> int:
        return self.ends[-1] if self.ends else 0

    def __iter__(self) -> Iterator[pa.RecordBatch]:
        """The batches, in order."""
        return map(self.batch, range(len(self.batches)))

    def batch(self, number: int) -> pa.RecordBatch:
        """A batch, of which many rows are about to be read."""
        self._seen += self.batches[number].num_rows
        if self._seen > self._most:
            self.release()
        return self.batches[number]

    def row(self, index: int) -> dict[str, Any]:
        """One row: {column: a number, the array of a list, or the bytes of a text}. Raises IndexError, ResourceError.

        Its bytes are read, not mapped: for one byte that is asked for, Linux maps up to a megabyte around it, so that
        rows asked for here and there would soon have the whole file in this process.
        """
        if not -len(self) <= index < len(self):
            raise IndexError(index)
        index %= len(self)
        number = bisect.bisect_right(self.ends, index)
        if number not in self._layouts:
            self._layouts[number] = _layouts(self.batches[number], self._start)
        inside = index - (self.ends[number - 1] if number else 0)
        return {layout.name: self._value(layout, inside) for layout in self._layouts[number]}

    def release(self) -> None:
        """Give up the pages in memory. Views of them stay good: what they show is read again."""
        self._seen = 0
        if hasattr(mmap, "MADV_DONTNEED"):  # not on Windows
            self._pages.madvise(mmap.MADV_DONTNEED)

    def _value(self, layout: Layout, inside: int) -> Any:
        size = layout.kind.itemsize
        if layout.offsets is None:
            return np.frombuffer(self._read(layout.values + inside * size, size), layout.kind)[0].item()
        width = layout.width.itemsize
        first, last = np.frombuffer(self._read(layout.offsets + inside * width, 2 * width), layout.width).tolist()
        found = self._read(layout.values + first * size, (last - first) * size)
        return found if layout.kind == np.uint8 else np.frombuffer(found, layout.kind)

    def _read(self, start: int, size: int) -> bytes:
        if not size:
            return b""  # a list without values may have no place in the file
        if hasattr(os, "pread"):
            found = os.pread(self._descriptor, size, start)
        else:
            found = self._pages[start : start + size]  # Windows
        if len(found) < size:
            raise ResourceError(f"{self.path}: shorter than it was when it was opened", "remove it; it is made again")
        return found


def _layouts(batch: pa.RecordBatch, start: int) -> list[Layout]:
    """Where the columns of a batch stand in the file that is mapped from the address `start` on."""
    return [_layout(name, column, start) for name, column in zip(batch.schema.names, batch.columns, strict=True)]


def _layout(name: str, column: pa.Array, start: int) -> Layout:
    at = [buffer.address - start if buffer is not None and buffer.size else 0 for buffer in column.buffers()]
    if pa.types.is_large_string(column.type):
        return Layout(name, at[2], np.dtype(np.uint8), at[1], np.dtype(np.int64))
    if pa.types.is_list(column.type):
        return Layout(name, at[3], np.dtype(column.type.value_type.to_pandas_dtype()), at[1], np.dtype(np.int32))
    return Layout(name, at[1], np.dtype(column.type.to_pandas_dtype()), None, np.dtype(np.int32))
