"""From the data's columns to the task's: by data.columns or by well-known names, never by position."""

from __future__ import annotations

import difflib
import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from hfkit.data.records import Bad
from hfkit.errors import DataError, UsageError
from hfkit.tasks.base import Column

Mapped = dict[str, str | list[str]]  # task column -> the data's column, or its columns (several label columns)


def match(
    have: Sequence[str], columns: Sequence[Column], given: Mapping[str, str | list[str]], *, need_gold: bool, where: str
) -> Mapped:
    """Which data column each task column is read from; a task column that the data lacks and may lack is left out.

    data.columns may also name `column.key` of a column that holds objects.
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
        raise _missing(missing, have, columns, given, mapping, where)
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


def _missing(
    missing: Sequence[str],
    have: Sequence[str],
    columns: Sequence[Column],
    given: Mapping[str, str | list[str]],
    mapping: Mapped,
    where: str,
) -> DataError:
    """The table of needed and present columns, with the nearest name for each that is missing."""
    free = [name for name in have if name not in mapping.values()]
    suggestion = ""
    lines = [f"{where}: no column for {', '.join(missing)}", f"  {'need':<14} have"]
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


def mapper(
    mapping: Mapped, columns: Sequence[Column], *, need_gold: bool
) -> Callable[[int, dict[str, Any]], dict[str, Any] | Bad]:
    """A function (row number, data row) -> the task's row: task columns, then the data's others by their own names.

    `id` is always a string, the row's number where the data has none; `answers` become a list of {"text", "start"};
    several label columns become {column: value}. A row that lacks a mapped column that it must have is Bad.
    """
    optional = {column.name for column in columns if column.gold and not need_gold}
    taken = {name for source in mapping.values() for name in ([source] if isinstance(source, str) else source)}
    taken |= {column.name for column in columns}
    plan = [(name, source) for name, source in mapping.items() if name != "id"]
    id_column = mapping.get("id")
    answered = "answers" in mapping

    def row_of(number: int, raw: dict[str, Any]) -> dict[str, Any] | Bad:
        row: dict[str, Any] = {"id": str(number)}
        if isinstance(id_column, str):
            value = cell(raw, id_column)
            if value is None:
                return Bad(f"column '{id_column}' is {'null' if id_column in raw else 'missing'}")
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
        if answered and "answers" in row:
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


def answers_of(value: Any, start: Any = None) -> list[dict[str, Any]] | Bad | None:
    """Gold answers in any published form as [{"text", "start"}, ...]; None when there is no gold.

    Forms: SQuAD's list of {"text", "answer_start"}, Hugging Face's {"text": [...], "answer_start": [...]} (also as JSON
    in a text field), a list of texts, or one text with its start in a column of its own (an empty text is no answer).
    """
    try:
        return _answers_of(value, start)
    except (TypeError, ValueError, OverflowError):  # infinity is no whole number either
        return Bad("an answer_start is not a whole number")


def _answers_of(value: Any, start: Any) -> list[dict[str, Any]] | Bad | None:
    if value is None:
        return None
    if isinstance(value, str):
        if value[:1] in ("{", "["):
            try:
                return answers_of(json.loads(value))
            except (ValueError, RecursionError):
                if value.startswith(("{'", "[{'", "['")):
                    return Bad("answers are written as Python prints them, not as JSON")
        return [{"text": value, "start": _start(start)}] if value else []
    if isinstance(value, dict):
        texts, starts = value.get("text"), value.get("answer_start", value.get("start"))
        if isinstance(texts, str):
            texts, starts = [texts], [starts] if not isinstance(starts, list) else starts
        if not isinstance(texts, list) or (
            starts is not None and (not isinstance(starts, list) or len(starts) != len(texts))
        ):
            return Bad("answers need as many answer_start as text")
        pairs = list(zip(texts, starts if starts is not None else [None] * len(texts), strict=True))
    elif isinstance(value, list):
        pairs = []
        for item in value:
            if isinstance(item, dict):
                pairs.append((item.get("text"), item.get("answer_start", item.get("start"))))
            else:
                pairs.append((item, None))
    else:
        return Bad(f"answers are neither a list nor an object but {type(value).__name__}")
    if not all(isinstance(text, str) for text, _ in pairs):
        return Bad("an answer has no text")
    return [{"text": text, "start": _start(position)} for text, position in pairs]


def _start(value: Any) -> int | None:
    """An offset as published (may be negative); None when absent. Raises ValueError or TypeError."""
    if value is None or value == "":
        return None
    if isinstance(value, float) and value != int(value):
        raise ValueError(value)
    return int(value)
