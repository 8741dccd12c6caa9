"""Predictions written as jsonl; and read back from the files of any tool: jsonl, {id: text} or csv."""

from __future__ import annotations

import csv
import gzip
import io
import json
import math
import zlib
from array import array
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, overload

from hfkit.data.records import cut
from hfkit.errors import DataError
from hfkit.files import atomic_write, json_line, write_text
from hfkit.tasks.base import Prediction

REJECTED = "rejected.jsonl"  # in a run or an evaluation: the rows that data.on_bad_row=skip left out
_HANS_HEADER = "pairID,gold_label"
_ROUNDING = 1e-5  # by which a probability may be outside 0 and 1
NEEDED = "each needs id and prediction; a csv names both in its first line, with commas between"
SHARES = "probabilities are {label: number}, each from 0 to 1; leave them out to score the labels alone"
BESIDE = "score and null_gap are finite numbers; leave them out to score the answers alone"
ASKED = "give predictions as hfkit writes them: jsonl, json {id: text}, or csv with columns id and prediction"


def read_predictions(path: Path, *, numbered: bool = False) -> list[Prediction]:
    """Predictions of a file, each with an id (a string) and a prediction. Raises DataError naming the line.

    .jsonl has one object a line, .json is {id: text} or a list of objects, .csv has columns id and prediction, .txt is
    what HANS' own script reads: a line `pairID,gold_label`, then one line a row. With `numbered` ids are put aside and
    rows are counted from 0, also where there are no ids; a .txt is then also one prediction a line.
    """
    text = _text(path)
    form = (path.with_suffix("") if path.suffix.lower() == ".gz" else path).suffix.lower()
    if form == ".csv" or (form == ".txt" and text.startswith(_HANS_HEADER)):
        found = _from_csv(path, text)
        if found and {*found[0]} == {"pairID", "gold_label"}:  # HANS' own names
            found = [{"id": item["pairID"], "prediction": item["gold_label"]} for item in found]
    elif form == ".txt" and numbered:
        found = [{"prediction": line} for line in text.removesuffix("\n").split("\n")]
    elif form == ".json":
        found = _from_json(path, text)
    else:
        found = [_line(path, number, line) for number, line in enumerate(text.split("\n"), 1) if line.strip()]
    if numbered:
        found = [{**item, "id": str(number)} for number, item in enumerate(found)]
    if not found:
        raise DataError(f"{path} holds no predictions", ASKED)
    for number, item in enumerate(found, 1):
        if item.get("id") is None or "prediction" not in item:
            absent = "id" if item.get("id") is None else "prediction"
            named = cut(", ".join(map(repr, item)))
            raise DataError(f"{path}: prediction {number} has no {absent}, but {named or 'nothing'}", NEEDED)
        if item.get("probabilities") is not None and not _are_probabilities(item["probabilities"]):
            shown = cut(json.dumps(item["probabilities"], ensure_ascii=False, default=str))
            raise DataError(f"{path}: prediction {number}: {shown} are not probabilities", SHARES)
        for name in ("score", "null_gap"):
            if item.get(name) is not None and not _is_number(item[name]):
                raise DataError(f"{path}: prediction {number}: {name} is {cut(repr(item[name]))}, no number", BESIDE)
        if type(item["id"]) is not str:
            item["id"] = str(item["id"])
    return found


def _are_probabilities(value: Any) -> bool:
    """Whether a value is {label: a number from 0 to 1}; NaN is none, and logits are hardly ever."""
    if not isinstance(value, Mapping):
        return False
    numbers = value.values()
    return all(_is_number(n) and -_ROUNDING <= n <= 1 + _ROUNDING for n in numbers)


def _is_number(value: Any) -> bool:
    return type(value) in (float, int) and math.isfinite(value)


def _text(path: Path) -> str:
    """The text of a file, unpacked where its name ends in .gz. Raises DataError, also for one that holds nothing."""
    try:
        packed = path.read_bytes()
        text = (gzip.decompress(packed) if path.suffix.lower() == ".gz" else packed).decode("utf-8-sig")
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise DataError(f"{path}: damaged gzip file ({error})", "download or compress it again") from error
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else f"not UTF-8: {error.reason} at byte {error.start}"
        raise DataError(f"{path}: cannot be read ({reason})", ASKED) from error
    if not text.strip():
        raise DataError(f"{path} is empty", ASKED)
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _from_csv(path: Path, text: str) -> list[Prediction]:
    """Rows of a csv file; without a column `prediction` but with several of numbers, these are the prediction."""
    csv.field_size_limit(2**31 - 1)
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    found: list[Prediction] = []
    try:
        header = next(reader, [])
        for cells in reader:
            if not cells:
                continue
            if len(cells) != len(header):
                raise DataError(
                    f"{path}:{reader.line_num}: not one cell for each column of the header", "correct that line"
                )
            found.append(dict(zip(header, cells, strict=True)))
    except csv.Error as error:
        raise DataError(f"{path}:{reader.line_num}: not csv ({error})", ASKED) from error
    others = [name for name in header if name not in ("id", "prediction")]
    numbers = [_numbers(row, others) for row in found] if others else [None]
    return found if None in numbers else [_with_numbers(*pair) for pair in zip(found, numbers, strict=True)]


def _with_numbers(row: Prediction, numbers: Any) -> Prediction:
    """What `predict --format csv` wrote: several numbers are the prediction, labels have their probabilities beside."""
    if "prediction" not in row:
        return {**row, "prediction": numbers} if len(numbers) > 1 else row
    labels = _labels(row["prediction"])
    if not set(labels) <= set(numbers):
        return row
    said = row["prediction"] if labels == [row["prediction"]] else labels
    return {**row, "prediction": said, "probabilities": numbers}


def _labels(text: str) -> list[str]:
    """What `predict --format csv` wrote into a cell: one label, or a list of them as JSON."""
    try:
        value = json.loads(text)
    except ValueError:
        return [text]
    return value if isinstance(value, list) and all(isinstance(label, str) for label in value) else [text]


def _numbers(row: Mapping[str, Any], names: Sequence[str]) -> dict[str, float] | None:
    """The cells of these columns as finite numbers, None when one is not."""
    try:
        found = {name: float(row[name]) for name in names}
    except ValueError:
        return None
    return found if all(map(math.isfinite, found.values())) else None


def _from_json(path: Path, text: str) -> list[Prediction]:
    value = _parsed(path, 1, text)
    if isinstance(value, Mapping):
        return [{"id": str(name), "prediction": answer} for name, answer in value.items()]
    if isinstance(value, list) and all(isinstance(item, dict) for item in value):
        return value
    raise DataError(f"{path}: neither {{id: text}} nor a list of objects", ASKED)


def _line(path: Path, number: int, line: str) -> Prediction:
    value = _parsed(path, number, line)
    if not isinstance(value, dict):
        raise DataError(f"{path}:{number}: not an object: {cut(line)}", ASKED)
    return value


def _parsed(path: Path, number: int, text: str) -> Any:
    try:
        return json.loads(text, object_pairs_hook=_once)
    except (ValueError, RecursionError) as error:
        where = f"{number + error.lineno - 1}:{error.colno}" if isinstance(error, json.JSONDecodeError) else str(number)
        reason = error.msg if isinstance(error, json.JSONDecodeError) else str(error)
        raise DataError(f"{path}:{where}: not JSON ({reason}): {cut(text)}", ASKED) from error


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object whose keys are all different. Raises ValueError."""
    found = dict(pairs)
    if len(found) != len(pairs):
        seen: set[str] = set()
        twice = next(key for key, _ in pairs if key in seen or seen.add(key))  # type: ignore[func-returns-value]
        raise ValueError(f"the key {twice!r} stands twice")
    return found


def write_rejected(path: Path, *sets: Any) -> None:
    """Where the skipped rows of data sets stand and what is wrong with each, one JSON object a line; none, no file."""
    rejected = [item for rows in sets for item in rows.rejected]
    if rejected:
        write_text(path, "".join(map(json_line, rejected)))


def write_predictions(path: Path, predictions: Iterable[Prediction]) -> int:
    """One JSON object a line, in row order, whole or not at all; returns how many."""
    with written(path, predictions) as passing:
        return sum(1 for _ in passing)


@contextmanager
def written(path: Path, predictions: Iterable[Prediction]) -> Iterator[Iterator[Prediction]]:
    """The same predictions, each written as it passes; the file is there when the block ends without an error."""
    with atomic_write(path) as handle:

        def passing() -> Iterator[Prediction]:
            for prediction in predictions:
                handle.write(json_line(prediction))
                yield prediction

        yield passing()


class PredictionLines(Sequence[Prediction]):
    """Predictions of a file that was just written, read line by line when asked for: only where they begin is kept."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._starts = array("q", [0])
        with open(path, "rb") as handle:
            for line in handle:
                self._starts.append(self._starts[-1] + len(line))

    def __len__(self) -> int:
        return len(self._starts) - 1

    @overload
    def __getitem__(self, index: int) -> Prediction: ...
    @overload
    def __getitem__(self, index: slice) -> list[Prediction]: ...
    def __getitem__(self, index: int | slice) -> Prediction | list[Prediction]:
        if isinstance(index, slice):
            return [self[place] for place in range(*index.indices(len(self)))]
        with open(self.path, "rb") as handle:
            handle.seek(self._starts[range(len(self))[index]])
            found: Prediction = json.loads(handle.readline())
        return found
