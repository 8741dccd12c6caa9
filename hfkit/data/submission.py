"""A competition's sample submission: predictions written in its columns, order, ids and kinds of value, or a plain reason why not."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from hfkit.errors import DataError
from hfkit.files import atomic_write

Kind = Literal["int", "float", "text"]
SHOWN = 5


@dataclass(frozen=True)
class Submission:
    """The shape of a sample submission. The first column holds the ids, the others what is asked for."""

    path: Path
    columns: tuple[str, ...]
    ids: tuple[str, ...]
    kinds: Mapping[str, Kind]  # of each column after the first

    @classmethod
    def read(cls, path: Path) -> Submission:
        """Read the sample. Raises DataError when it has no rows, one column, or repeated ids."""
        try:
            with open(path, encoding="utf-8-sig", newline="") as handle:
                header, *rows = list(csv.reader(handle, strict=True))
        except OSError as error:
            raise DataError(f"{path}: cannot be read ({error.strerror})") from error
        except (ValueError, csv.Error, UnicodeDecodeError) as error:
            raise DataError(f"{path}: not a csv file with a header ({error})") from error
        if len(header) < 2 or not rows:
            raise DataError(f"{path}: a sample submission has an id column, at least one more column, and rows")
        for number, row in enumerate(rows, start=2):
            if len(row) != len(header):
                raise DataError(f"{path}:{number}: {len(row)} cells under {len(header)} columns")
        ids = tuple(row[0] for row in rows)
        if len(set(ids)) != len(ids):
            raise DataError(f"{path}: ids are repeated in column '{header[0]}'")
        kinds = {name: kind_of([row[i] for row in rows]) for i, name in enumerate(header) if i}
        return cls(path, tuple(header), ids, kinds)

    def check_ids(self, have: Iterable[str]) -> None:
        """Raises DataError when the data lacks ids of the sample or has others."""
        known = set(have)
        missing = [i for i in self.ids if i not in known]
        extra = known - set(self.ids)
        if missing or extra:
            parts = [f"{len(missing)} of its ids are not in the data ({_first(missing)})"] if missing else []
            parts += [f"{len(extra)} rows of the data are not in it ({_first(sorted(extra))})"] if extra else []
            raise DataError(
                f"{self.path}: " + "; ".join(parts),
                f"the id column is '{self.columns[0]}'; map the data's with data.columns.id=NAME",
            )

    def write(self, path: Path, predictions: Sequence[Mapping[str, Any]]) -> None:
        """Write the file, whole or not at all. Raises DataError when the predictions do not fit the columns."""
        by_id = {item["id"]: item for item in predictions}
        asked = self.columns[1:]
        rows = [[i, *(self._cell(by_id[i], name, alone=len(asked) == 1) for name in asked)] for i in self.ids]
        with atomic_write(path) as handle:
            writer = csv.writer(handle, lineterminator="\n")
            writer.writerow(self.columns)
            writer.writerows(rows)

    def _cell(self, item: Mapping[str, Any], name: str, *, alone: bool) -> Any:
        answer, shares, kind = item["prediction"], item.get("probabilities") or {}, self.kinds[name]
        if isinstance(answer, Mapping):  # several numbers
            if name not in answer:
                raise self._misfit(name, f"the model predicts {', '.join(answer)}")
            return _as(answer[name], kind)
        if isinstance(answer, list) and name in shares:  # multi-label: a column a label
            return int(name in answer) if kind == "int" else shares[name]
        if name in shares and not alone:  # single label: a probability column a label
            return int(answer == name) if kind == "int" else shares[name]
        if not alone:
            raise self._misfit(name, f"the model's labels are {', '.join(shares) or 'none'}")
        if isinstance(answer, list):
            return " ".join(answer)
        return self._only_cell(answer, shares, name, kind)

    def _only_cell(self, answer: Any, shares: Mapping[str, float], name: str, kind: Kind) -> Any:
        """The one column asked for: the label, the number, the text, or the probability of label 1."""
        if kind == "text" or isinstance(answer, float):
            return _as(answer, kind) if isinstance(answer, float) else answer
        try:
            number = float(answer)
        except (TypeError, ValueError):
            raise self._misfit(name, f"it holds numbers, the model answers '{answer}'") from None
        if kind == "float" and set(shares) == {"0", "1"}:
            return shares["1"]
        return int(number) if kind == "int" else number

    def _misfit(self, name: str, why: str) -> DataError:
        return DataError(
            f"{self.path}: column '{name}' cannot be filled: {why}",
            "train on labels named as the sample's columns, or write plain csv with --format csv",
        )


def kind_of(cells: Sequence[str]) -> Kind:
    """What the cells of a column are: whole numbers, numbers with a point, or text."""
    try:
        values = [float(cell) for cell in cells]
    except ValueError:
        return "text"
    return (
        "int"
        if all("." not in c and "e" not in c.lower() and v == int(v) for c, v in zip(cells, values, strict=True))
        else "float"
    )


def _as(value: float, kind: Kind) -> Any:
    return round(value) if kind == "int" else value


def _first(ids: Sequence[str]) -> str:
    return ", ".join(ids[:SHOWN]) + (", ..." if len(ids) > SHOWN else "")
