"""A competition's sample submission: predictions in its columns, order, ids and kinds of value."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from hfkit.errors import DataError
from hfkit.files import atomic_write

Kind = Literal["int", "float", "text", "open"]  # what the cells of a column are; open: the sample leaves them empty
SAMPLE = "give the csv that the competition publishes, as it is"
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
        """Read the sample. Raises DataError when it has no rows, one column, or repeated columns or ids."""
        header, rows = _table(path)
        ids = tuple(row[0] for row in rows)
        for what, values in (("columns", header), ("ids", ids)):
            if len(set(values)) != len(values):
                twice = dict.fromkeys(value for value in values if values.count(value) > 1)
                raise DataError(f"{path}: {what} are repeated ({_first(list(twice))})", "a sample names each once")
        kinds = {name: kind_of([row[place] for row in rows]) for place, name in enumerate(header) if place}
        return cls(path, tuple(header), ids, kinds)

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
            raise DataError(
                f"{self.path}: " + "; ".join(parts),
                f"if the data's ids stand in another column, name it: data.columns.id={self.columns[0]}",
            )

    def write(self, path: Path, predictions: Sequence[Mapping[str, Any]], names: Mapping[str, str]) -> list[str]:
        """Write the file, whole or not at all; returns lines to tell the user.

        `names` gives the data's own value for labels that the model calls otherwise, e.g. {"entailment": "0"}.
        Raises DataError when the predictions do not fit the columns.
        """
        by_id = {item["id"]: item for item in predictions}
        asked = self.columns[1:]
        cells = _Cells(self, names)
        rows = [[i, *(cells.of(by_id[i], name) for name in asked)] for i in self.ids]
        with atomic_write(path) as handle:
            writer = csv.writer(handle, lineterminator="\n")
            writer.writerow(self.columns)
            writer.writerows(rows)
        return [
            f"{self.path}: column '{name}' holds whole numbers, so predictions are rounded" for name in cells.rounded
        ]


class _Cells:
    """The values of one submission; `rounded` are the columns whose numbers lost their fraction."""

    def __init__(self, sample: Submission, names: Mapping[str, str]) -> None:
        self.sample, self.names = sample, names
        self.words = {label: value for label, value in names.items() if kind_of([value]) == "text"}
        self.alone = len(sample.columns) == 2
        self.rounded: dict[str, None] = {}

    def of(self, item: Mapping[str, Any], name: str) -> Any:
        """What a prediction puts into the column `name`. Raises DataError when nothing fits."""
        answer, kind = item["prediction"], self.sample.kinds[name]
        shares = item.get("probabilities") or {}
        if isinstance(answer, Mapping):  # several numbers
            if name not in answer:
                raise self._misfit(name, f"the model predicts {', '.join(answer)}")
            return self._number(name, kind, answer[name])
        names = self.words if kind == "text" else self.names
        said = [names.get(label, label) for label in (answer if isinstance(answer, list) else [answer])]
        label = next((label for label in shares if name in (label, names.get(label))), None)
        if label is not None and kind != "text":  # a column for each label: its probability, or whether it was chosen
            return int(names.get(label, label) in said) if kind == "int" else shares[label]
        if not self.alone:
            raise self._misfit(name, f"the model's labels are {', '.join(shares) or 'none'}")
        if isinstance(answer, float):
            return self._number(name, kind, answer)
        if isinstance(answer, list):
            return self._text(name, kind, " ".join(said))
        return self._label(name, kind, said[0], {names.get(label, label): share for label, share in shares.items()})

    def _label(self, name: str, kind: Kind, label: str, shares: Mapping[str, float]) -> Any:
        """The label as the column has it, or the probability of label 1 where fractions are asked for."""
        if kind == "float" and set(shares) == {"0", "1"}:
            return shares["1"]
        if kind in ("text", "open"):
            return label
        try:
            return int(label) if kind == "int" else float(label)
        except ValueError:
            raise self._misfit(name, f"it holds numbers, the model answers '{label}'") from None

    def _number(self, name: str, kind: Kind, value: float) -> float:
        if kind == "text":
            raise self._misfit(name, "it holds text, the model predicts numbers")
        if kind == "int":
            self.rounded[name] = None
            return round(value)
        return value

    def _text(self, name: str, kind: Kind, text: str) -> str:
        if kind not in ("text", "open"):
            raise self._misfit(name, f"it holds numbers, the model answers several labels ('{text}')")
        return text

    def _misfit(self, name: str, why: str) -> DataError:
        return DataError(
            f"{self.sample.path}: column '{name}' cannot be filled: {why}",
            "train on labels named as the sample's, or write plain csv with --format csv",
        )


def kind_of(cells: Sequence[str]) -> Kind:
    """What the cells of a column are: whole numbers, numbers with a point, text, or nothing."""
    if not any(cells):
        return "open"
    try:
        values = [float(cell) for cell in cells]
    except ValueError:
        return "text"
    whole = all(value.is_integer() and cell.strip("+- ").isdigit() for cell, value in zip(cells, values, strict=True))
    return "int" if whole else "float"


def _table(path: Path) -> tuple[list[str], list[list[str]]]:
    """Header and rows, blank lines left out. Raises DataError naming the line."""
    rows: list[list[str]] = []
    try:
        with open(path, encoding="utf-8-sig", newline="") as handle:
            reader = csv.reader(handle, strict=True)
            for row in reader:
                if row and rows and len(row) != len(rows[0]):
                    raise DataError(f"{path}:{reader.line_num}: {len(row)} cells under {len(rows[0])} columns", SAMPLE)
                rows += [row] if row else []
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror})", "check the path given to --sample") from error
    except (csv.Error, UnicodeDecodeError) as error:
        raise DataError(f"{path}: not a csv file ({error})", SAMPLE) from error
    if len(rows) < 2 or len(rows[0]) < 2:
        raise DataError(f"{path}: a sample submission has an id column, at least one more column, and rows", SAMPLE)
    return rows[0], rows[1:]


def _first(ids: Sequence[str]) -> str:
    return ", ".join(ids[:SHOWN]) + (", ..." if len(ids) > SHOWN else "")
