"""An Arrow file mapped from disk, as rows kept on disk and the features' cache read it."""

from __future__ import annotations

import bisect
import itertools
import mmap
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa

RESIDENT_BYTES = 1 << 24  # about so much is read of a file before its pages are given up again


class Mapped:
    """Record batches of an Arrow file on disk, mapped: only the pages that were used of late are in memory.

    The kernel would keep every page that was read among this process's, as long as memory lasts. Given up, they stay in
    the system's cache of files, and come back without the disk when they are asked for.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        with open(path, "rb") as handle:
            self._pages = mmap.mmap(handle.fileno(), 0, access=mmap.ACCESS_READ)
        reader = pa.ipc.open_file(pa.py_buffer(self._pages))
        self.batches = [reader.get_batch(number) for number in range(reader.num_record_batches)]
        self.ends = list(itertools.accumulate(batch.num_rows for batch in self.batches))
        self._seen = 0
        self._most = max(1, RESIDENT_BYTES * len(self) // len(self._pages))  # rows between two releases

    def __reduce__(self) -> tuple[type[Mapped], tuple[Path]]:
        """Another process opens the file itself."""
        return Mapped, (self.path,)

    def __len__(self) -> int:
        return self.ends[-1] if self.ends else 0

    def __iter__(self) -> Iterator[pa.RecordBatch]:
        """The batches, in order."""
        for batch in self.batches:
            self._count(batch.num_rows)
            yield batch

    def place(self, index: int) -> tuple[pa.RecordBatch, int]:
        """The batch of a row, and the row's number inside it. Raises IndexError."""
        if not -len(self) <= index < len(self):
            raise IndexError(index)
        self._count(1)
        index %= len(self)
        number = bisect.bisect_right(self.ends, index)
        return self.batches[number], index - (self.ends[number - 1] if number else 0)

    def batch(self, number: int, rows: int) -> pa.RecordBatch:
        """A batch of which `rows` rows are about to be read."""
        self._count(rows)
        return self.batches[number]

    def release(self) -> None:
        """Give up the pages in memory. Views of them stay good: what they show is read again."""
        self._seen = 0
        if hasattr(mmap, "MADV_DONTNEED"):  # not on Windows
            self._pages.madvise(mmap.MADV_DONTNEED)

    def _count(self, rows: int) -> None:
        self._seen += rows
        if self._seen > self._most:
            self.release()
