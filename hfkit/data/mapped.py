"""An Arrow file mapped from disk, as rows kept on disk and the features' cache read it."""

from __future__ import annotations

import bisect
import itertools
from pathlib import Path

import pyarrow as pa


class Mapped:
    """Record batches of an Arrow file on disk, mapped: only the pages that are used are in memory."""

    def __init__(self, path: Path) -> None:
        self.path = path
        reader = pa.ipc.open_file(pa.memory_map(str(path), "r"))
        self.batches = [reader.get_batch(number) for number in range(reader.num_record_batches)]
        self.ends = list(itertools.accumulate(batch.num_rows for batch in self.batches))

    def __reduce__(self) -> tuple[type[Mapped], tuple[Path]]:
        """Another process opens the file itself."""
        return Mapped, (self.path,)

    def __len__(self) -> int:
        return self.ends[-1] if self.ends else 0

    def place(self, index: int) -> tuple[pa.RecordBatch, int]:
        """The batch of a row, and the row's number inside it. Raises IndexError."""
        if not -len(self) <= index < len(self):
            raise IndexError(index)
        index %= len(self)
        number = bisect.bisect_right(self.ends, index)
        return self.batches[number], index - (self.ends[number - 1] if number else 0)
