"""`hfkit score`: a file of predictions and data with answers become scores; no model, no torch."""

from __future__ import annotations

import time
from collections.abc import Generator, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hfkit.data import describe, load
from hfkit.data.predictions import ASKED, read_predictions
from hfkit.data.validators import duplicate_ids, named, raise_failures, rows_text
from hfkit.errors import DataError
from hfkit.events import Event, note, resolved, warning
from hfkit.recipe.keys import Data
from hfkit.recipe.load import check_override_sections, override_settings, section_from_overrides
from hfkit.tasks import task_class
from hfkit.tasks.base import Prediction, Task
from hfkit.tasks.scoring import columns_of, score_columns, score_fields
from hfkit.verbs.labels import doubts, settled

if TYPE_CHECKING:
    from hfkit.data.rows import Rows

SHOWN = 5
LONGEST_TOKEN = 256  # bytes that the first token of a text, which is never scored, may have, and more


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
    keys = section_from_overrides(Data, "data", overrides)
    made = read_predictions(predictions)
    rows = load(data, columns=kind.columns, settings=keys, need_gold=True, limit=keys.limit, offline=offline)
    yield from map(note, describe(rows))
    bound: Task = kind(settings)
    labels: dict[str, Any] = {}
    if bound.blocks:
        check_blocks(made, rows, predictions)
        bound, _ = bound.adopt(rows, None)
        columns, unscored = columns_of(bound, made, made)  # a block's prediction holds all that is measured
    else:
        bound, made = yield from fitted(bound, made, rows, predictions)
        bound, answers, labels = yield from settled(bound, made, rows)
        columns, unscored = columns_of(bound, answers, rows)
    scores = score_columns(bound, columns, unscored)
    yield from doubts(bound, columns)
    if unscored:
        yield warning(f"{unscored:,} of {len(made):,} rows have no gold and are not scored")
    yield Event("scored", {"name": rows.name, **score_fields(scores)})
    yield Event(
        "result",
        {
            "task": task,
            "data": rows.name,
            "predictions_file": str(predictions),
            **score_fields(scores),
            **labels,
            "unscored": unscored,
            "throughput": {"seconds": time.time() - started},
        },
    )


def fitted(
    task: Task, made: Sequence[Prediction], rows: Rows, path: Path
) -> Generator[Event, None, tuple[Task, list[Prediction]]]:
    """The task fitted to the rows, and the predictions in their order. Raises DataError for what does not fit."""
    with named(rows):
        raise_failures(duplicate_ids(rows, "failure"))
        warnings = task.check(rows, training=False)
    yield from map(warning, warnings)
    ordered = in_row_order(made, [row["id"] for row in rows], path)
    task, resolutions = task.adopt(rows, None)
    for item in resolutions:
        yield resolved(item.key, item.value, item.why)
    return task, ordered


def check_blocks(made: Sequence[Prediction], rows: Rows, path: Path) -> None:
    """Raise DataError unless the blocks cover the text: every byte is scored once but those of the first token."""
    absent = next((name for item in made for name in ("nll", "tokens", "bytes") if name not in item), None)
    if absent:
        raise DataError(f"{path}: predictions of lm need nll, tokens and bytes; {absent} is missing", ASKED)
    in_row_order(made, [item["id"] for item in made], path)
    whole = sum(len(str(row.get("text") or "").encode()) for row in rows)
    scored = sum(int(item["bytes"]) for item in made)
    if not 0 <= whole - scored <= LONGEST_TOKEN:
        raise DataError(
            f"{path} scores {scored:,} bytes of text, {rows.name} has {whole:,}",
            "score the predictions on the data they were made for, all of it",
        )


def in_row_order(made: Sequence[Prediction], ids: Sequence[str], path: Path) -> list[Prediction]:
    """The predictions in the order of the data. Raises DataError naming repeated, missing and extra ids."""
    by_id = {item["id"]: item for item in made}
    if len(by_id) != len(made):
        seen: set[str] = set()
        twice = [i["id"] for i in made if i["id"] in seen or seen.add(i["id"])]  # type: ignore[func-returns-value]
        raise DataError(
            f"{path}: {len(twice)} {'id is' if len(twice) == 1 else 'ids are'} repeated ({', '.join(twice[:SHOWN])})",
            "give each row one prediction",
        )
    missing = [i for i in ids if i not in by_id]
    extra = sorted(set(by_id) - set(ids))
    if missing or extra:
        parts = (
            [f"{len(missing)} of {rows_text(len(ids))} without a prediction ({', '.join(missing[:SHOWN])})"]
            if missing
            else []
        )
        parts += [f"{len(extra)} with an id that the data lacks ({', '.join(extra[:SHOWN])})"] if extra else []
        raise DataError(f"{path}: " + "; ".join(parts), "score the predictions on the data they were made for")
    return [by_id[i] for i in ids]
