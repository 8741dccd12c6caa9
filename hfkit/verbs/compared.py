"""What `compare` is given, found: runs, folders of evaluations, or files of predictions, as what was measured."""

from __future__ import annotations

import json
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hfkit.data import describe, load
from hfkit.data.predictions import read_predictions
from hfkit.data.validators import scoring_columns
from hfkit.errors import DataError, UsageError
from hfkit.events import Event, note
from hfkit.recipe.keys import Data
from hfkit.recipe.overrides import check_scoring_keys, override_settings, section_from_overrides
from hfkit.run import shown_path
from hfkit.tasks import TASKS, task_class
from hfkit.tasks.analysis import slice_values
from hfkit.verbs.columns_file import NAME, Evaluated, read_columns
from hfkit.verbs.runs import find
from hfkit.verbs.score import Matched, matched


@dataclass(frozen=True)
class System:
    """One side of a comparison: its name as given, and what each of its seeds scored."""

    name: str
    evaluated: list[Evaluated]


@dataclass(frozen=True)
class Source:
    """Where one seed's predictions are: a file, and the folder of the evaluation that wrote it, if one did."""

    name: str
    file: Path
    folder: Path | None


def systems(
    a: str, b: str, *, data: Any, task: str | None, overrides: Sequence[str], offline: bool
) -> Generator[Event, None, tuple[System, System]]:
    """Both systems, measured: from the columns that `eval` kept or, given `data`, anew. Raises HfkitError."""
    names = [a.split(","), b.split(",")]
    if not all(name for side in names for name in side):
        raise UsageError("an empty name stands between commas", "write seeds as run1,run2,run3")
    places = [[evaluations_of(name) for name in side] for side in names]
    wanted = None if data is not None else common([held for side in places for held in side], [*names[0], *names[1]])
    sides = [
        [chosen(held, name, wanted) for held, name in zip(side, named, strict=True)]
        for side, named in zip(places, names, strict=True)
    ]
    if data is not None:
        measure = yield from measuring([*sides[0], *sides[1]], data, task, overrides, offline=offline)
        found = [[measure[source.file] for source in side] for side in sides]
    else:
        refuse_keys(overrides, task)
        found = [[kept(source) for source in side] for side in sides]
    return System(a, found[0]), System(b, found[1])


def evaluations_of(name: str) -> dict[str, Source]:
    """What `name` may stand for, by the evaluation's name: one file, one evaluation, or those of a run."""
    path = Path(name)
    if path.is_file():
        beside = path.parent if (path.parent / NAME).is_file() and path.name == "predictions.jsonl" else None
        return {path.name: Source(name, path, beside)}
    if (path / "metrics.json").is_file():
        return {path.name: Source(name, path / "predictions.jsonl", path)}
    run = find(name)
    folders = sorted(place.parent for place in run.path.glob("eval/[!.]*/metrics.json"))
    if not folders:
        raise UsageError(f"{name}: the run has no evaluation", f"`hfkit eval {run.path.name} --data D` makes one")
    return {folder.name: Source(name, folder / "predictions.jsonl", folder) for folder in folders}


def common(held: Sequence[dict[str, Source]], names: Sequence[str]) -> str | None:
    """The one evaluation that all runs have; None where no run has several. Raises UsageError when it is not clear."""
    several = [set(found) for found in held if len(found) > 1]
    if not several:
        return None
    shared = set.intersection(*several, *(set(found) for found in held if len(found) == 1))
    shared = shared if len(shared) == 1 else shared - {"validation"}
    if len(shared) == 1:
        return shared.pop()
    listed = "; ".join(f"{name}: {', '.join(found)}" for name, found in zip(names, held, strict=True))
    raise UsageError(
        f"which evaluation is meant is not clear ({listed})", "give folders, as in RUN/eval/NAME, or the data: --data D"
    )


def chosen(held: dict[str, Source], name: str, wanted: str | None) -> Source:
    """The evaluation called `wanted`, or the only one, or any of several when they are measured anew."""
    if len(held) == 1 or wanted is None:
        return next(iter(held.values()))
    return held[wanted]


def kept(source: Source) -> Evaluated:
    """What `eval` kept of an evaluation. Raises UsageError for a bare file of predictions."""
    if source.folder is None:
        raise UsageError(
            f"{source.name} is a file of predictions, which holds no gold",
            "give the data and the task: --data D --task T",
        )
    return read_columns(source.folder)


def refuse_keys(overrides: Sequence[str], task: str | None) -> None:
    """Without data nothing is measured anew, so that keys and a task would do nothing."""
    if overrides or task:
        what = overrides[0] if overrides else f"--task {task}"
        raise UsageError(f"{what} has no effect without --data", "leave it out, or give --data D")


def measuring(
    sources: Sequence[Source], data: Any, task: str | None, overrides: Sequence[str], *, offline: bool
) -> Generator[Event, None, dict[Path, Evaluated]]:
    """Every file measured on `data`. Keys go before what the evaluations were made with."""
    name, stored = task_and_settings(sources, task)
    kind = task_class(name)
    check_scoring_keys(overrides, kind.name, kind.Settings)
    known = {key: value for key, value in stored.items() if key in kind.Settings.model_fields}
    settings = override_settings(kind.Settings(**known), kind.name, overrides)
    keys = section_from_overrides(Data, "data", overrides, task=kind.name)
    rows = load(data, columns=kind(settings).columns, settings=keys, need_gold=True, limit=keys.limit, offline=offline)
    yield from map(note, describe(rows))
    scoring_columns(rows, keys.slices, keys.group)
    found: dict[Path, Evaluated] = {}
    for source in sources:
        if source.file in found:
            continue
        if not source.file.is_file():
            raise DataError(f"{shown_path(source.file)} is missing", "evaluate again with --overwrite")
        made = read_predictions(source.file)
        found_here = matched(kind(settings), made, rows, source.file, allow_missing=False, allow_order=False, keys=keys)
        held = (yield from found_here) if not found else without_events(found_here)  # which are about the rows
        cut = slice_values(held.task, held.measured, held.rows, keys.slices)
        used = held.task.settings.model_dump(mode="json")
        found[source.file] = Evaluated(name, used, rows.name, held.measured, cut)
    return found


def without_events(work: Generator[Event, None, Matched]) -> Matched:
    """What the work returns; what it says was said before."""
    while True:
        try:
            next(work)
        except StopIteration as end:
            return end.value


def task_and_settings(sources: Sequence[Source], task: str | None) -> tuple[str, dict[str, Any]]:
    """The task given, else that of the first evaluation, with its settings. Raises UsageError for bare files."""
    for source in sources:
        if source.folder is not None:
            try:
                held = json.loads((source.folder / "metrics.json").read_text(encoding="utf-8"))
            except (OSError, ValueError) as error:
                raise DataError(
                    f"{source.folder / 'metrics.json'}: cannot be read ({error})", "evaluate again"
                ) from error
            if held.get("task") and task in (None, held["task"]):
                return str(held["task"]), dict(held.get("settings") or {})
    if task is None:
        raise UsageError("files of predictions do not say their task", f"add --task T: {', '.join(TASKS)}")
    return task, {}
