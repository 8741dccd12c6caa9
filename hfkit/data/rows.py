"""Rows: a sequence of mappings with the task's columns, in memory or mapped from disk; all tasks and verbs read it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, overload

if TYPE_CHECKING:
    import numpy as np

    from hfkit.tasks.base import Row


class Rows(Sequence["Row"]):
    """The rows of one data set. Random access; equal data gives an equal `fingerprint` (64 hex digits).

    `mapping` says which column of the data each column of the task was read from; `files` are absolute paths; `skipped`
    counts the rows left out by data.on_bad_row=skip, `rejected` says where they stand and what is wrong; `stream` is
    true when the rows are pieces of running text (.txt for lm), read exactly; `notes` are lines to show.
    """

    def __init__(
        self,
        store: Sequence[Row],
        *,
        name: str,
        fingerprint: str,
        mapping: Mapping[str, str] | None = None,
        files: Sequence[str] = (),
        skipped: int = 0,
        rejected: Sequence[Mapping[str, Any]] = (),
        stream: bool = False,
        notes: Sequence[str] = (),
        indices: Sequence[int] | None = None,
    ) -> None:
        self._store = store
        self._indices = indices
        self.name = name
        self.fingerprint = fingerprint
        self.mapping = dict(mapping or {})
        self.files = list(files)
        self.skipped = skipped
        self.rejected = list(rejected)
        self.stream = stream
        self.notes = list(notes)

    def __len__(self) -> int:
        return len(self._store) if self._indices is None else len(self._indices)

    @overload
    def __getitem__(self, index: int) -> Row: ...
    @overload
    def __getitem__(self, index: slice) -> Rows: ...
    def __getitem__(self, index: int | slice) -> Row | Rows:
        if isinstance(index, slice):
            return self.subset(range(*index.indices(len(self))))
        if self._indices is None:
            return self._store[index]
        return self._store[int(self._indices[index])]

    def __iter__(self) -> Iterator[Row]:
        if self._indices is None:
            return iter(self._store)
        at = getattr(self._store, "at", None)
        if at is not None:
            return at(self._indices)
        return (self._store[int(index)] for index in self._indices)

    def __repr__(self) -> str:
        return f"Rows({self.name!r}, {len(self)} rows)"

    def subset(self, indices: Sequence[int] | np.ndarray) -> Rows:
        """The rows with these numbers, in this order. All rows in their order keep the fingerprint."""
        import numpy as np

        chosen = np.asarray(indices, dtype=np.int64)
        if len(chosen) == len(self) and np.array_equal(chosen, np.arange(len(self))):
            return self
        fingerprint = hashlib.sha256(self.fingerprint.encode() + chosen.tobytes()).hexdigest()
        if self._indices is not None:
            chosen = np.asarray(self._indices, dtype=np.int64)[chosen]
        return self._with(store=self._store, indices=chosen, fingerprint=fingerprint)

    def replaced(self, store: Sequence[Row], *, why: str) -> Rows:
        """Other rows made from these by a rule that `why` describes exactly (it enters the fingerprint)."""
        fingerprint = hashlib.sha256(f"{self.fingerprint} {why}".encode()).hexdigest()
        return self._with(store=store, indices=None, fingerprint=fingerprint)

    def renamed(self, name: str) -> Rows:
        """The same rows under another name."""
        return self._with(store=self._store, indices=self._indices, fingerprint=self.fingerprint, name=name)

    def without_rows(self) -> Rows:
        """The facts of this set, with no row in it, for a process that needs none."""
        return self._with(store=[], indices=None, fingerprint=self.fingerprint)

    def _with(self, *, store: Sequence[Row], indices: Any, fingerprint: str, name: str | None = None) -> Rows:
        return Rows(
            store,
            name=self.name if name is None else name,
            fingerprint=fingerprint,
            mapping=self.mapping,
            files=self.files,
            skipped=self.skipped,
            rejected=self.rejected,
            stream=self.stream,
            notes=self.notes,
            indices=indices,
        )
