"""From the data's columns to the task's: by data.columns or by well-known names, never by position."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeGuard

from hfkit.data.answers import answers_of
from hfkit.data.records import Bad
from hfkit.errors import DataError, UsageError
from hfkit.tasks.base import Column

Mapped = dict[str, str | list[str]]  # task column -> the data's column, or its columns (several label columns)


def match(
    have: Sequence[str],
    columns: Sequence[Column],
    given: Mapping[str, str | list[str]],
    *,
    need_gold: bool,
    where: str,
    first: int | None = None,
) -> Mapped:
    """Which data column each task column is read from; a task column that the data lacks and may lack is left out.

    data.columns may also name `column.key` of a column that holds objects. `first`: only so many rows, the first ones,
    were looked at, and later ones may have other columns.
    The order: data.columns, the task's own name, its well-known names, the same names in another case. Raises
    UsageError for a key of data.columns that is no column of the task, DataError with a table of need and have.
    """
    names = [column.name for column in columns]
    for name in given:
        if name not in names:
            near = difflib.get_close_matches(name, names, 1)
            hint = f"did you mean data.columns.{near[0]}?" if near else f"the task's columns are {', '.join(names)}"
            raise UsageError(f"data.columns.{name}: the task has no column '{name}'", hint)
    mapping: Mapped = {}
    missing: list[str] = []
    for column in columns:
        wanted = given.get(column.name)
        if wanted is not None:
            absent = [name for name in ([wanted] if isinstance(wanted, str) else wanted) if not _there(name, have)]
            if not absent:
                mapping[column.name] = wanted
            elif column.required or not column.gold or need_gold:
                missing.append(column.name)
            continue
        found = well_known(column, have)
        if found is not None:
            mapping[column.name] = found
        elif (column.required and not column.gold) or (column.gold and need_gold):
            missing.append(column.name)
    if missing:
        among = "" if first is None else f" in the first {first:,} rows"
        error = _missing(missing, have, columns, given, mapping, where, among)
        if first is not None:
            error.hint = f"{error.hint}; if it comes later, data.on_bad_row=skip leaves out the rows without it"
        raise error
    return mapping


def _there(name: str, have: Sequence[str]) -> bool:
    """Whether a name is a column, or `column.key` of one that holds objects, as `translation.en` in Hub data sets."""
    return name in have or ("." in name and name.partition(".")[0] in have)


def cell(raw: Mapping[str, Any], source: str) -> Any:
    """The value of a column, or of `column.key` where no column has that name."""
    return raw[source] if source in raw else _inside(raw, source)


def _inside(raw: Mapping[str, Any], source: str) -> Any:
    """The value of `column.key`; None where the column holds no object with that key."""
    column, _, inner = source.partition(".")
    return raw[column].get(inner) if isinstance(raw.get(column), Mapping) else None


def well_known(column: Column, have: Sequence[str]) -> str | None:
    """The data column that has the task column's name or one of its well-known names, also in another case."""
    names = (column.name, *column.aliases)
    for name in names:
        if name in have:
            return name
    for name in names:
        same = [other for other in have if other.strip().lower() == name.lower()]
        if len(same) == 1:
            return same[0]
    return None


def holds_names(raw: Any, mapping: Mapped, columns: Sequence[Column]) -> TypeGuard[Mapping[str, Any]]:
    """Whether a row is a header taken for a row: where each mapped column but the id should have a value, its name."""
    read = [(column, mapping[column.name]) for column in columns if column.name in mapping and column.name != "id"]
    return (
        isinstance(raw, Mapping)
        and bool(read)
        and all(
            isinstance(source, str) and well_known(column, [str(raw.get(source))]) is not None
            for column, source in read
        )
    )


def _missing(
    missing: Sequence[str],
    have: Sequence[str],
    columns: Sequence[Column],
    given: Mapping[str, str | list[str]],
    mapping: Mapped,
    where: str,
    among: str,
) -> DataError:
    """The table of needed and present columns, with the nearest name for each that is missing."""
    free = [name for name in have if name not in mapping.values()]
    suggestion = ""
    lines = [f"{where}: no column for {', '.join(missing)}{among}", f"  {'need':<14} have"]
    for column in columns:
        if column.name in mapping:
            lines.append(f"  {column.name:<14} {shown(mapping[column.name])}")
        elif column.name in missing:
            wanted = given.get(column.name)
            near = _nearest(column, free, wanted if isinstance(wanted, str) else None)
            suggestion = suggestion or (f"data.columns.{column.name}={near}" if near else "")
            asked = f" (data.columns says '{shown(wanted)}')" if wanted is not None else ""
            lines.append(f"  {column.name:<14} -{asked}" + (f"   nearest: {near}" if near else ""))
    listed = ", ".join(_cut(name) for name in have[:12]) + (", ..." if len(have) > 12 else "")
    lines.append(f"the data's columns: {listed or 'none'}")
    return DataError("\n".join(lines), _advice(missing, have, suggestion))


def _advice(missing: Sequence[str], have: Sequence[str], suggestion: str) -> str:
    if len(have) == 1 and any(mark in have[0] for mark in "\t;|"):
        mark = next(mark for mark in "\t;|" if mark in have[0])
        shown_mark = "a tab" if mark == "\t" else f"'{mark}'"
        return f"the fields seem to be separated by {shown_mark}: write them with commas (.csv) or tabs (.tsv)"
    if suggestion:
        return f"say which column it is, e.g. {suggestion}"
    return f"say which column it is: data.columns.{missing[0]}=NAME; a csv or tsv without a header needs data.names"


def _nearest(column: Column, free: Sequence[str], wanted: str | None) -> str | None:
    lowered = {name.lower(): name for name in free}
    for name in ([wanted] if wanted else []) + [column.name, *column.aliases]:
        near = difflib.get_close_matches(name.lower(), list(lowered), 1, cutoff=0.7)
        if near:
            return lowered[near[0]]
    return None


def _cut(name: str) -> str:
    line = " ".join(name.split())
    return line if len(line) <= 40 else line[:37] + "..."


def shown(source: str | list[str] | None) -> str:
    """A mapping's right side as text: several columns are joined by ", "."""
    return source if isinstance(source, str) else ", ".join(source or ())


def _unread(columns: Sequence[Column], mapping: Mapped, given: Mapping[str, str | list[str]]) -> dict[str, Column]:
    """The columns of the task that nothing was mapped to, by the names in lower case that they may come under."""
    found: dict[str, Column] = {}
    for column in columns:
        asked = given.get(column.name)
        if column.name not in mapping:
            for name in (column.name, *column.aliases) if asked is None else [asked] if isinstance(asked, str) else ():
                found.setdefault(name.lower(), column)
    return found


def mapper(
    mapping: Mapped,
    columns: Sequence[Column],
    *,
    need_gold: bool,
    have: Sequence[str],
    given: Mapping[str, str | list[str]],
) -> Callable[[int, dict[str, Any]], dict[str, Any] | Bad]:
    """A function (row number, data row) -> the task's row: task columns, then the data's others by their own names.

    `id` is always a string, the row's number where the row has none and data.columns does not name one; `answers`
    become a list of {"text", "start"}; several label columns become {column: value}. A row that lacks a mapped column
    that it must have is Bad.

    `have` and `given` are what `mapping` was made of: columns of the first rows, data.columns. A column of the task
    that comes later is added to `mapping` where rows may lack it (an id, gold that is not needed); else the row is
    Bad, since the rows before were read without it.
    """
    optional = {column.name for column in columns if column.gold and not need_gold}
    unread, known = _unread(columns, mapping, given), set(have)
    taken = {name for source in mapping.values() for name in ([source] if isinstance(source, str) else source)}
    taken |= {column.name for column in columns}
    plan = [(name, source) for name, source in mapping.items() if name != "id"]
    id_column = mapping.get("id")

    def late(raw: dict[str, Any]) -> Bad | None:
        """What to make of columns that the first rows did not have: others than the task's are kept like any."""
        nonlocal id_column
        for name in raw.keys() - known:
            column = unread.get(str(name).strip().lower())
            if column is None or raw[name] is None:
                continue
            if column.name == "id":
                id_column = mapping["id"] = mapping.get("id", name)
                taken.add(name)
                continue
            if column.name not in optional:
                called = "" if name == column.name else f" (the task's {column.name})"
                return Bad(f"has a column '{name}'{called} that the first rows lack: give it to all rows, or to none")
            if column.name not in mapping:
                mapping[column.name] = name
                plan.append((column.name, name))
                taken.add(name)
        return None

    def row_of(number: int, raw: dict[str, Any]) -> dict[str, Any] | Bad:
        if unread and not known.issuperset(raw) and (bad := late(raw)) is not None:
            return bad
        row: dict[str, Any] = {"id": str(number)}
        if isinstance(id_column, str):
            value = cell(raw, id_column)
            if value is None and ("id" in given or id_column in raw):
                return Bad(f"column '{id_column}' is {'null' if id_column in raw else 'missing'}")
            if value is not None:
                row["id"] = value if type(value) is str else str(value)
        for name, source in plan:
            if isinstance(source, list):
                absent = [part for part in source if part not in raw and _inside(raw, part) is None]
                if not absent:
                    row[name] = {part: cell(raw, part) for part in source}
                elif name not in optional:
                    return Bad(f"column '{absent[0]}' is missing")
            elif source in raw:
                row[name] = raw[source]
            elif (value := _inside(raw, source)) is not None:
                row[name] = value
            elif name not in optional:
                return Bad(f"column '{source}' is missing")
        if "answers" in row:
            answers = answers_of(row["answers"], raw.get("answer_start"))
            if answers is None:
                del row["answers"]
            elif isinstance(answers, Bad):
                return answers
            else:
                row["answers"] = answers
        for name, value in raw.items():
            if name not in taken:
                row[name] = value
        return row

    return row_of
