"""Readers of local files, one for each form; they know file and line. Used by `load`; parquet is read by `arrow`."""

from __future__ import annotations

import csv
import gzip
import io
import itertools
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, cast

from hfkit.data import encodings
from hfkit.data.json_reader import read_json, read_jsonl
from hfkit.data.records import EMPTY, Bad, Reading, Record, cut
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
    encodings.check_known(how.encoding)
    if form is None:
        raise DataError(f"{path}: unknown form", f"known forms are {FORM_NAMES}")
    if form == "parquet":
        from hfkit.data import arrow

        yield from arrow.read_parquet(path)
        return
    with _reading(path, how):
        if path.stat().st_size == 0:
            raise DataError(f"{path} is empty (0 bytes)", EMPTY)
        encodings.refuse_wide(path, how.encoding, _open_bytes)
        with _open(path, how.encoding) as handle:
            yield from _READERS[form](path, handle, how, say)


@contextmanager
def _reading(path: Path, how: Reading) -> Iterator[None]:
    """What can go wrong with a file while its text is read, as a DataError that names it."""
    try:
        try:
            yield
        except UnicodeError as error:  # a codec may raise its base class, as UTF-16 does without a mark
            raise encodings.undecodable(path, how.encoding, _open_bytes) from error  # reads the file once more
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise DataError(f"{path}: damaged gzip file ({error})", "download or compress it again") from error
    except OSError as error:
        raise DataError(
            f"{path}: cannot be read ({error.strerror or error})", "check its permissions and the disk"
        ) from error


def _open_bytes(path: Path) -> IO[bytes]:
    if path.suffix.lower() == ".gz":
        return cast(IO[bytes], gzip.open(path, "rb"))
    return open(path, "rb")


def _open(path: Path, encoding: str) -> io.TextIOWrapper:
    """Text with newlines as they stand; a byte order mark of UTF-8 is not text."""
    name = "utf-8-sig" if encodings.is_utf8(encoding) else encoding
    return io.TextIOWrapper(_open_bytes(path), encoding=name, newline="\n")


def _csv(path: Path, handle: IO[str], how: Reading, say: Callable[[str], None]) -> Iterator[Record]:
    csv.field_size_limit(2**31 - 1)
    reader = csv.reader(handle, strict=True)
    names: list[str] | None = None
    while True:
        line = reader.line_num + 1
        try:
            fields = next(reader, None)
        except csv.Error as error:
            yield line, Bad(_csv_problem(error))
            if "unexpected end" in str(error):
                return
            continue
        if fields is None:
            return
        if not fields:
            continue
        if names is None:
            names = _names(path, line, fields, how)
            if how.names is None:
                continue
        yield line, _fields(fields, names, how)


def _csv_problem(error: csv.Error) -> str:
    if "unexpected end" in str(error):
        return "a quote is opened and never closed"
    if "new-line character" in str(error):
        return "a carriage return stands alone where a line may end: let lines end with a line feed"
    return str(error)


def _tsv(path: Path, handle: IO[str], how: Reading, say: Callable[[str], None]) -> Iterator[Record]:
    """Fields between tabs, quotes are text: GLUE's files hold bare ones."""
    names: list[str] | None = None
    for number, line in enumerate(handle, 1):
        text = line.rstrip("\r\n")
        if not text:
            continue
        fields = text.split("\t")
        if names is None:
            names = _names(path, number, fields, how)
            if how.names is None:
                continue
        yield number, _fields(fields, names, how)


def _names(path: Path, line: int, fields: list[str], how: Reading) -> list[str]:
    """The columns' names: data.names, else the header, which `fields` are then. Raises DataError."""
    if how.names is not None:
        if {name.strip().lower() for name in how.names} <= {field.strip().lower() for field in fields}:
            raise header_there(f"{path}:{line}", fields)
        return list(how.names)
    twice = [name for name in fields if fields.count(name) > 1]
    if twice:
        raise DataError(
            f"{path}:{line}: the header names '{twice[0]}' twice",
            "rename one, or give data.names when the file has no header",
        )
    return fields


def header_there(where: str, fields: Iterable[str]) -> DataError:
    """The error for data.names given to a file whose first row holds names of columns."""
    return DataError(
        f"{where}: data.names is for files without a header, and this row looks like one: {cut(','.join(fields))}",
        "leave data.names out; which column is which is said by e.g. data.columns.text=NAME",
    )


def _fields(fields: list[str], names: list[str], how: Reading) -> dict[str, Any] | Bad:
    if len(fields) != len(names):
        having = "the header has" if how.names is None else "data.names has"
        return Bad(f"{len(fields)} fields where {having} {len(names)}: {cut(','.join(fields))}")
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
    "json": read_json,
    "jsonl": read_jsonl,
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
    encodings.check_known(how.encoding)
    with _reading(path, how):
        encodings.refuse_wide(path, how.encoding, _open_bytes)
        with _open(path, how.encoding) as handle:
            for line in handle:
                yield line.rstrip("\r\n")
