"""`hfkit score`: a file of predictions and data with answers become scores; no model, no torch."""

from __future__ import annotations

import time
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hfkit.data import describe, load
from hfkit.data.findings import named, raise_failures
from hfkit.data.predictions import ASKED, read_predictions
from hfkit.data.validators import duplicate_ids, rows_text, scoring_columns
from hfkit.errors import DataError
from hfkit.events import Event, note, resolved, warning
from hfkit.recipe.keys import Data
from hfkit.recipe.overrides import check_scoring_keys, override_settings, section_from_overrides
from hfkit.tasks import task_class
from hfkit.tasks.analysis import analysis, slice_values
from hfkit.tasks.base import Prediction, Row, Task
from hfkit.tasks.lm.last_word import split_last_word
from hfkit.tasks.scoring import Measured, measured, score_columns, score_fields
from hfkit.verbs.labels import doubts, settled

if TYPE_CHECKING:
    from hfkit.data.rows import Rows

SHOWN = 5
LONGEST_TOKEN = 256  # bytes that the first token of a text, which is never scored, may have, and more


def score(
    predictions: Path,
    *,
    data: Any,
    task: str,
    allow_missing: bool = False,
    allow_order: bool = False,
    slices: bool = False,
    overrides: Sequence[str] = (),
    offline: bool = False,
) -> Iterator[Event]:
    """Score the predictions of any tool: hfkit's jsonl, {id: text}, csv with id and prediction, HANS' text form.

    Ids of the data that have no prediction, and predictions for ids that the data lacks, are refused (3) unless
    `allow_missing`. With `allow_order` ids are not looked at: the first prediction is the first row's, and so on.
    `slices` adds the parts of the data that the task knows; those of data.slices come anyway.
    """
    started = time.time()
    kind = task_class(task)
    check_scoring_keys(overrides, kind.name, kind.Settings)
    settings = override_settings(kind.Settings(), kind.name, overrides)
    keys = section_from_overrides(Data, "data", overrides, task=kind.name)
    made = read_predictions(predictions, numbered=allow_order)
    bound = kind(settings)
    rows = load(data, columns=bound.columns, settings=keys, need_gold=True, limit=keys.limit, offline=offline)
    yield from map(note, describe(rows))
    scoring_columns(rows, keys.slices, keys.group)
    found = yield from matched(
        bound, made, rows, predictions, allow_missing=allow_missing, allow_order=allow_order, keys=keys
    )
    scores = score_columns(found.task, found.measured)
    yield from doubts(found.task, found.measured.columns)
    if scores.unscored:
        yield warning(f"{scores.unscored:,} of {len(found.predictions):,} rows have no gold and are not scored")
    fields = {**score_fields(scores), **found.analysis(keys.slices, sliced=slices)}
    yield Event("scored", {"name": rows.name, **fields})
    yield Event(
        "result",
        {
            "task": task,
            "data": rows.name,
            "predictions_file": str(predictions),
            **fields,
            **found.labels,
            "unscored": scores.unscored,
            "missing": found.missing,
            "throughput": {"seconds": time.time() - started},
        },
    )


@dataclass(frozen=True)
class Matched:
    """Predictions beside the rows that they are of, and what was measured; `missing` rows had no prediction."""

    task: Task
    predictions: list[Prediction]
    rows: Sequence[Row]
    measured: Measured
    missing: int = 0
    labels: dict[str, Any] = field(default_factory=dict)  # how the labels of data and predictions were read

    def analysis(self, columns: Sequence[str], *, sliced: bool) -> dict[str, Any]:
        values = slice_values(self.task, self.measured, self.rows, columns, sliced=sliced)
        return analysis(self.task, self.measured, self.predictions, self.rows, values)


def matched(
    task: Task,
    made: Sequence[Prediction],
    rows: Rows,
    path: Path,
    *,
    allow_missing: bool,
    allow_order: bool,
    keys: Data,
) -> Generator[Event, None, Matched]:
    """Predictions matched with rows by id, or by order, and measured. Raises DataError for what does not fit."""
    if task.blocks:
        bound, _ = task.adopt(rows, None)
        check_blocks(bound, made, rows, path)
        return Matched(bound, list(made), made, measured(bound, made, made))  # a block's prediction holds all of it
    if allow_order:
        made = by_order(made, rows, path)
        yield warning("predictions are matched with rows by their order: no id says that they belong together")
    with named(rows):
        raise_failures(duplicate_ids(rows, "failure"))
        warnings = task.check(rows, training=False)
    yield from map(warning, warnings)
    ids = [row["id"] for row in rows]
    ordered = in_row_order(made, ids, path, allow_missing=allow_missing)
    bound, resolutions = task.adopt(rows, None)
    for item in resolutions:
        yield resolved(item.key, item.value, item.why)
    missing = sum(item is None for item in ordered)
    extra = len(made) - (len(ids) - missing)
    wrong = bound.without_prediction
    if missing or extra:
        fate = "are left out" if wrong is None else "count 0, as the official script has it"
        yield warning(
            f"{missing:,} of {rows_text(len(ids))} have no prediction and {fate}; "
            f"{extra:,} predictions have an id that the data lacks"
        )
    if missing and wrong is None:
        rows = rows.subset([place for place, item in enumerate(ordered) if item is not None])
        ordered = [item for item in ordered if item is not None]
    answers = [item or {"id": row["id"], **(wrong or {})} for item, row in zip(ordered, rows, strict=True)]
    bound, renamed, labels = yield from settled(bound, answers, rows)
    answers = list(renamed)
    return Matched(bound, answers, rows, measured(bound, answers, rows, group=keys.group), missing, labels)


def by_order(made: Sequence[Prediction], rows: Rows, path: Path) -> list[Prediction]:
    """The predictions with the ids of the rows. Raises DataError when there are not as many."""
    if len(made) != len(rows):
        raise DataError(
            f"{path} has {len(made):,} predictions, {rows.name} has {rows_text(len(rows))}",
            "by order there must be one prediction for each row",
        )
    return [{**item, "id": row["id"]} for item, row in zip(made, rows, strict=True)]


def check_blocks(task: Any, made: Sequence[Prediction], rows: Rows, path: Path) -> None:
    """Raise DataError unless the blocks cover the text: every byte is scored once but those of the first token."""
    asked = task.measured
    absent = next((name for item in made for name in asked if name not in item), None)
    if absent:
        needed = ", ".join(asked[:-1]) + f" and {asked[-1]}"
        raise DataError(f"{path}: predictions of lm need {needed}; {absent} is missing", ASKED)
    in_row_order(made, [item["id"] for item in made], path)
    texts = (str(row.get("text") or "") for row in rows)
    if task.settings.scorer == "lambada":
        texts = (split_last_word(row["text"], row["id"])[1] for row in rows)
    whole = sum(len(text.encode()) for text in texts)
    scored = sum(int(item["bytes"]) for item in made)
    if not 0 <= whole - scored <= LONGEST_TOKEN:
        raise DataError(
            f"{path} scores {scored:,} bytes of text, {rows.name} has {whole:,}",
            "score the predictions on the data they were made for, all of it",
        )


def in_row_order(
    made: Sequence[Prediction], ids: Sequence[str], path: Path, *, allow_missing: bool = False
) -> list[Prediction | None]:
    """The predictions in the order of the data. Raises DataError naming repeated, missing and extra ids.

    With `allow_missing` a row without a prediction has None, and extra predictions are left out; some id must match.
    """
    by_id = {item["id"]: item for item in made}
    if len(by_id) != len(made):
        seen: set[str] = set()
        twice = [i["id"] for i in made if i["id"] in seen or seen.add(i["id"])]  # type: ignore[func-returns-value]
        raise DataError(
            f"{path}: {len(twice)} {'id is' if len(twice) == 1 else 'ids are'} repeated ({', '.join(twice[:SHOWN])})",
            "give each row one prediction",
        )
    missing = [i for i in ids if i not in by_id]
    extra = sorted(set(by_id) - set(ids)) if len(by_id) + len(missing) != len(ids) else []
    if (missing or extra) and not (allow_missing and len(missing) < len(ids)):
        parts = (
            [f"{len(missing):,} of {rows_text(len(ids))} without a prediction ({', '.join(missing[:SHOWN])})"]
            if missing
            else []
        )
        parts += [f"{len(extra):,} with an id that the data lacks ({', '.join(extra[:SHOWN])})"] if extra else []
        raise DataError(
            f"{path}: " + "; ".join(parts),
            "score the predictions on the data they were made for; --allow-missing scores what both have"
            if len(missing) < len(ids)
            else "no id matches; --allow-order matches the first prediction with the first row, and so on",
        )
    return [by_id.get(i) for i in ids]
