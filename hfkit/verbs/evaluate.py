"""`hfkit eval`: a trained model and data with answers become predictions and scores with intervals."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hfkit.data import describe
from hfkit.data.findings import named, raise_failures
from hfkit.data.predictions import REJECTED, PredictionLines, write_rejected, written
from hfkit.data.validators import duplicate_ids, scoring_columns
from hfkit.errors import DataError, UsageError
from hfkit.events import Event, finite, note, warning
from hfkit.files import atomic_folder, remove_folder, write_json
from hfkit.models import Checkpoint
from hfkit.recipe.overrides import SCORING
from hfkit.run import probe_writable, runs_folder, shown_path, slug
from hfkit.tasks.analysis import analysis, slice_values
from hfkit.tasks.scoring import measured, score_columns, score_fields
from hfkit.verbs.answered import answered
from hfkit.verbs.answering import Reading
from hfkit.verbs.columns_file import Evaluated, write_columns
from hfkit.verbs.labels import check_majority, doubts, majority_baseline, settled, without_premise
from hfkit.verbs.prepare import rows_of
from hfkit.verbs.trained import find_trained, precision_of, read_rows, with_shots

if TYPE_CHECKING:
    from hfkit.data.rows import Rows
    from hfkit.recipe import Data
    from hfkit.tasks.base import Task


def evaluate(
    model: str,
    data: Any,
    *,
    task: str | None = None,
    name: str | None = None,
    overwrite: bool = False,
    limit: int | None = None,
    batch_size: int | None = None,
    hypothesis_only: bool = False,
    majority: bool = False,
    cpu: bool = False,
    processes: int | None = None,
    overrides: Sequence[str] = (),
    offline: bool = False,
) -> Iterator[Event]:
    """Score `model` on `data` and write predictions.jsonl and metrics.json.

    `hypothesis_only` (nli) leaves the premise out, into a folder of its own; `majority` also gives the scores of always
    saying the most frequent class.
    Yields events, last "result" with the object that `--json` prints. Raises HfkitError.
    """
    started = time.time()
    precision = precision_of(overrides)
    found, task_name, bound, settings = find_trained(model, task, overrides, offline=offline, used=SCORING)
    if hypothesis_only:
        bound = without_premise(bound)
    if majority:
        check_majority(bound)

    def folder_of(rows: Rows) -> Path:
        return output_folder(found, rows.name, rows.fingerprint, name, "-hypothesis-only" if hypothesis_only else "")

    def reading() -> Reading:
        ready = yield from to_score(bound, data, settings, limit=limit, offline=offline)
        check_room(folder_of(ready[1]), overwrite=overwrite)
        return ready

    work = yield from answered(
        found, bound, reading(), cpu=cpu, precision=precision, batch_size=batch_size,
        limit=limit or settings.limit, processes=processes, overrides=overrides, offline=offline,
    )  # fmt: skip
    if not work.main:
        return
    rows, folder = work.rows, folder_of(work.rows)
    fitted, answers, labels = yield from settled(work.task, work.answers, rows)
    with atomic_folder(folder) as place:
        with written(place / "predictions.jsonl", answers) as passing:  # none is held: there may be millions
            counted = measured(fitted, passing, rows_of(fitted, rows, work.features), group=settings.group)
        scores = score_columns(fitted, counted)
        yield from doubts(fitted, counted.columns)
        baselines = (yield from majority_baseline(fitted, counted.columns, rows.name)) if majority else {}
        predictions = PredictionLines(place / "predictions.jsonl")
        parts = slice_values(fitted, counted, rows, settings.slices)
        fields = {**score_fields(scores), **analysis(fitted, counted, predictions, rows, parts)}
        unscored = scores.unscored
        if unscored:
            yield warning(f"{unscored:,} of {len(predictions):,} rows have no gold and are not scored")
        result = {
            "task": task_name,
            "model": found.name,
            "data": rows.name,
            **fields,
            **labels,
            **baselines,
            "unscored": unscored,
            "precision": work.precision,
            "throughput": work.throughput(time.time() - started),
            "run": str(found.run) if found.run else None,
            "output": str(folder),
        }
        used = fitted.settings.model_dump(mode="json")
        write_json(place / "metrics.json", finite({**result, "settings": used}))
        write_columns(place, Evaluated(task_name, used, rows.name, counted, parts))
        write_rejected(place / REJECTED, rows)
        remove_folder(folder)  # an older evaluation stays until this one is whole
    yield Event("scored", {"name": rows.name, **fields})
    yield Event("saved", {"what": "predictions and metrics", "path": shown_path(folder)})
    yield Event("result", result)


def to_score(task: Task, data: Any, settings: Data, *, limit: int | None, offline: bool) -> Reading:
    """The task with what it takes from data, and the rows to score, checked. Raises DataError."""
    task = with_shots(task, settings, offline=offline)
    rows = read_rows(task, data, settings, gold=True, limit=limit, offline=offline)
    yield from map(note, describe(rows))
    scoring_columns(rows, settings.slices, settings.group)
    with named(rows):
        if not task.blocks:
            raise_failures(duplicate_ids(rows, "failure"))
        warnings = task.check(rows, training=False)
    yield from map(warning, warnings)
    refuse_without_gold(task, rows)
    return task, rows


def refuse_without_gold(task: Task, rows: Rows) -> None:
    """Raise DataError when no row can be scored, before a model is loaded."""
    if not any(map(task.usable, rows)):
        raise DataError(
            f"{rows.name}: no row has an answer to score against",
            "give data with gold answers; `hfkit predict last --data D -o FILE` answers data without",
        )


def output_folder(found: Checkpoint, data: str, fingerprint: str, name: str | None, what: str = "") -> Path:
    """RUN/eval/<name>, by default <stem>-<4 hex of the data><what>; for a model that is no run, a folder of ./runs."""
    stem = slug(name) if name else evaluation_name(data, fingerprint) + what
    if name and stem != name:
        raise UsageError(
            f"--name {name!r} is not a folder name", f"use letters, digits, dot, dash, underscore, as in {stem}"
        )
    if found.run is not None:
        return found.run / "eval" / stem
    return runs_folder().absolute() / f"eval-{slug(Path(found.name).name)}-{stem}"


def evaluation_name(data: str, fingerprint: str) -> str:
    """The folder of an evaluation that was given no name: the stem of the data, 4 hex digits of its fingerprint."""
    return f"{slug(data_stem(data))}-{fingerprint[:4]}"


def data_stem(name: str) -> str:
    """The name of a data set without folders and ending: `a/dev.jsonl.gz` gives `dev`."""
    return Path(Path(name).name.removesuffix(".gz")).stem or name


def check_room(folder: Path, *, overwrite: bool) -> None:
    """Refuse a folder that holds something but an evaluation to overwrite. Raises UsageError, ResourceError."""
    if folder.is_dir() and any(folder.iterdir()):
        if not overwrite:
            raise UsageError(f"{shown_path(folder)} exists already", "add --overwrite, or choose another --name")
        if not (folder / "metrics.json").exists():
            raise UsageError(
                f"{shown_path(folder)} was not written by hfkit eval, so it is not overwritten", "choose another --name"
            )
    probe_writable(folder.parent)
