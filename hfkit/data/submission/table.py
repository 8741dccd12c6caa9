"""The forms of a submission file as one table: csv, tsv, JSON lines, {id: value}, list of objects; also in a zip."""

from __future__ import annotations

import csv
import io
import json
import zipfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Literal

from hfkit.errors import DataError, UsageError
from hfkit.files import atomic_write

Form = Literal["csv", "tsv", "jsonl", "map", "objects"]  # map: {id: value}; objects: a list of objects
SUFFIXES = {"csv": ".csv", "tsv": ".tsv", "jsonl": ".jsonl", "map": ".json", "objects": ".json"}
ZIP = ".zip"
SAMPLE = "give the sample submission that the competition publishes, as it is"
MOST_BYTES = 2**31  # of a file in a zip, which may grow a thousandfold
WHEN = (1980, 1, 1, 0, 0, 0)  # of the file in a zip: equal predictions give equal bytes


@dataclass(frozen=True)
class Table:
    """What stands in a file. `rows` hold text where the form is csv or tsv, JSON values else; `lines` are their lines.

    `header` is the first line of csv and tsv, which may be a row: only the ids of the test data tell.
    """

    path: Path
    form: Form
    header: tuple[Any, ...]
    rows: Sequence[Sequence[Any]]
    member: str | None = None  # the file's name inside a zip


def read_table(path: Path) -> Table:
    """Read a file by its name's ending; unknown ones are csv. Raises DataError."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror})", "check the path given to --sample") from error
    return table_of(path, content)


def table_of(path: Path, content: bytes) -> Table:
    """The table in the bytes of a file of this name. Raises DataError naming the line."""
    if path.suffix.lower() == ZIP:
        name, content = _member(path, content)
        found = table_of(path.with_name(name), content)
        return Table(path, found.form, found.header, found.rows, name)
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: not UTF-8 ({error.reason} at byte {error.start})", SAMPLE) from error
    suffix = path.suffix.lower()
    if suffix in (".jsonl", ".ndjson"):
        lines = [(number, line) for number, line in enumerate(text.split("\n"), 1) if line.strip()]
        return _objects(path, "jsonl", [_json(path, line, number) for number, line in lines])
    if suffix == ".json":
        value = _json(path, text, 1)
        if isinstance(value, Mapping):
            return Table(path, "map", ("id", "prediction"), [list(pair) for pair in value.items()])
        return _objects(path, "objects", value if isinstance(value, list) else [value])
    first = text.partition("\n")[0]
    tabs = "\t" in first and (suffix != ".csv" or "," not in first)
    form: Form = "tsv" if suffix == ".tsv" or tabs else "csv"
    return _lines(path, form, text)


def render(table: Table) -> bytes:
    """The bytes of a file with this content, inside a zip where it has a member."""
    if table.form in ("csv", "tsv"):
        rows = [*([table.header] if table.header else []), *table.rows]
        text = "".join(csv_line(row, _DELIMITERS[table.form]) for row in rows)
    elif table.form == "map":
        text = json.dumps(dict(table.rows), ensure_ascii=False, allow_nan=False) + "\n"  # type: ignore[arg-type]
    else:
        objects = [dict(zip(table.header, row, strict=True)) for row in table.rows]
        texts = [json.dumps(each, ensure_ascii=False, allow_nan=False) for each in objects]
        text = "".join(f"{each}\n" for each in texts) if table.form == "jsonl" else f"[{', '.join(texts)}]\n"
    if table.member is None:
        return text.encode()
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(zipfile.ZipInfo(table.member, WHEN), text, zipfile.ZIP_DEFLATED)
    return packed.getvalue()


def write_table(table: Table, check: Callable[[Table], None]) -> None:
    """Write `table.path`, whole or not at all; what stands on the disk is read and checked before it gets its name."""
    ending = ZIP if table.member else SUFFIXES[table.form]  # whatever the name says
    with atomic_write(table.path, "wb") as handle:
        handle.write(render(table))
        handle.flush()
        check(table_of(table.path.with_suffix(ending), Path(handle.name).read_bytes()))


def check_name(sample: Table, output: Path) -> None:
    """Refuse a file whose name says another form than the sample's. Raises UsageError."""
    ending = output.suffix.lower()
    wanted = ZIP if sample.member else SUFFIXES[sample.form]
    if ending != wanted and ending in {*SUFFIXES.values(), ZIP}:
        raise UsageError(
            f"{output} says {ending}, the sample {sample.path} is {wanted}", f"name it {output.with_suffix(wanted)}"
        )


_DELIMITERS = {"csv": ",", "tsv": "\t"}


def csv_line(row: Sequence[Any], delimiter: str = ",") -> str:
    """A row as one line. A carriage return within a cell is quoted, as it is where lines end with one, or readers would
    take it for the end of the row."""
    stream = io.StringIO()
    csv.writer(stream, delimiter=delimiter, lineterminator="\r\n").writerow(row)
    return stream.getvalue().removesuffix("\r\n") + "\n"


def _lines(path: Path, form: Form, text: str) -> Table:
    """Header and rows, blank lines left out."""
    rows: list[list[str]] = []
    try:
        reader = csv.reader(io.StringIO(text, newline=""), delimiter=_DELIMITERS[form], strict=True)
        for row in reader:
            if row and rows and len(row) != len(rows[0]):
                raise DataError(f"{path}:{reader.line_num}: {len(row)} cells under {len(rows[0])} columns", SAMPLE)
            rows += [row] if row else []
    except csv.Error as error:
        raise DataError(f"{path}: not a {form} file ({error})", SAMPLE) from error
    return Table(path, form, tuple(rows[0]) if rows else (), rows[1:])


def _objects(path: Path, form: Form, values: Sequence[Any]) -> Table:
    """Objects that all have the same keys."""
    for number, value in enumerate(values, 1):
        if not isinstance(value, Mapping):
            raise DataError(f"{path}: entry {number} is not an object", SAMPLE)
        if list(value) != list(values[0]):
            raise DataError(f"{path}: entry {number} has other keys than the first: {', '.join(value)}", SAMPLE)
    header = tuple(values[0]) if values else ()
    return Table(path, form, header, [list(value.values()) for value in values])


def _json(path: Path, text: str, line: int) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        reason = error.msg if isinstance(error, json.JSONDecodeError) else str(error)
        raise DataError(f"{path}:{line}: not JSON ({reason})", SAMPLE) from error


def _member(path: Path, content: bytes) -> tuple[str, bytes]:
    """The one file inside a zip, by the last part of its name. Raises DataError."""
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            names = [name for name in archive.namelist() if not name.endswith("/") and "__MACOSX" not in name]
            if len(names) != 1:
                raise DataError(f"{path}: holds {len(names)} files, not one", SAMPLE)
            name = PurePosixPath(names[0]).name
            if name.lower().endswith(ZIP):
                raise DataError(f"{path}: holds another zip", SAMPLE)
            if archive.getinfo(names[0]).file_size > MOST_BYTES:
                raise DataError(f"{path}: {name} has more than {MOST_BYTES:,} bytes", SAMPLE)
            return name, archive.read(names[0])
    except (zipfile.BadZipFile, RuntimeError, NotImplementedError, EOFError) as error:
        raise DataError(f"{path}: not a zip that can be read ({error})", SAMPLE) from error
