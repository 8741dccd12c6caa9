"""Checks of rows, as functions that yield findings; a task's `findings` calls them, for training and `data check`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal

from hfkit.data.findings import SHOWN, Finding, Level
from hfkit.errors import DataError

if TYPE_CHECKING:
    import numpy as np

    from hfkit.tasks.base import Row

MOST_EMPTY = 0.1  # share of training texts that may be empty
NEAR = 5  # characters that an offset may be off and still mean the nearest of several places


def scoring_columns(rows: Sequence[Row], slices: Sequence[str], group: str | None) -> None:
    """Raise DataError for a column of data.slices or data.group that no row has."""
    for key, name in [*(("data.slices", name) for name in slices), *([("data.group", group)] if group else [])]:
        if not any(name in row for row in rows):
            have = ", ".join(map(str, list(rows[0])[:12]))
            raise DataError(f"{key} names '{name}', which is no column of the data", f"its columns are {have}")


def rows_text(count: int) -> str:
    """A count of rows in words: "1 row", "1,024 rows"."""
    return f"{count:,} row" + ("" if count == 1 else "s")


def first_ids(ids: Sequence[str], count: int) -> str:
    """`(ids 'a', 'b', ...)`: the first ids of `count` rows."""
    named = ", ".join(f"'{_cut(value)}'" for value in ids[:SHOWN])
    return f"({'id' if count == 1 else 'ids'} {named}{', ...' if count > len(ids[:SHOWN]) else ''})"


def _cut(value: Any, size: int = 40) -> str:
    text = str(value)
    return text if len(text) <= size else text[: size - 3] + "..."


class Tally:
    """A count of rows with their first ids."""

    def __init__(self) -> None:
        self.count = 0
        self.ids: list[str] = []

    def add(self, row: Row) -> None:
        self.count += 1
        if len(self.ids) < SHOWN:
            self.ids.append(row["id"])

    def finding(self, level: Level, code: str, words: str) -> Finding:
        message = f"{words} in {rows_text(self.count)} {first_ids(self.ids, self.count)}"
        return Finding(level, code, message, self.count, tuple(self.ids))


def text_column(
    rows: Sequence[Row], column: str, *, empty: Literal["warning", "failure"], most: float = 1.0
) -> Iterator[Finding]:
    """Nulls and values that are not text are failures; empty or whitespace-only texts are what `empty` says.

    More than the share `most` of empty texts is a failure.
    """
    null, other, blank = Tally(), Tally(), Tally()
    for row in rows:
        value = row.get(column)
        if value is None:
            null.add(row)
        elif not isinstance(value, str):
            other.add(row)
        elif not value or value.isspace():
            blank.add(row)
    if null.count:
        yield null.finding("failure", "null_text", f"{column} is null")
    if other.count:
        yield other.finding("failure", "not_text", f"{column} is not text")
    if blank.count > most * len(rows):
        found = blank.finding("failure", "empty_text", f"{column} is empty")
        yield replace(found, message=f"{found.message}: more than {100 * most:g} % of {len(rows):,}")
    elif blank.count:
        yield blank.finding(empty, "empty_text", f"{column} is empty")


def long_texts(rows: Sequence[Row], column: str, most: int) -> Iterator[Finding]:
    """Texts of more than `most` characters are failures: one row would fill the memory with its windows."""
    long = Tally()
    for row in rows:
        if isinstance(row.get(column), str) and len(row[column]) > most:
            long.add(row)
    if long.count:
        yield long.finding("failure", "long_text", f"{column} is longer than {most:,} characters")


def duplicate_ids(rows: Sequence[Row], level: Literal["warning", "failure"]) -> Iterator[Finding]:
    """Ids that occur more than once; `count` is the number of rows beyond the first of each id.

    Memory is 8 bytes a row: hashes are compared first, then only the suspects' ids.
    """
    import numpy as np

    hashes = np.fromiter((hash(row["id"]) for row in rows), dtype=np.int64, count=len(rows))
    suspects = repeated(hashes)
    if not len(suspects):
        return
    places = np.flatnonzero(np.isin(hashes, suspects))
    counts = Counter(rows[int(place)]["id"] for place in places)
    twice = [name for name, times in counts.items() if times > 1]
    extra = sum(counts[name] - 1 for name in twice)
    if twice:
        are = "ids are" if len(twice) > 1 else "id is"
        message = f"{len(twice):,} {are} given to more than one row {first_ids(twice, len(twice))}"
        yield Finding(level, "duplicate_ids", message, extra, tuple(twice[:SHOWN]))


def repeated(keys: np.ndarray) -> np.ndarray:
    """The values that occur more than once, sorted."""
    import numpy as np

    ordered = np.sort(keys)
    return np.unique(ordered[1:][ordered[1:] == ordered[:-1]])


def answers_located(rows: Sequence[Row]) -> Iterator[Finding]:
    """Where the answers of qa rows stand: at their offset, elsewhere (once, or in other units), or nowhere.

    Offsets count code points. A start is also tried in UTF-16 units (JavaScript tools) and in UTF-8 bytes. Yields one
    "good" finding when all stand at their offsets, else a warning with the counts. `count` is in answers, not rows.
    """
    where, ids = answer_places(rows)
    total = sum(where.values())
    off = total - where["offset"]
    if not total:
        return
    if not off:
        yield Finding("good", "answers_located", f"all {total:,} answers stand at their offsets", total)
        return
    kinds = {
        "utf-16": "offset in UTF-16 units",
        "bytes": "offset in bytes",
        "once": "found once elsewhere",
        "near": "found near its offset",
        "several": "found several times elsewhere",
        "nowhere": "not in the context",
        "empty": "without text",
    }
    parts = ", ".join(f"{where[kind]:,} {words}" for kind, words in kinds.items() if where[kind])
    message = f"{off:,} of {total:,} answers do not stand at their offset: {parts} {first_ids(ids, off)}"
    yield Finding("warning", "answers_not_located", message, off, tuple(ids))


def answer_places(rows: Sequence[Row]) -> tuple[Counter[str], list[str]]:
    """How many answers stand where (see `locate_answer`), and the first ids of rows whose offsets do not fit.

    Rows whose context is no text are left out: that is another finding. So are answers that come without an offset
    beside one that has its own: they are other words for it, as MRQA's files have them.
    """
    where: Counter[str] = Counter()
    ids: list[str] = []
    for row in rows:
        if not isinstance(row.get("context"), str):
            continue
        answers = row.get("answers") or ()
        placed = any(answer["start"] is not None for answer in answers)
        for answer in answers:
            if placed and answer["start"] is None:
                continue
            place, _ = locate_answer(row["context"], answer["text"], answer["start"])
            where[place] += 1
            if place != "offset" and len(ids) < SHOWN and (not ids or ids[-1] != row["id"]):
                ids.append(row["id"])
    return where, ids


def locate_answer(context: str, text: str, start: int | None) -> tuple[str, int | None]:
    """How an answer's offset fits, and the code point where the answer stands; None when that is not certain.

    In turn: "offset" (it stands there); "utf-16" or "bytes" (it does when the offset counts such units); "once" (the
    text stands only elsewhere, once); "near" (of several places one is at most `NEAR` characters off, as after a
    stripped space); "several"; "nowhere"; and "empty" for a text that is blank.
    """
    if not text.strip():
        return "empty", None
    if start is not None and start >= 0:
        if context.startswith(text, start):
            return "offset", start
        if text and not context.isascii():
            for kind, encoding, width in (("utf-16", "utf-16-le", 2), ("bytes", "utf-8", 1)):
                point = _in_units(context, start * width, encoding)
                if point is not None and context.startswith(text, point):
                    return kind, point
    first = context.find(text) if text else -1
    if first < 0:
        return "nowhere", None
    if context.find(text, first + 1) < 0:
        return "once", first
    if start is not None:
        near = [place for place in range(max(0, start - NEAR), start + NEAR + 1) if context.startswith(text, place)]
        if len(near) == 1:
            return "near", near[0]
    return "several", None


def _in_units(context: str, units: int, encoding: str) -> int | None:
    """The code point at a number of bytes of an encoding; None inside a character and beyond the end."""
    raw = context.encode(encoding, "surrogatepass")
    try:
        return len(raw[:units].decode(encoding)) if units <= len(raw) else None
    except UnicodeError:
        return None


def overlap(train: Sequence[Row], validation: Sequence[Row], columns: Sequence[str]) -> Iterator[Finding]:
    """Validation rows whose `columns` all equal those of some training row; `count` is in validation rows."""
    import numpy as np

    def keys(rows: Sequence[Row]) -> np.ndarray:
        return np.fromiter(
            (hash(tuple(str(row.get(name)) for name in columns)) for row in rows), np.int64, count=len(rows)
        )

    if not len(train) or not len(validation):
        return
    shared = np.flatnonzero(np.isin(keys(validation), keys(train)))
    if len(shared):
        ids = tuple(validation[int(place)]["id"] for place in shared[:SHOWN])
        share = 100 * len(shared) / len(validation)
        words = f"{len(shared):,} of {len(validation):,} validation rows ({share:.1f} %) stand in the training data too"
        message = f"{words}, by {', '.join(columns)} {first_ids(ids, len(shared))}"
        yield Finding("warning", "overlap", message, len(shared), ids)
