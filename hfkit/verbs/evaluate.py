"""`hfkit eval`: a trained model and data with answers become predictions and scores with intervals."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from hfkit.data import describe
from hfkit.data.validators import duplicate_ids, raise_failures
from hfkit.errors import UsageError
from hfkit.events import Event, note, warning
from hfkit.files import write_json
from hfkit.models import Checkpoint
from hfkit.run import probe_writable, runs_folder, shown_path, slug
from hfkit.tasks.scoring import columns_of, score_columns, score_fields
from hfkit.verbs.fit import write_predictions
from hfkit.verbs.prepare import rows_of
from hfkit.verbs.trained import answering, find_trained, precision_of, read_rows, throughput


def evaluate(
    model: str,
    data: Any,
    *,
    task: str | None = None,
    name: str | None = None,
    overwrite: bool = False,
    limit: int | None = None,
    batch_size: int | None = None,
    cpu: bool = False,
    overrides: Sequence[str] = (),
    offline: bool = False,
) -> Iterator[Event]:
    """Score `model` on `data`; writes predictions.jsonl and metrics.json. Yields events, last "result". Raises HfkitError."""
    started = time.time()
    precision = precision_of(overrides)
    found, bound, settings = find_trained(model, task, overrides, offline=offline)
    rows = read_rows(bound, data, settings, gold=True, limit=limit, offline=offline)
    yield from map(note, describe(rows))
    if not bound.blocks:
        raise_failures(duplicate_ids(rows, "failure"))
    yield from map(warning, bound.check(rows, training=False))
    folder = output_folder(found, rows.name, rows.fingerprint, name)
    make_room(folder, overwrite=overwrite)

    begun = time.time()
    work = yield from answering(found, bound, rows, cpu=cpu, precision=precision, batch_size=batch_size)
    if not work.place.world.main:
        return
    seconds = time.time() - begun
    predictions = list(work.answers)
    columns, unscored = columns_of(work.task, predictions, rows_of(work.task, rows, work.features))
    scores = score_columns(work.task, columns, unscored)
    if unscored:
        yield warning(f"{unscored:,} of {len(predictions):,} rows have no gold and are not scored")
    result = {
        "task": found.saved["task"] if found.saved and not task else task or bound.name,
        "model": found.name,
        "data": rows.name,
        **score_fields(scores),
        "unscored": unscored,
        "precision": work.place.precision,
        "throughput": throughput(work, seconds, time.time() - started),
        "run": str(found.run) if found.run else None,
        "output": str(folder),
    }
    write_predictions(folder / "predictions.jsonl", predictions)
    write_json(folder / "metrics.json", {**result, "settings": work.task.settings.model_dump(mode="json")})
    yield Event("scored", {"name": rows.name, **score_fields(scores)})
    yield Event("saved", {"what": "predictions and metrics", "path": shown_path(folder)})
    yield Event("result", result)


def output_folder(found: Checkpoint, data: str, fingerprint: str, name: str | None) -> Path:
    """RUN/eval/<name>, by default <stem>-<4 hex of the data>; for a model that is no run, a folder under ./runs."""
    stem = slug(name) if name else f"{slug(Path(data).stem or data)}-{fingerprint[:4]}"
    if name and stem != name:
        raise UsageError(
            f"--name {name!r} is not a folder name", f"use letters, digits, dot, dash, underscore, as in {stem}"
        )
    if found.run is not None:
        return found.run / "eval" / stem
    return runs_folder().absolute() / f"eval-{slug(Path(found.name).name)}-{stem}"


def make_room(folder: Path, *, overwrite: bool) -> None:
    """Refuse a folder that is there already, or clear it. Raises UsageError, ResourceError."""
    if folder.exists() and any(folder.iterdir()):
        if not overwrite:
            raise UsageError(f"{shown_path(folder)} exists already", "add --overwrite, or choose another --name")
        shutil.rmtree(folder)
    probe_writable(folder)
