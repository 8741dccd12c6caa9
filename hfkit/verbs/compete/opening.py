"""How a competition begins: its folder, held; a valid submission at once; its rows checked, repaired and divided."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from hfkit import run as runs
from hfkit.data import load
from hfkit.data.split import group_keys
from hfkit.data.submission import Submission
from hfkit.data.submission.table import SUFFIXES, ZIP
from hfkit.events import Event, note, warning
from hfkit.files import sha256_of
from hfkit.lock import Hold
from hfkit.machine import start_facts
from hfkit.recipe import Recipe
from hfkit.recipe.load import as_dict, build, dump
from hfkit.run import Run, digest
from hfkit.tasks import task_class
from hfkit.tasks.base import Task
from hfkit.tasks.classify.task import Classify
from hfkit.tasks.labels import match_data_labels
from hfkit.tasks.nli.reading import label_counts
from hfkit.tasks.nli.task import NLI
from hfkit.tasks.targets import decide, label_names, survey
from hfkit.verbs.compete.recognise import Recognised
from hfkit.verbs.cv.plan import Plan, planned
from hfkit.verbs.data.check import check
from hfkit.verbs.data.repair import REPAIRED
from hfkit.verbs.prior import Identity

REPAIRED_ROWS = "repaired.jsonl"
FEWEST = 2  # folds, without which nothing can be held out


@dataclass(frozen=True)
class Checked:
    """What the data check found, as sentences; the recipe, with repaired rows where rows had to be repaired."""

    recipe: Recipe
    failures: list[str]
    warnings: list[str]


def identity_of(files: Sequence[str], found: Recognised) -> Identity:
    """What is competed for: the files' bytes (of what is no file the name), the recipe, the models."""
    content = [sha256_of(Path(name)) if Path(name).is_file() else name for name in files]
    return Identity(found.recipe, lambda values: digest([content, values, list(found.models)])[:8])


def opened(
    found: Recognised, suffix: str, prior: Run | None, output: Path | None, hold: Hold, *, overwrite: bool
) -> Run:
    """The folder, held: the one to go on in, or a new one with run.json and recipe.yaml."""
    if prior is not None:
        hold.take(prior.path)
        run = runs.open_run(prior.path)
        run.update(status="running")
        return run
    folder = runs.make_folder("compete", found.models[0], suffix, output)
    hold.take(folder)
    run = runs.create(folder, overwrite=overwrite)
    facts = {"recipe": "compete", "identity": suffix, "task": found.recipe.task, "model": found.models[0]}
    run.update(**start_facts("compete", {**facts, "metric": found.metric, "better": found.better}))
    run.write("recipe.yaml", dump(found.recipe))
    return run


def submission_path(found: Recognised, folder: Path) -> Path:
    """The file of the submission, with the sample's ending."""
    ending = ZIP if found.table.member else SUFFIXES[found.table.form]
    return folder / f"submission{ending}"


def likely_rows(found: Recognised, *, offline: bool) -> tuple[Task, list[Any]]:
    """The training rows with gold as far as they can be read, with no check but that; the task fitted to them."""
    recipe = found.recipe
    kind = task_class(recipe.task)
    lenient = recipe.data.model_copy(update={"on_bad_row": "skip", "max_bad_rows": 1.0})
    rows = load(lenient.train, columns=kind.columns, settings=lenient, split="train", need_gold=True, offline=offline)
    settings: Any = recipe.settings
    if kind is NLI:
        settings = settings.model_copy(update={"labels": match_data_labels(label_counts(rows), settings.labels or {})})
    task = kind(settings)
    usable = [row for row in rows if task.usable(row)]
    return task, usable


def checked(found: Recognised, folder: Path, *, offline: bool) -> Generator[Event, None, Checked]:
    """The data check; rows that would stop training are repaired or left out in a copy, which is said."""
    recipe, data = found.recipe, found.recipe.data
    keys = [f"data.columns.{name}={_word(column)}" for name, column in data.columns.items()]
    keys += [f"data.names={_word(data.names)}"] if data.names else []
    keys += [f"data.encoding={data.encoding}"]
    result: dict[str, Any] = {}
    for event in check(data.train, task=recipe.task, overrides=keys, offline=offline):
        if event.kind == "result":
            result = dict(event.fields)
    failures = [item["message"] for item in result["failures"]]
    warnings = [item["message"] for item in result["warnings"]]
    yield note(f"data check: {len(failures)} failures, {len(warnings)} warnings")
    yield from map(warning, [*failures, *warnings])
    if failures and all(item["code"] in REPAIRED for item in result["failures"]):
        path = folder / REPAIRED_ROWS
        if not path.exists():
            for _ in check(data.train, task=recipe.task, fix=path, overrides=keys, offline=offline):
                pass
        yield note(f"training goes on with repaired rows: {path}, changes in {path.stem}.changes.jsonl")
        label = data.columns.get("label")
        columns = {"label": label} if isinstance(label, list) else {}
        update = {"train": str(path), "columns": columns, "names": None, "encoding": "utf-8"}
        recipe = recipe.model_copy(update={"data": data.model_copy(update=update)})
    return Checked(recipe, failures, warnings)


def divided(recipe: Recipe, *, offline: bool) -> Generator[Event, None, Plan]:
    """The rows with gold, their folds, and a recipe whose labels are all that there are, so that every run knows them.

    Runs on other folds would otherwise know fewer, and could not be averaged.
    """
    free = recipe.data.folds is None and recipe.data.fold_column is None
    data = recipe.data.model_copy(update={"folds": FEWEST}) if free else recipe.data  # stages have folds of their own
    plan = yield from planned(recipe.model_copy(update={"data": data}), seeds=2, offline=offline)
    settings: Any = plan.recipe.settings
    if isinstance(plan.task, Classify):
        found = survey(plan.rows)
        target, _ = decide(found, settings.target)
        if target != "regression" and not found.columns and not settings.labels:
            settings = settings.model_copy(update={"labels": label_names(found, target)})
    elif isinstance(plan.task, NLI):
        settings = settings.model_copy(
            update={"labels": match_data_labels(label_counts(plan.rows), settings.labels or {})}
        )
    complete = build(as_dict(plan.recipe.model_copy(update={"settings": settings})), name=recipe.name)
    return replace(plan, recipe=complete, task=type(plan.task)(complete.settings))


def most_folds(plan: Plan) -> int:
    """How many folds there can be: as many as groups of training rows, or those of the user's column."""
    if plan.recipe.data.fold_column is not None:
        return plan.folds
    return len(np.unique(group_keys(plan.rows, plan.recipe.data.group or plan.task.group, plan.task.columns)))


def shape_of(found: Recognised, rows: Any) -> Submission:
    """What the sample asks for, its ids met with those of the test rows. Raises DataError."""
    from hfkit.verbs.submission import fitting

    return fitting(found.table, rows)


def _word(value: Any) -> str:
    import json

    return json.dumps(value, ensure_ascii=False)
