"""Readers of local files, one for each form; they know file and line. Used by `load`; parquet is read by `arrow`."""

from __future__ import annotations

import csv
import gzip
import io
import itertools
import json
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from hfkit.data import encodings
from hfkit.errors import DataError

FORMS = {
    ".json": "json",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".csv": "csv",
    ".tsv": "tsv",
    ".parquet": "parquet",
    ".txt": "txt",
}
FORM_NAMES = ".json, .jsonl, .csv, .tsv, .parquet, .txt (each also with .gz)"


@dataclass(frozen=True, slots=True)
class Bad:
    """A row that cannot be read, and why; the caller stops at it or skips and counts it."""

    problem: str
    column: int | None = None


Record = tuple[int, dict[str, Any] | Bad]  # line from 1 (row number from 1 where a form has no lines), values


@dataclass(frozen=True, slots=True)
class Reading:
    """How a file is read: its encoding, the names of a headerless csv or tsv, whether a .txt is one stream."""

    encoding: str = "utf-8"
    names: tuple[str, ...] | None = None
    stream: bool = False


def form_of(path: Path) -> str | None:
    """The form of a file by its name ("json", "jsonl", "csv", "tsv", "parquet", "txt"), None when unknown."""
    suffixes = [suffix.lower() for suffix in path.suffixes]
    if suffixes and suffixes[-1] == ".gz":
        suffixes.pop()
    return FORMS.get(suffixes[-1]) if suffixes else None


def read(path: Path, how: Reading, say: Callable[[str], None]) -> Iterator[Record]:
    """The records of one file, in order. `say` gets lines the user should see.

    Raises DataError for what concerns the whole file: unreadable, empty, another encoding, not the form its name says.
    """
    form = form_of(path)
    if form is None:
        raise DataError(f"{path}: unknown form", f"known forms are {FORM_NAMES}")
    if form == "parquet":
        from hfkit.data import arrow

        yield from arrow.read_parquet(path)
        return
    try:
        if path.stat().st_size == 0:
            raise DataError(f"{path} is empty (0 bytes)")
        encodings.refuse_wide(path, how.encoding, _open_bytes)
        with _open(path, how.encoding) as handle:
            yield from _READERS[form](path, handle, how, say)
    except UnicodeDecodeError as error:
        raise encodings.undecodable(path, how.encoding, _open_bytes) from error
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise DataError(f"{path}: damaged gzip file ({error})", "download or compress it again") from error
    except LookupError as error:
        raise DataError(
            f"unknown encoding '{how.encoding}'", "data.encoding takes names such as utf-8, utf-16, gb18030, latin-1"
        ) from error
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror or error})") from error


def _open_bytes(path: Path) -> IO[bytes]:
    return gzip.open(path, "rb") if path.suffix.lower() == ".gz" else open(path, "rb")


def _open(path: Path, encoding: str) -> io.TextIOWrapper:
    """Text with newlines as they stand; a byte order mark of UTF-8 is not text."""
    name = "utf-8-sig" if encodings.is_utf8(encoding) else encoding
    return io.TextIOWrapper(_open_bytes(path), encoding=name, newline="\n")  # type: ignore[arg-type]


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object whose keys are all different; used by the JSON parser for every object."""
    found = dict(pairs)
    if len(found) != len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"the key '{twice}' stands twice in one object")
    return found


_parse = json.JSONDecoder(object_pairs_hook=_unique).decode


def has_lone_surrogate(value: Any) -> bool:
    """Whether some text in a JSON value cannot be written as UTF-8."""
    try:
        json.dumps(value, ensure_ascii=False, default=str).encode("utf-8")
    except UnicodeEncodeError:
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


def _jsonl(path: Path, handle: IO[str], how: Reading, say: Callable[[str], None]) -> Iterator[Record]:
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
            f"{path}: not JSON: starts with {_shown(start, 20)}", "it looks like a web page: download the file itself"
        )
    yield from _lines(handle)


def _lines(handle: IO[str]) -> Iterator[Record]:
    for number, line in enumerate(handle, 1):
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
        return Bad(f"nested too deeply: {_shown(text)}")
    if not isinstance(error, json.JSONDecodeError):
        return Bad(f"{error}: {_shown(text)}")
    if not ends and (error.pos >= len(text) - 1 or error.msg.startswith("Unterminated")):
        return Bad(f"line is cut short (file truncated?): {_shown(text)}", error.colno)
    if text.startswith("{'"):
        return Bad(f"not JSON: names stand in single quotes, as Python writes them: {_shown(text)}", error.colno)
    return Bad(f"not JSON ({error.msg}): {_shown(text)}", error.colno)


def _shown(text: str, size: int = 80) -> str:
    """One line of at most `size` characters, control characters escaped."""
    line = "".join(char if char.isprintable() else " " for char in text[: size + 1].split("\n", 1)[0])
    return line if len(line) <= size else line[: size - 3] + "..."


def _json(path: Path, handle: IO[str], how: Reading, say: Callable[[str], None]) -> Iterator[Record]:
    text = handle.read()
    start = text[:1000].lstrip()
    if not start and not text.strip():
        raise DataError(f"{path} is empty")
    if start.startswith("<"):
        raise DataError(
            f"{path}: not JSON: starts with {_shown(start, 20)}", "it looks like a web page: download the file itself"
        )
    try:
        value = _parse(text)
    except json.JSONDecodeError as error:
        if error.msg == "Extra data" and start.startswith("{"):
            say(f"{path.name} holds a JSON object a line; read as .jsonl")
            yield from _lines(io.StringIO(text, newline="\n"))
            return
        line = text.splitlines()[error.lineno - 1] if error.lineno <= text.count("\n") + 1 else ""
        if error.pos >= len(text.rstrip()) - 1 or error.msg.startswith("Unterminated"):
            raise DataError(
                f"{path}:{error.lineno}:{error.colno}: file is cut short (truncated?)", "download it again"
            ) from error
        bad = _broken(line or text[:80], error, ends=True)
        raise DataError(f"{path}:{error.lineno}:{error.colno}: {bad.problem}") from error
    except (ValueError, RecursionError) as error:
        reason = "nested too deeply" if isinstance(error, RecursionError) else error
        raise DataError(f"{path}: {reason}") from error
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
    """The questions of one SQuAD article, each with its context and title (id, title, context, question, answers, ...)."""
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


def _csv(path: Path, handle: IO[str], how: Reading, say: Callable[[str], None]) -> Iterator[Record]:
    csv.field_size_limit(2**31 - 1)
    reader = csv.reader(handle, strict=True)
    names: list[str] | None = None if how.names is None else list(how.names)
    while True:
        line = reader.line_num + 1
        try:
            fields = next(reader, None)
        except csv.Error as error:
            what = "a quote is opened and never closed" if "unexpected end" in str(error) else str(error)
            yield line, Bad(what)
            if "unexpected end" in str(error):
                return
            continue
        if fields is None:
            return
        if not fields:
            continue
        if names is None:
            names = _header(path, fields)
            continue
        yield line, _fields(fields, names)


def _tsv(path: Path, handle: IO[str], how: Reading, say: Callable[[str], None]) -> Iterator[Record]:
    """Fields between tabs, quotes are text: GLUE's files hold bare ones."""
    names: list[str] | None = None if how.names is None else list(how.names)
    for number, line in enumerate(handle, 1):
        text = line.rstrip("\r\n")
        if not text:
            continue
        fields = text.split("\t")
        if names is None:
            names = _header(path, fields)
            continue
        yield number, _fields(fields, names)


def _header(path: Path, fields: list[str]) -> list[str]:
    twice = [name for name in fields if fields.count(name) > 1]
    if twice:
        raise DataError(
            f"{path}:1: the header names '{twice[0]}' twice",
            "rename one, or give data.names when the file has no header",
        )
    return fields


def _fields(fields: list[str], names: list[str]) -> dict[str, Any] | Bad:
    if len(fields) != len(names):
        return Bad(f"{len(fields)} fields where the header has {len(names)}: {_shown(','.join(fields))}")
    return dict(zip(names, fields, strict=True))


def _txt(path: Path, handle: IO[str], how: Reading, say: Callable[[str], None]) -> Iterator[Record]:
    """One row with the whole text for a stream, else a row a line, its line end removed."""
    if how.stream:
        text = handle.read()
        if text:
            yield 1, {"text": text}
        return
    for number, line in enumerate(handle, 1):
        yield number, {"text": line.rstrip("\r\n")}


_READERS: dict[str, Callable[[Path, IO[str], Reading, Callable[[str], None]], Iterator[Record]]] = {
    "json": _json,
    "jsonl": _jsonl,
    "csv": _csv,
    "tsv": _tsv,
    "txt": _txt,
}


def read_pair(first: Path, second: Path, how: Reading, say: Callable[[str], None]) -> Iterator[Record]:
    """Rows of two line-aligned text files: source from the first, target from the second."""
    lines = Reading(encoding=how.encoding)
    left, right = (_pair_lines(path, lines) for path in (first, second))
    for number, (source, target) in enumerate(itertools.zip_longest(left, right), 1):
        if source is None or target is None:
            short, longer = (first, second) if source is None else (second, first)
            raise DataError(
                f"{short} ends at line {number - 1}, {longer} goes on",
                "the files of a pair have the same number of lines",
            )
        yield number, {"source": source, "target": target}


def _pair_lines(path: Path, how: Reading) -> Iterator[str]:
    try:
        encodings.refuse_wide(path, how.encoding, _open_bytes)
        with _open(path, how.encoding) as handle:
            for line in handle:
                yield line.rstrip("\r\n")
    except UnicodeDecodeError as error:
        raise encodings.undecodable(path, how.encoding, _open_bytes) from error
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror or error})") from error
