"""columns.json beside metrics.json: what was measured of each row, so that runs are compared without model or data."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from hfkit.errors import DataError
from hfkit.files import atomic_write, json_line
from hfkit.tasks.scoring import Measured, light_columns

NAME = "columns.json"
TOGETHER = 4096  # values that become text at once


@dataclass(frozen=True)
class Evaluated:
    """What one evaluation measured: the task, its settings, the data's name, the rows, the slices they belong to."""

    task: str
    settings: dict[str, Any]
    data: str
    measured: Measured
    slices: Mapping[str, Sequence[str]]


def write_columns(folder: Path, found: Evaluated) -> None:
    """Write the statistics of each row, without probabilities; numbers are exact."""
    measured = found.measured
    columns = light_columns(measured.columns)
    head = {
        "task": found.task,
        "settings": found.settings,
        "data": found.data,
        "unit": measured.unit,
        "unscored": measured.unscored,
    }
    with atomic_write(folder / NAME) as handle:
        handle.write(json_line(head).removesuffix("}\n"))
        for name, pieces in {
            "ids": _list(measured.ids),
            "rows": _list(measured.rows),
            "groups": ["null"] if measured.groups is None else _list(measured.groups),
            "columns": _lists(columns),
            "slices": _lists(found.slices),
        }.items():
            handle.write(f', "{name}": ')
            handle.writelines(pieces)
        handle.write("}\n")


def _lists(named: Mapping[str, Sequence[str] | np.ndarray]) -> Iterator[str]:
    """The JSON of {name: list}, in pieces."""
    yield "{"
    for number, (name, values) in enumerate(named.items()):
        yield f"{', ' if number else ''}{json.dumps(name, ensure_ascii=False)}: "
        yield from _list(values)
    yield "}"


def _list(values: Sequence[str] | np.ndarray) -> Iterator[str]:
    """The JSON of a list, in pieces: the numbers and the text of a million rows would take hundreds of megabytes."""
    yield "["
    for first in range(0, len(values), TOGETHER):
        part = values[first : first + TOGETHER]
        text = json.dumps(part.tolist() if isinstance(part, np.ndarray) else part, ensure_ascii=False, allow_nan=False)
        yield f"{', ' if first else ''}{text[1:-1]}"
    yield "]"


def read_columns(folder: Path) -> Evaluated:
    """What an evaluation's folder holds. Raises DataError when it is damaged, or from before columns were kept."""
    path = folder / NAME
    try:
        held = json.loads(path.read_text(encoding="utf-8"))
        groups = None if held["groups"] is None else np.asarray(held["groups"], dtype=np.int64)
        columns = {name: np.asarray(values, dtype=np.float64) for name, values in held["columns"].items()}
        measured = Measured(
            columns, held["ids"], np.asarray(held["rows"], dtype=np.int64), groups, held["unit"], held["unscored"]
        )
        lengths = {len(values) for values in (*columns.values(), *held["slices"].values(), measured.ids)}
        if lengths != {len(measured)}:
            raise ValueError("its columns differ in length")
        return Evaluated(held["task"], held["settings"], held["data"], measured, held["slices"])
    except FileNotFoundError as error:
        raise DataError(
            f"{folder} holds no {NAME}, from which evaluations are compared",
            "give the data too: --data D; or evaluate again with --overwrite",
        ) from error
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataError(
            f"{path}: cannot be read ({error})", "give the data too: --data D; or evaluate again with --overwrite"
        ) from error
