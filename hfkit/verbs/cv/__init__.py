"""`hfkit cv`: a recipe trained on every fold but one, for each fold and seed; out-of-fold predictions of all rows.

Each run is an ordinary run of `finetune` in a folder of its own, so a cross-validation that was stopped goes on run by
run. `cv` below is the table of contents: plan, pseudo, training, oof.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from hfkit import run as runs
from hfkit.data.rows import Rows
from hfkit.engine.processes.world import launched
from hfkit.errors import UsageError
from hfkit.events import Event
from hfkit.files import write_json
from hfkit.lock import Hold
from hfkit.machine import start_facts
from hfkit.recipe import Recipe
from hfkit.recipe.load import dump, identity
from hfkit.run import Run, shown_path
from hfkit.verbs.cv.dry import rehearsed
from hfkit.verbs.cv.oof import spread, written
from hfkit.verbs.cv.plan import Cell, Plan, planned
from hfkit.verbs.cv.pseudo import checked, labelled
from hfkit.verbs.cv.training import trained
from hfkit.verbs.finetune.folder import data_facts, ending, find_prior

FILE = "cv.json"  # what the folder of a cross-validation holds, for ensembles
SCORES = ("rows", "metrics", "ci95", "ci95_method", "definitions")


def cv(
    recipe: Recipe,
    *,
    seeds: int | None = None,
    output: Path | None = None,
    resume: bool = False,
    overwrite: bool = False,
    dry_run: bool = False,
    cpu: bool = False,
    processes: int | None = None,
    offline: bool = False,
) -> Iterator[Event]:
    """Cross-validate `recipe`: data.folds (default 5) or data.fold_column, `seeds` seeds from train.seed on, by default
    as many as the folder has that is resumed, else one.

    Yields events, the last one "result" with `folds` and `seeds` (each run's metrics), `metrics` and `ci95` of the
    out-of-fold predictions averaged over seeds, `mean`, `spread`, `oof`. `dry_run` trains nothing: its result is that
    of cv/dry.py. Raises HfkitError.
    """
    started = time.time()
    if launched():
        raise UsageError("cv starts a process for each device itself", "start it once, without torchrun or srun")
    if seeds is not None and seeds < 1:
        raise UsageError(f"--seeds {seeds}: at least 1 is needed", "leave it out for one seed")
    if dry_run and recipe.data.pseudo is not None:
        raise UsageError(
            "--dry-run does not measure a cross-validation with data.pseudo: its runs learn from labels yet to come",
            "leave data.pseudo out to measure its first stage",
        )
    unlabelled = yield from checked(recipe, offline=offline)
    plan = yield from planned(recipe, seeds=seeds or seeds_before(output, resume=resume), offline=offline)
    prior = find_prior(plan.recipe, output, resume=resume, overwrite=overwrite)
    if dry_run:
        yield from rehearsed(plan, plan_items(plan), cpu=cpu, processes=processes, offline=offline)
        return
    data = data_of(plan, unlabelled)
    if prior is not None:
        refuse_changed(prior, data)
        if seeds is None:  # also of a folder that was found by its name
            plan = plan.with_seeds(max(len(plan.seeds), len(prior.facts().get("seeds", []))))
    with Hold() as hold:
        run = opened(plan, data, prior, output, hold, overwrite=overwrite)
        cells = list(plan.cells(run.path))
        yield Event(
            "plan",
            {"title": f"{recipe.name}: {plan.folds} folds", "items": {**plan_items(plan), "folder": str(run.path)}},
        )
        how: dict[str, Any] = {"cpu": cpu, "processes": processes, "offline": offline}
        with ending(run, main=True):
            if plan.recipe.data.pseudo is not None:
                cells = yield from labelled(cells, plan.recipe, run, **how)
            found = yield from trained(cells, plan.recipe, run.path, **how)
            hold.check()
            fields = result_of(plan, cells, run, found)
            write_json(run.path / FILE, {**fields, "data_fingerprint": plan.rows.fingerprint})
            run.update(status="done", finished=time.time(), exit_code=0, metrics=fields["metrics"], ci95=fields["ci95"])
    yield Event("scored", {"name": "out of fold", **{name: fields[name] for name in SCORES}})
    yield Event("saved", {"what": "out-of-fold predictions", "path": shown_path(Path(fields["oof"]))})
    yield Event("next", {"commands": [f"hfkit ensemble {shown_path(run.path)} -o {shown_path(run.path)}-model"]})
    yield Event("result", {**fields, "throughput": {"seconds": time.time() - started}})


def result_of(plan: Plan, cells: Sequence[Cell], run: Run, found: list[dict[str, Any]]) -> dict[str, Any]:
    """The out-of-fold files written, and the JSON object of the command. Raises DataError where they do not fit."""
    return {
        "task": plan.recipe.task,
        "model": plan.recipe.model,
        "data": plan.rows.name,
        "run": str(run.path),
        **written(plan, cells, run.path),
        "unscored": len(plan.dropped),
        "folds": found,
        "seeds": plan.seeds,
        **spread(found),
    }


def seeds_before(output: Path | None, *, resume: bool) -> int:
    """How many seeds the cross-validation in `output` has, when it is resumed; else 1."""
    try:
        return max(1, len(Run(output).facts().get("seeds", []))) if resume and output is not None else 1
    except ValueError as error:
        raise UsageError(f"{output}/run.json: cannot be read ({error})", "move the folder away") from error


def data_of(plan: Plan, unlabelled: Rows | None) -> dict[str, Any]:
    """What run.json keeps of the rows."""
    return {"train": data_facts(plan.rows), **({"pseudo": data_facts(unlabelled)} if unlabelled is not None else {})}


def refuse_changed(prior: Run, data: dict[str, Any]) -> None:
    """A cross-validation goes on only with the rows it began with: runs and labels that are done are not made again.

    Raises UsageError.
    """
    known = prior.facts().get("data", {})
    for name, said in {"train": "training", "pseudo": "unlabelled"}.items():
        if name in known and name in data and known[name]["fingerprint"] != data[name]["fingerprint"]:
            changed = data[name]["name"]
            raise UsageError(
                f"{prior.path} began with other {said} rows: {changed} changed", "start again with --overwrite"
            )


def opened(
    plan: Plan, data: dict[str, Any], prior: Run | None, output: Path | None, hold: Hold, *, overwrite: bool
) -> Run:
    """The folder, held: the one to continue one attempt further, or a new one with run.json and recipe.yaml."""
    recipe, suffix = plan.recipe, identity(plan.recipe)
    if prior is not None:
        hold.take(prior.path)
        run = runs.open_run(prior.path)
        run.update(status="running", seeds=plan.seeds, identity=suffix)
    else:
        folder = runs.make_folder(f"cv-{recipe.name}", recipe.model, suffix, output)
        hold.take(folder)
        run = runs.create(folder, overwrite=overwrite)
        facts: dict[str, Any] = {
            "recipe": recipe.name,
            "identity": suffix,
            "task": recipe.task,
            "model": recipe.model,
            "folds": plan.folds,
            "seeds": plan.seeds,
            "data": data,
        }
        run.update(**start_facts("cv", facts))
    run.write("recipe.yaml", dump(recipe))
    return run


def plan_items(plan: Plan) -> dict[str, str]:
    """What is about to happen, label by label."""
    labellers = ", and a labeller of the unlabelled rows for each" if plan.recipe.data.pseudo is not None else ""
    sizes = [int((plan.numbers == number).sum()) for number in range(plan.folds)]
    return {
        "task": plan.recipe.task,
        "model": plan.recipe.model,
        "rows": f"{len(plan.rows):,}, in folds of {min(sizes):,} to {max(sizes):,}{plan.how}",
        "runs": f"{plan.folds * len(plan.seeds)}, seeds {', '.join(map(str, plan.seeds))}{labellers}",
    }
