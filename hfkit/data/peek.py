"""The records of a data set under their own column names, before any task is known; `init` looks at them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from hfkit.data.readers import form_of, read, read_pair
from hfkit.data.records import Bad, Reading, Record
from hfkit.data.source import Place, locate
from hfkit.errors import DataError
from hfkit.recipe.keys import Data

MOST = 50_000  # records looked at, from the beginning of the set


@dataclass(frozen=True, slots=True)
class Peek:
    """What stands at the beginning of a data set."""

    name: str
    records: list[dict[str, Any]]
    complete: bool  # whether these are all
    text: str | None = None  # of a .txt: its text instead of records
    unreadable: int = 0
    columns: list[str] = field(default_factory=list)  # names, in the order they come


def peek(spec: Any, settings: Data, split: str | None, *, offline: bool, most: int = MOST) -> Peek:
    """The first records of a data set. Raises DataError, NetworkError, UsageError."""
    places = locate(spec, split)
    names = tuple(settings.names) if settings.names is not None else None
    how = Reading(encoding=settings.encoding, names=names, stream=True)
    found: list[dict[str, Any]] = []
    unreadable, complete, first_bad = 0, True, ""
    for place in places:
        records = _records(place, how, offline)
        for number, values in islice(records, most - len(found)):
            if isinstance(values, Bad):
                unreadable += 1
                first_bad = first_bad or f" (line or row {number}: {values.problem})"
            else:
                found.append(values)
        complete = next(records, None) is None
        if len(found) + unreadable >= most:
            complete = complete and place is places[-1]
            break
    if not found:
        raise DataError(f"{spec}: 0 rows that can be read{first_bad}", "look at the file first")
    columns = list(dict.fromkeys(name for record in found[:1000] for name in record))
    text = None
    if all(place.files and form_of(place.files[0]) == "txt" for place in places) and len(places[0].files) == 1:
        text = "".join(record["text"] for record in found)
    return Peek(str(spec), found, complete, text, unreadable, columns)


def _records(place: Place, how: Reading, offline: bool) -> Iterator[Record]:
    if place.hub is not None:
        from hfkit.data import hub

        return iter(hub.open_split(place.hub, offline=offline).records())
    if place.records is not None:
        return iter(enumerate((dict(record) for record in place.records), 1))
    if len(place.files) == 2:
        return read_pair(*place.files, how, lambda _: None)
    return read(place.files[0], how, lambda _: None)
