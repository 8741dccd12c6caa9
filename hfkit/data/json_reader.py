"""Readers of .json and .jsonl text; errors know line and column. Used by `readers`."""

from __future__ import annotations

import io
import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any

from hfkit.data.mrqa import expanded
from hfkit.data.records import EMPTY, Bad, Reading, Record, cut
from hfkit.errors import DataError


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object whose keys are all different; used by the JSON parser for every object."""
    found = dict(pairs)
    if len(found) != len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"the key '{twice}' stands twice in one object")
    return found


_parse = json.JSONDecoder(object_pairs_hook=_unique).decode
_MARK = os.urandom(16).hex()  # stands between lines that are parsed together; no file can know it
_TOGETHER = 1 << 16  # characters, or one line


def has_lone_surrogate(value: Any) -> bool:
    """Whether some text in a JSON value cannot be written as UTF-8, or is nested too deeply to be looked at."""
    try:
        json.dumps(value, ensure_ascii=False, default=str).encode("utf-8")
    except (UnicodeEncodeError, RecursionError):
        return True
    return False


def _row(value: Any, escapes: bool) -> dict[str, Any] | Bad:
    if not isinstance(value, dict):
        return Bad(f"row is not an object but {_kind(value)}")
    if escapes and has_lone_surrogate(value):
        return Bad("text holds half of a surrogate pair (\\ud800 to \\udfff), which is no character")
    return value


def _kind(value: Any) -> str:
    names = {list: "a list", str: "a text", bool: "true or false", type(None): "null", dict: "an object"}
    return names.get(type(value), "a number")


def _has_escapes(text: str) -> bool:
    return "\\ud" in text or "\\uD" in text


def read_jsonl(path: Path, handle: IO[str], how: Reading, say: Callable[[str], None]) -> Iterator[Record]:
    first = next((line for line in handle if not line.isspace()), "")
    handle.seek(0)
    start = first.lstrip()
    if start.startswith("[") or start.rstrip() == "{":
        whole = _whole(handle.read())
        handle.seek(0)
        if whole is not None:
            say(f"{path.name} holds one JSON value, not a row a line; read as .json")
            yield from _json_rows(path, whole, escapes=True)
            return
    elif start.startswith("<"):
        raise DataError(
            f"{path}: not JSON: starts with {cut(start, 20)}", "it looks like a web page: download the file itself"
        )
    yield from expanded(_lines(handle), say)


def _lines(handle: IO[str]) -> Iterator[Record]:
    first = 1
    while lines := handle.readlines(_TOGETHER):
        values = _together(lines)
        yield from _one_by_one(lines, first) if values is None else enumerate(values, first)
        first += len(lines)


def _together(lines: list[str]) -> list[dict[str, Any]] | None:
    """The objects of some lines by one call of the parser, in half the time; None where a line is anything else.

    That each line is one value, and no value goes over two lines, is shown by the marks: each is a value by itself.
    """
    text = f',"{_MARK}",'.join(lines)
    if _has_escapes(text):
        return None
    try:
        found = _parse(f"[{text}]")
    except (ValueError, RecursionError):
        return None
    values = found[::2]
    whole = len(found) == 2 * len(lines) - 1 and all(mark == _MARK for mark in found[1::2])
    return values if whole and set(map(type, values)) == {dict} else None


def _one_by_one(lines: list[str], first: int) -> Iterator[Record]:
    for number, line in enumerate(lines, first):
        text = line.strip(" \t\r\n")
        if not text:
            continue
        try:
            value = _parse(text)
        except (ValueError, RecursionError) as error:
            yield number, _broken(text, error, ends=line.endswith("\n"))
            continue
        yield number, _row(value, _has_escapes(text))


def _whole(text: str) -> Any:
    try:
        value = _parse(text)
    except (ValueError, RecursionError):
        return None
    listed = value.get("data") if isinstance(value, dict) else value
    return value if isinstance(listed, list) and all(isinstance(item, dict) for item in listed) else None


def _broken(text: str, error: Exception, *, ends: bool) -> Bad:
    """The words for a line of JSON that does not parse."""
    if isinstance(error, RecursionError):
        return Bad(f"nested too deeply: {cut(text)}")
    if not isinstance(error, json.JSONDecodeError):
        return Bad(f"{str(error).split(';')[0]}: {cut(text)}")
    if not ends and (error.pos >= len(text) - 1 or error.msg.startswith("Unterminated")):
        return Bad(f"line is cut short (file truncated?): {cut(text)}", error.colno)
    if text.startswith("{'"):
        return Bad(f"not JSON: names stand in single quotes, as Python writes them: {cut(text)}", error.colno)
    return Bad(f"not JSON ({error.msg}): {cut(text)}", error.colno)


def read_json(path: Path, handle: IO[str], how: Reading, say: Callable[[str], None]) -> Iterator[Record]:
    text = handle.read()
    start = text[:1000].lstrip()
    if not start and not text.strip():
        raise DataError(f"{path} is empty", EMPTY)
    if start.startswith("<"):
        raise DataError(
            f"{path}: not JSON: starts with {cut(start, 20)}", "it looks like a web page: download the file itself"
        )
    try:
        value = _parse(text)
    except json.JSONDecodeError as error:
        if error.msg == "Extra data" and start.startswith("{"):
            say(f"{path.name} holds a JSON object a line; read as .jsonl")
            yield from _lines(io.StringIO(text, newline="\n"))
            return
        line = text.split("\n", error.lineno)[error.lineno - 1]
        if error.pos >= len(text.rstrip()) - 1 or error.msg.startswith("Unterminated"):
            raise DataError(
                f"{path}:{error.lineno}:{error.colno}: file is cut short (truncated?)", "download it again"
            ) from error
        bad = _broken(line or text[:80], error, ends=True)
        raise DataError(f"{path}:{error.lineno}:{error.colno}: {bad.problem}", "correct it there") from error
    except (ValueError, RecursionError) as error:
        reason = "nested too deeply" if isinstance(error, RecursionError) else error
        raise DataError(f"{path}: {reason}", "correct it there") from error
    escapes = _has_escapes(text)
    del text
    yield from _json_rows(path, value, escapes=escapes)


def _json_rows(path: Path, value: Any, *, escapes: bool) -> Iterator[Record]:
    """Rows of a parsed .json: an array of rows, {"data": [...]}, or SQuAD's nesting; one object is one row."""
    items = value.get("data", [value]) if isinstance(value, dict) else value
    if not isinstance(items, list):
        raise DataError(
            f"{path}: holds {_kind(items)}, not rows", "a .json is an array of objects, or SQuAD's nested form"
        )
    number = 0
    for item in items:
        rows = _flatten(item) if isinstance(item, dict) and "paragraphs" in item else [item]
        for row in rows:
            number += 1
            yield number, row if isinstance(row, Bad) else _row(row, escapes)


def _flatten(article: dict[str, Any]) -> Iterator[Any]:
    """The questions of one SQuAD article, each with title and context (id, title, context, question, ...)."""
    paragraphs = article["paragraphs"]
    if not isinstance(paragraphs, list):
        yield Bad("paragraphs is not a list")
        return
    title = {"title": article["title"]} if "title" in article else {}
    for paragraph in paragraphs:
        if not isinstance(paragraph, dict) or "context" not in paragraph or not isinstance(paragraph.get("qas"), list):
            yield Bad("a paragraph needs a context and a list qas")
            continue
        for question in paragraph["qas"]:
            if not isinstance(question, dict):
                yield Bad("an entry of qas is not an object")
                continue
            yield title | {"context": paragraph["context"]} | question
