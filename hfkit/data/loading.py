"""The reading of one data set: columns mapped, bad rows stopped at or skipped, rows kept on disk when many."""

from __future__ import annotations

import hashlib
import itertools
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from hfkit.data import columns as mapping_of
from hfkit.data import hub
from hfkit.data.columns import Mapped
from hfkit.data.json_reader import has_lone_surrogate
from hfkit.data.place import HubName, Place
from hfkit.data.readers import form_of, header_there, read, read_pair
from hfkit.data.records import PEEK, Bad, Reading, Record, first_of, names_of
from hfkit.data.rows import Rows
from hfkit.data.validators import rows_text
from hfkit.errors import DataError
from hfkit.files import sha256_of
from hfkit.recipe.keys import Data
from hfkit.tasks.base import Column, Row

FORMAT = 1  # of rows, part of their fingerprint; counts up when the same file gives other rows
PAIR = "a pair of files is source and target, data.columns is not looked at"
KEPT = 3  # of rows kept on disk; counts up when reading notes, refuses or gives anything else
SPOOL_BYTES = 4 << 20  # sets above this many bytes of files are kept on disk, in memory they take three times that ...
SPOOL_ROWS = 50_000  # ... and those of more rows: each takes 350 bytes or more, however few it has in the file
FEW_BAD = 10  # rows that data.max_bad_rows lets pass however few there are in all
KEPT_BAD = 10_000  # skipped rows of which more than the count is kept


class Loading:
    """The reading of one data set: its places, the mapping of each, and what was noted and skipped on the way."""

    def __init__(
        self,
        places: Sequence[Place],
        name: str,
        columns: tuple[Column, ...],
        settings: Data,
        need_gold: bool,
        offline: bool,
    ) -> None:
        self.places, self.name, self.columns, self.settings = places, name, columns, settings
        self.need_gold, self.offline = need_gold, offline
        self.stream_task = [column.name for column in columns if column.name != "id"] == ["text"]
        names = tuple(settings.names) if settings.names is not None else None
        self.how = Reading(encoding=settings.encoding, names=names, stream=self.stream_task)
        self.mappings: list[Mapped] = []
        self.notes: list[str] = []
        self.skipped = 0
        self.rejected: list[dict[str, Any]] = []
        self.read = 0
        self.missing: dict[str, list[str]] = {}
        self.content: list[str] = []
        self.hub: dict[HubName, hub.HubSet] = {}

    def rows(self) -> Rows:
        files = [path for place in self.places for path in place.files]
        size = sum(path.stat().st_size * (6 if path.suffix == ".gz" else 1) for path in files if path.is_file())
        for place in self.places:
            if place.hub is not None:
                found = self.hub[place.hub] = hub.open_split(place.hub, offline=self.offline)
                if f":{found.split}" not in place.name:
                    self.name = self.name.replace(place.name, f"{place.name}:{found.split}", 1)
                size += self.hub[place.hub].size
        stream = self.stream_task and all(form_of(path) == "txt" for path in files) and bool(files)
        self.content = [sha256_of(path) + str(form_of(path)) for path in files if path.is_file()]
        self.content += [found.fingerprint for found in self.hub.values()]
        in_memory = stream or any(place.records is not None for place in self.places)
        store, facts = self._stored(None if in_memory else 0 if size > SPOOL_BYTES else SPOOL_ROWS)
        return Rows(
            store,
            name=self.name,
            fingerprint=facts["fingerprint"],
            mapping=facts["mapping"],
            files=[str(path) for path in files],
            skipped=facts["skipped"],
            rejected=facts["rejected"],
            stream=stream,
            notes=facts["notes"],
        )

    def _stored(self, most: int | None) -> tuple[Sequence[Row], dict[str, Any]]:
        """The rows and the facts known after reading. At most `most` rows stay in memory (None: however many), more go
        to disk; with 0 they are not even looked at when they are there already."""
        records = self._records()
        head = list(records if most is None else itertools.islice(records, most + 1 if most else 0))
        if most is None or (most and len(head) <= most):
            return head, self._facts()
        from hfkit.data import arrow

        return arrow.spooled(self._key(), itertools.chain(head, records), self._facts)

    def _key(self) -> str:
        """What the mapped rows depend on, known before they are read."""
        keys = ("columns", "names", "encoding", "on_bad_row", "max_bad_rows")
        settings = [getattr(self.settings, key) for key in keys]
        names = [[column.name, column.required, column.gold, *column.aliases] for column in self.columns]
        where = [place.name for place in self.places]  # stands in the notes
        return _digest([FORMAT, KEPT, self.content, where, settings, names, self.need_gold])

    def _facts(self) -> dict[str, Any]:
        """What is known once all rows are read. Raises DataError when too little is left."""
        if self.missing and self.settings.on_bad_row == "error":
            raise _columns_missing(self.name, self.missing)
        notes = list(self.notes)
        if self.skipped:
            self._refuse_many_bad()
            skipped = f"{rows_text(self.skipped)} could not be read and were skipped"
            notes.append(f"{self.name}: {skipped}: {self._first_rejected()}")
        mapping: dict[str, str] = {}
        for mapped in self.mappings:
            for name, source in mapped.items():
                mapping.setdefault(name, mapping_of.shown(source))
        settings = [self.settings.encoding, self.settings.names, self.settings.on_bad_row]
        fingerprint = _digest(
            [FORMAT, self.content, [sorted(mapped.items()) for mapped in self.mappings], settings, self.how.stream]
        )
        return {
            "fingerprint": fingerprint, "mapping": mapping, "skipped": self.skipped, "notes": notes,
            "rejected": self.rejected,
        }  # fmt: skip

    def _refuse_many_bad(self) -> None:
        """Skipping is for a few bad rows; data that is mostly not what it seems must not train quietly."""
        total = self.read + self.skipped
        if self.skipped > FEW_BAD and self.skipped > self.settings.max_bad_rows * total:
            share = f"{self.skipped:,} of {total:,} rows ({100 * self.skipped / total:.2g} %) cannot be read"
            most = f"more than data.max_bad_rows={self.settings.max_bad_rows:g}"
            raise DataError(f"{self.name}: {share}, {most}: {self._first_rejected()}", "look at these lines first")

    def _first_rejected(self) -> str:
        return "; ".join(f"{item['at']}: {item['problem']}" for item in self.rejected[:3])

    def _records(self) -> Iterator[dict[str, Any]]:
        number = 0
        for place in self.places:
            records = self._open(place)
            head = first_of(records)
            if not head:
                raise DataError(f"{place.name}: 0 rows", "the file holds a header at most" if place.files else None)
            self._stop_at(place, head)
            readable = any(isinstance(values, dict) for _, values in head)
            mapping, have = self._map(place, head) if readable else ({}, [])
            line, first = head[0]
            if self.how.names is not None and mapping_of.holds_names(first, mapping, self.columns):
                raise header_there(self._at(place, line), map(str, first.values()))
            row_of = mapping_of.mapper(
                mapping, self.columns, need_gold=self.need_gold, have=have, given=self.settings.columns
            )
            for line, values in itertools.chain(head, records):
                row = row_of(number, values) if isinstance(values, dict) else values
                if isinstance(row, Bad):
                    self._bad(place, line, row, values, number)
                    continue
                number += 1
                self.read = number
                yield row
        if number == 0:
            if self.missing:
                raise _columns_missing(self.name, self.missing)
            raise DataError(
                f"{self.name}: all {rows_text(self.skipped)} were skipped: {self._first_rejected()}",
                "look at these lines first",
            )

    def _stop_at(self, place: Place, head: Iterable[Record]) -> None:
        """A row that does not parse matters more than the columns of the others: say it first."""
        for line, values in head:
            if isinstance(values, Bad) and self.settings.on_bad_row == "error":
                raise self._error(place, line, values)

    def _bad(self, place: Place, line: int, bad: Bad, values: Any, number: int) -> None:
        if self.settings.on_bad_row == "skip":
            self.skipped += 1
            if len(self.rejected) < KEPT_BAD:
                self.rejected.append({"at": self._at(place, line, bad), "problem": bad.problem})
        elif isinstance(values, dict) and bad.problem.startswith("column "):
            self.missing.setdefault(bad.problem, []).append(f"{self._at(place, line, bad)}")
        else:
            raise self._error(place, line, bad)

    def _error(self, place: Place, line: int, bad: Bad) -> DataError:
        return DataError(
            f"{self._at(place, line, bad)}: {bad.problem}",
            "correct it, or skip and count such rows with data.on_bad_row=skip",
        )

    def _at(self, place: Place, line: int, bad: Bad | None = None) -> str:
        lined = place.files and form_of(place.files[0]) in ("jsonl", "csv", "tsv", "txt")
        path = str(place.files[0]) if place.files else place.name
        shown = _relative(path) if place.files else path
        if not lined:
            return f"{shown}: row {line}"
        return f"{shown}:{line}" + (f":{bad.column}" if bad and bad.column else "")

    def _map(self, place: Place, head: Sequence[Record]) -> tuple[Mapped, list[str]]:
        """The mapping of one place and the columns that it was made of, those of the first rows; places of one set must
        agree on which of the task's columns they have."""
        given = self.settings.columns
        if given and len(place.files) == 2:
            self.notes.append(f"data {place.name}: {PAIR}")
            given = {}
        try:
            mapping, have = self._matched(place, head, given)
        except DataError as error:
            if not self.mappings:
                raise
            raise DataError(f"{error.message}\n{self.places[0].name} has them", error.hint) from error
        if self.mappings and set(mapping) - {"id"} != set(self.mappings[0]) - {"id"}:
            differ = ", ".join(sorted((set(mapping) ^ set(self.mappings[0])) - {"id"}))
            message = f"the parts of the data differ: {self.places[0].name} and {place.name} do not both have {differ}"
            raise DataError(
                f"{message}\n  columns of {place.name}: {', '.join(have[:12])}", "give both the same columns"
            )
        if self.mappings and mapping != self.mappings[0]:
            mapped = ", ".join(f"{name}={mapping_of.shown(source)}" for name, source in mapping.items())
            self.notes.append(f"data {place.name}: columns {mapped}")
        self.mappings.append(mapping)
        return mapping, have

    def _matched(self, place: Place, head: Sequence[Record], given: Mapping[str, Any]) -> tuple[Mapped, list[str]]:
        """The mapping of the first rows; where they lack a column and rows may be skipped, that of all rows, which are
        read once more for that. Raises DataError."""

        def match(have: list[str], first: int | None, given: Mapping[str, Any] = given) -> tuple[Mapped, list[str]]:
            made = mapping_of.match(have, self.columns, given, need_gold=self.need_gold, where=place.name, first=first)
            return made, have

        if len(head) < PEEK or not _differing(place):
            return match(names_of(head), None)
        try:
            return match(names_of(head), len(head))
        except DataError:
            if self.settings.on_bad_row == "error":
                raise
        again = enumerate(place.records) if place.records is not None else read(place.files[0], self.how, _unsaid)
        early = {column.name: mapping_of.well_known(column, names_of(head)) for column in self.columns}
        kept = {name: found for name, found in early.items() if found is not None}  # what later rows do not change
        return match(names_of(again), None, {**kept, **given})

    def _open(self, place: Place) -> Iterator[Record]:
        if place.records is not None:
            return self._from_memory(place.records)
        if place.hub is not None:
            return self.hub[place.hub].records()
        if len(place.files) == 2:
            return read_pair(*place.files, self.how, self.notes.append)
        return read(place.files[0], self.how, self.notes.append)

    def _from_memory(self, records: Sequence[Mapping[str, Any]]) -> Iterator[Record]:
        digest = hashlib.sha256()
        for number, record in enumerate(records, 1):
            if not isinstance(record, Mapping):
                yield number, Bad(f"row is not a mapping but {type(record).__name__}")
                continue
            if has_lone_surrogate(record):
                yield number, Bad("text holds half of a surrogate pair (\\ud800 to \\udfff), which is no character")
                continue
            digest.update(json.dumps(record, ensure_ascii=False, default=str).encode() + b"\n")
            yield number, dict(record)
        self.content.append(digest.hexdigest())


def _differing(place: Place) -> bool:
    """Whether one row may have other columns than the next; in tables all have those of the header."""
    return place.records is not None or (len(place.files) == 1 and form_of(place.files[0]) in ("json", "jsonl"))


def _unsaid(line: str) -> None:
    """For lines that were said when the file was read first."""


def _relative(path: str) -> str:
    """A path inside the current directory without the directory."""
    try:
        return str(Path(path).relative_to(Path.cwd()))
    except (ValueError, OSError):
        return path


def _columns_missing(name: str, missing: Mapping[str, Sequence[str]]) -> DataError:
    """Rows that lack a column the others have."""
    lines = []
    for problem, places in missing.items():
        more = ", ..." if len(places) > 5 else ""
        lines.append(f"{problem} in {rows_text(len(places))} ({', '.join(places[:5])}{more})")
    return DataError(
        f"{name}: " + "\n".join(lines[:8]), "complete these rows, or skip and count them with data.on_bad_row=skip"
    )


def _digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, ensure_ascii=False, sort_keys=True).encode()).hexdigest()
