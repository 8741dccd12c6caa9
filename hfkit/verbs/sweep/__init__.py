"""`hfkit sweep`: a recipe trained with many values of some keys; the best is named, and how much of its gain is noise.

In the order of the work: space (what is searched), study (optuna's search), trial (one run), noise (the seeds), plot.
`sweep` below is the table of contents.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from hfkit import run as runs
from hfkit.engine.pace import parse_time
from hfkit.engine.processes.world import launched
from hfkit.errors import UsageError
from hfkit.events import Event, note
from hfkit.files import write_json
from hfkit.lock import Hold
from hfkit.machine import start_facts
from hfkit.recipe import Recipe
from hfkit.recipe.load import dump
from hfkit.recipe.paths import with_absolute_paths
from hfkit.run import Run, digest, shown_path
from hfkit.verbs.finetune.folder import ending
from hfkit.verbs.finetune.ready import with_run_found
from hfkit.verbs.prior import Identity, prior_of
from hfkit.verbs.sweep.plot import svg
from hfkit.verbs.sweep.search import (
    Budget,
    Searching,
    best_of,
    check_ended,
    in_processes,
    noise_of,
    searched,
    table_of,
    worker_job,
)
from hfkit.verbs.sweep.space import Axis, check, grid, with_values
from hfkit.verbs.sweep.study import Search, check_installed

FILE = "sweep.json"  # what is searched, and at the end what was found
WINNER, PLOT = "winner.yaml", "sweep.svg"


def sweep(
    recipe: Recipe,
    axes: Sequence[Axis],
    *,
    fixed: Sequence[str] = (),
    trials: int | None = None,
    time_limit: str | None = None,
    noise_seeds: int = 3,
    output: Path | None = None,
    resume: bool = False,
    overwrite: bool = False,
    cpu: bool = False,
    processes: int | None = None,
    offline: bool = False,
    worker: bool = False,
) -> Iterator[Event]:
    """Search the values of `axes`: every combination where they are listed and `trials` suffice, else by TPE.

    `fixed` are the KEY=VALUE words that `recipe` was read with: what they say is not searched. `time_limit` as 2h or
    90m. Each trial is a run below the sweep's folder. Then the winner and the recipe as it was are trained with
    `noise_seeds` further seeds each (0: none). Several GPUs, or `processes`, train runs at once, by processes that do
    trials of the same study (`worker`: this is one of them, in `output`). Yields events, the last one "result" with
    `trials`, `best`, `winner`, `noise`, `plot`. Raises HfkitError.
    """
    started = time.time()
    check_installed()
    if launched():
        raise UsageError("a sweep starts its runs itself", "start it once, without torchrun or srun")
    if noise_seeds == 1:
        raise UsageError("--noise-seeds 1: one seed has no spread", "take 2 or more, or 0 for none")
    recipe = with_run_found(with_absolute_paths(recipe))
    check(recipe, axes, fixed)
    combinations = grid(axes, trials)
    if not combinations and trials is None and time_limit is None:
        raise UsageError("how long to search is not said", "give --trials N, --time 2h, or both")
    until = None if time_limit is None else started + parse_time(time_limit, where="--time")
    budget = Budget(trials or len(combinations) or None, until, 2 * noise_seeds)
    identity = Identity(recipe, lambda values: digest([values, [asdict(axis) for axis in axes]])[:8])
    if worker:
        assert output is not None
        search = Search(output, axes, seed=recipe.train.seed + os.getpid())  # each draws by itself
        yield from searched(Searching(recipe, output, search, budget, cpu=cpu, offline=offline))
        yield Event("result", {"run": str(output)})
        return
    prior = prior_of(identity, output, resume=resume, overwrite=overwrite, kind="sweep", of="another recipe or values")

    from hfkit.engine.processes.jobs import slots_for

    slots = slots_for(cpu=cpu, processes=processes)
    with Hold() as hold:
        run = opened(recipe, axes, identity.suffix, prior, output, hold, overwrite=overwrite)
        yield Event("plan", {"title": f"sweep of {recipe.name}", "items": plan_items(axes, combinations, budget, run)})
        with ending(run, main=True):
            search = Search(run.path, axes, seed=recipe.train.seed)
            search.requeue()
            search.plan(combinations)
            how = Searching(recipe, run.path, search, budget, cpu=cpu, offline=offline, slots=slots)
            if len(slots) > 1:
                words = worker_words(budget, noise_seeds)
                yield note(f"{len(slots)} trials at once")
                yield from in_processes(how, [worker_job(how, axes, n, words) for n in range(len(slots))])
            else:
                yield from searched(how)
            check_ended(search)
            found = table_of(search)
            best = best_of(found)
            winner = with_values(recipe, best["values"])
            command = f"hfkit finetune {shown_path(run.path / WINNER)}"
            run.write(WINNER, f"# {command}\n# Trial {best['number']} of a sweep: {best['said']}.\n{dump(winner)}")
            run.write(PLOT, svg(axes, [t for t in found if t["score"] is not None], best["metric"], best["number"]))
            yield Event("saved", {"what": "winner's recipe", "path": shown_path(run.path / WINNER)})
            noise = (yield from noise_of(how, winner, best, noise_seeds)) if noise_seeds else None
            fields = {
                "task": recipe.task,
                "model": recipe.model,
                "run": str(run.path),
                "metric": best["metric"],
                "better": best["better"],
                "trials": found,
                "best": best,
                "winner": str(run.path / WINNER),
                "plot": str(run.path / PLOT),
                "noise": noise,
                "throughput": {"seconds": time.time() - started},
            }
            hold.check()
            write_json(run.path / FILE, {**described(axes), **fields})
            run.update(
                status="done", finished=time.time(), exit_code=0, metric=best["metric"], better=best["better"],
                best={"metrics": best["metrics"]}, ci95={best["metric"]: best["ci95"]},
            )  # fmt: skip
    yield note(noise["sentence"] if noise else "one run each: what of the gain is noise of seeds was not measured")
    yield Event("next", {"commands": [command, f"hfkit runs show {shown_path(Path(best['run']))}"]})
    yield Event("result", fields)


def worker_words(budget: Budget, noise_seeds: int) -> list[str]:
    """What the processes that do the trials are told of how many there may be, and until when."""
    words = ["--worker", "--noise-seeds", str(noise_seeds)]
    words += ["--trials", str(budget.trials)] if budget.trials else []
    left = None if budget.until is None else max(1.0, budget.until - time.time())
    return [*words, *(["--time", f"{left:.0f}s"] if left is not None else [])]


def described(axes: Sequence[Axis]) -> dict[str, Any]:
    """What is searched, as sweep.json keeps it."""
    return {"axes": [asdict(axis) for axis in axes]}


def opened(
    recipe: Recipe, axes: Sequence[Axis], suffix: str, prior: Run | None, output: Path | None, hold: Hold, *,
    overwrite: bool,
) -> Run:  # fmt: skip
    """The sweep's folder, held: the one to go on in, or a new one with run.json, recipe.yaml and sweep.json."""
    if prior is not None:
        hold.take(prior.path)
        run = runs.open_run(prior.path)
        run.update(status="running")
        return run
    folder = runs.make_folder(f"sweep-{recipe.name}", recipe.model, suffix, output)
    hold.take(folder)
    run = runs.create(folder, overwrite=overwrite)
    facts = {"recipe": recipe.name, "identity": suffix, "task": recipe.task, "model": recipe.model}
    run.update(**start_facts("sweep", {**facts, "seed": recipe.train.seed}))
    run.write("recipe.yaml", dump(recipe))
    write_json(run.path / FILE, described(axes))
    return run


def plan_items(axes: Sequence[Axis], combinations: Sequence[Any], budget: Budget, run: Run) -> dict[str, str]:
    """What is about to happen, label by label."""
    ways = "every combination" if combinations else "TPE: the first at random, then near what was good"
    count = f"{budget.trials:,}" if budget.trials else "as many as the time allows"
    return {
        **{axis.key: axis.describe() for axis in axes},
        "trials": f"{count}, {ways}",
        "seeds": f"{budget.closing_runs} runs at the end" if budget.closing_runs else "none",
        "folder": str(run.path),
    }
