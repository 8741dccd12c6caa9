"""`hfkit score`: a file of predictions and data with answers become scores; no model, no torch."""

from __future__ import annotations

import csv
import json
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from hfkit.data import describe, load
from hfkit.data.validators import duplicate_ids, raise_failures
from hfkit.errors import DataError
from hfkit.events import Event, note, resolved, warning
from hfkit.recipe.keys import Data
from hfkit.recipe.load import check_override_sections, override_settings, section_from_overrides
from hfkit.tasks import task_class
from hfkit.tasks.base import Prediction
from hfkit.tasks.scoring import columns_of, score_columns, score_fields

SHOWN = 5


def score(
    predictions: Path, *, data: Any, task: str, overrides: Sequence[str] = (), offline: bool = False
) -> Iterator[Event]:
    """Score the predictions of any tool: hfkit's jsonl, {id: text}, or csv with columns id and prediction.

    Ids of the data that have no prediction, and predictions for ids that the data lacks, are refused (3).
    """
    started = time.time()
    kind = task_class(task)
    check_override_sections(overrides, (kind.name, "data"))
    settings = override_settings(kind.Settings(), kind.name, overrides)
    bound = kind(settings)
    made = read_predictions(predictions)
    rows: Any = made
    name = str(predictions)
    if not bound.blocks:  # blocks carry their own statistics; the data has no ids to meet them by
        keys = section_from_overrides(Data, "data", overrides)
        rows = load(data, columns=kind.columns, settings=keys, need_gold=True, offline=offline)
        name = rows.name
        yield from map(note, describe(rows))
        raise_failures(duplicate_ids(rows, "failure"))
        yield from map(warning, bound.check(rows, training=False))
        made = in_row_order(made, [row["id"] for row in rows], predictions)
        bound, resolutions = bound.adopt(rows, None)
        for item in resolutions:
            yield resolved(item.key, item.value, item.why)
    columns, unscored = columns_of(bound, made, rows)
    scores = score_columns(bound, columns, unscored)
    if unscored:
        yield warning(f"{unscored:,} rows have no gold and are not scored")
    yield Event("scored", {"name": name, **score_fields(scores)})
    yield Event(
        "result",
        {
            "task": task,
            "data": name,
            "predictions_file": str(predictions),
            **score_fields(scores),
            "unscored": unscored,
            "throughput": {"seconds": time.time() - started},
        },
    )


def read_predictions(path: Path) -> list[Prediction]:
    """Predictions of a file: .jsonl (one object a line), .json ({id: text} or a list of objects), .csv (id, prediction)."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: cannot be read ({error})", "give a jsonl, json or csv file of predictions") from error
    if not text.strip():
        raise DataError(f"{path} is empty")
    if path.suffix == ".csv":
        found = [dict(row) for row in csv.DictReader(text.splitlines(keepends=True))]
    elif path.suffix == ".json":
        found = _from_json(path, text)
    else:
        found = [_line(path, number, line) for number, line in enumerate(text.split("\n"), 1) if line.strip()]
    for number, item in enumerate(found, 1):
        if "id" not in item or "prediction" not in item:
            raise DataError(
                f"{path}: prediction {number} has no {'id' if 'id' not in item else 'prediction'}",
                "each needs id and prediction",
            )
        item["id"] = str(item["id"])
    return found


def _from_json(path: Path, text: str) -> list[Prediction]:
    value = _parsed(path, 1, text)
    if isinstance(value, Mapping):
        return [{"id": str(name), "prediction": answer} for name, answer in value.items()]
    if isinstance(value, list) and all(isinstance(item, dict) for item in value):
        return value
    raise DataError(f"{path}: neither {{id: text}} nor a list of objects")


def _line(path: Path, number: int, line: str) -> Prediction:
    value = _parsed(path, number, line)
    if not isinstance(value, dict):
        raise DataError(f"{path}:{number}: not an object: {line[:80]}")
    return value


def _parsed(path: Path, number: int, text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError as error:
        raise DataError(f"{path}:{number}: not JSON ({error}): {text[:80]}") from error


def in_row_order(made: Sequence[Prediction], ids: Sequence[str], path: Path) -> list[Prediction]:
    """The predictions in the order of the data. Raises DataError naming repeated, missing and extra ids."""
    by_id = {item["id"]: item for item in made}
    if len(by_id) != len(made):
        seen: set[str] = set()
        twice = [i["id"] for i in made if i["id"] in seen or seen.add(i["id"])]  # type: ignore[func-returns-value]
        raise DataError(f"{path}: {len(twice)} ids are repeated ({', '.join(twice[:SHOWN])})")
    missing = [i for i in ids if i not in by_id]
    extra = sorted(set(by_id) - set(ids))
    if missing or extra:
        parts = (
            [f"{len(missing)} of {len(ids)} rows have no prediction ({', '.join(missing[:SHOWN])})"] if missing else []
        )
        parts += (
            [f"{len(extra)} predictions are for ids that the data lacks ({', '.join(extra[:SHOWN])})"] if extra else []
        )
        raise DataError(f"{path}: " + "; ".join(parts), "score the predictions on the data they were made for")
    return [by_id[i] for i in ids]
