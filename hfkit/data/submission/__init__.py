"""A competition's sample submission: predictions in its columns, order, ids, kinds of value and form."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from hfkit.data.submission.cells import Cells, Kind, fitted, kind_of
from hfkit.data.submission.table import SAMPLE, Table, check_name, read_table, write_table
from hfkit.errors import DataError

SHOWN = 5  # ids in a sentence
MOST_LISTED = 1000
JSON = ("jsonl", "map", "objects")


@dataclass(frozen=True)
class Submission:
    """The shape of a sample submission: its ids in order, and what the other columns hold."""

    table: Table
    columns: tuple[str, ...]  # of a file without a header: column 1, column 2
    id_column: str
    ids: tuple[str, ...]
    kinds: Mapping[str, Kind]  # of each column but the ids'

    @property
    def path(self) -> Path:
        return self.table.path

    @classmethod
    def read(cls, path: Path, have: Collection[str] | None = None) -> Submission:
        """Read the sample; `have` are the ids of the test data. See `of`."""
        return cls.of(read_table(path), have)

    @classmethod
    def of(cls, table: Table, have: Collection[str] | None = None) -> Submission:
        """What a table asks for. The column that holds the ids of the test data is the ids'; without them, or where
        none does, the first. A first line that holds such an id is no header.

        Raises DataError when it has no rows, one column, or repeated columns or ids.
        """
        path, known = table.path, set(have or ())
        place = _place_of_ids(table.rows, len(table.header), known)
        if table.form not in JSON and table.header and table.header[place] in known:
            names = tuple(f"column {number + 1}" for number in range(len(table.header)))
            table = replace(table, header=(), rows=[table.header, *table.rows])
        else:
            names = table.header
        header, rows = names, table.rows
        if not rows or len(header) < 2:
            raise DataError(f"{path}: a sample submission has an id column, at least one more column, and rows", SAMPLE)
        _refuse_repeated(path, "columns", header)
        ids = tuple(str(row[place]) for row in rows)
        _refuse_repeated(path, "ids", ids)
        kinds: dict[str, Kind] = {}
        for number, name in enumerate(header):
            if number != place:
                kind = kind_of([row[number] for row in rows])
                if kind is None:
                    raise DataError(f"{path}: column '{name}' holds values of several kinds, or true and false", SAMPLE)
                kinds[name] = _as_json(kind, rows, number) if table.form in JSON else kind
        return cls(table, header, header[place], ids, kinds)

    def check_ids(self, have: Iterable[str]) -> None:
        """Raises DataError when the data lacks ids of the sample or has others."""
        known, asked = set(have), set(self.ids)
        missing = [i for i in self.ids if i not in known]
        extra = sorted(known - asked)
        if missing or extra:
            parts = (
                [f"{len(missing)} of its {len(asked)} ids are not in the data ({_first(missing)})"] if missing else []
            )
            parts += [f"{len(extra)} rows of the data are not in it ({_first(extra)})"] if extra else []
            lists = _listed("missing", missing) + _listed("not asked for", extra)
            raise DataError(
                "\n".join([f"{self.path}: " + "; ".join(parts), *lists]),
                f"if the data's ids stand in another column, name it: data.columns.id={self.id_column}",
            )

    def asks_labels(self) -> bool:
        """Whether some column holds labels or whether they were chosen, not fractions alone."""
        return any(kind != "float" for kind in self.kinds.values())

    def numbers_as_asked(self, item: Mapping[str, Any]) -> dict[str, Any]:
        """The prediction with its numbers as `write` puts them into the columns; labels and texts are left alone."""
        said = item["prediction"]
        if isinstance(said, Mapping):
            said = {name: float(fitted(value, self.kinds.get(name, "open"))) for name, value in said.items()}
        elif isinstance(said, float) and len(self.kinds) == 1:
            said = float(fitted(said, *self.kinds.values()))
        return {**item, "prediction": said}

    def write(self, path: Path, predictions: Sequence[Mapping[str, Any]], names: Mapping[str, str]) -> list[str]:
        """Write the file, whole or not at all, read it back and check it; returns lines to tell the user.

        `names` gives the data's own value for labels that the model calls otherwise, e.g. {"entailment": "0"}.
        Raises DataError when the predictions do not fit the columns, are not finite, or lack rows.
        """
        check_name(self.table, path)
        _refuse_repeated(self.path, "predictions' ids", [item["id"] for item in predictions])
        by_id = {item["id"]: item for item in predictions}
        self.check_ids(by_id)
        cells = Cells(self.path, self.kinds, names)
        kept = self.columns.index(self.id_column)
        rows = [
            [row[kept] if name == self.id_column else cells.of(by_id[i], name) for name in self.columns]
            for i, row in zip(self.ids, self.table.rows, strict=True)
        ]
        self._refuse_odd(rows)
        write_table(replace(self.table, path=path, rows=rows), self.check)
        lines = [
            f"{self.path}: column '{name}' holds whole numbers, so predictions are rounded" for name in cells.rounded
        ]
        said = f"{self.path}: column '{next(iter(self.kinds))}' holds the probability of label '{cells.of_label}'"
        return [*lines, said] if cells.of_label not in (None, "1") else lines

    def check(self, written: Table) -> None:
        """Raise DataError unless a file has the sample's form, columns, ids in order, and kinds of value."""
        found = Submission.of(written, self.ids)
        for what, theirs, ours in (
            ("form", self.table.form, found.table.form),
            ("columns", self.columns, found.columns),
            ("rows", len(self.ids), len(found.ids)),
            ("ids", self.ids, found.ids),
        ):
            if theirs != ours:
                raise DataError(f"{written.path}: {what} are not those of {self.path}", SAMPLE)
        for name, kind in self.kinds.items():
            fitting = {"int": ("int",), "float": ("float", "int"), "list": ("list", "open")}.get(kind)
            if fitting is not None and found.kinds[name] not in fitting:
                raise DataError(f"{written.path}: column '{name}' is {found.kinds[name]}, the sample's {kind}", SAMPLE)

    def _refuse_odd(self, rows: Sequence[Sequence[Any]]) -> None:
        """Raise DataError naming the ids whose numbers are not finite."""
        for place, name in enumerate(self.columns):
            odd = [
                i
                for i, row in zip(self.ids, rows, strict=True)
                if isinstance(row[place], float) and not math.isfinite(row[place])
            ]
            if odd:
                message = f"{len(odd)} predictions for column '{name}' are not finite numbers ({_first(odd)})"
                raise DataError(
                    "\n".join([message, *_listed("not finite", odd)]),
                    "the weights are damaged or diverged; try precision float32",
                )


def _place_of_ids(rows: Sequence[Sequence[Any]], width: int, known: set[str]) -> int:
    """The column whose values are different ids of the test data; the first where none, or nothing is known."""
    for place in range(width if known else 0):
        values = {str(row[place]) for row in rows}
        if len(values) == len(rows) and values <= known:
            return place
    return 0


def _as_json(kind: Kind, rows: Sequence[Sequence[Any]], place: int) -> Kind:
    """A JSON column of texts is text, whatever the texts look like."""
    return "text" if kind in ("int", "float") and any(isinstance(row[place], str) for row in rows) else kind


def _refuse_repeated(path: Path, what: str, values: Sequence[Any]) -> None:
    twice = [str(value) for value, count in Counter(values).items() if count > 1]
    if twice:
        raise DataError(f"{path}: {what} are repeated ({_first(twice)})", "a sample names each once")


def _listed(what: str, ids: Sequence[str]) -> list[str]:
    """All ids as lines of ten, where the message names only the first; the screen cuts them, --json does not."""
    if len(ids) <= SHOWN:
        return []
    lines = [f"{what}: {', '.join(ids[place : place + 10])}" for place in range(0, min(len(ids), MOST_LISTED), 10)]
    return lines if len(ids) <= MOST_LISTED else [*lines, f"{what}: and {len(ids) - MOST_LISTED:,} more"]


def _first(ids: Sequence[str]) -> str:
    return ", ".join(ids[:SHOWN]) + (", ..." if len(ids) > SHOWN else "")


__all__ = ["Submission", "Table", "check_name", "kind_of", "read_table"]
