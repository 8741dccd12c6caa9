"""The trials of a sweep one after the other, what they gave as a table, and the seeds at its end."""

from __future__ import annotations

import time
from collections.abc import Generator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Any

from hfkit.errors import DivergenceError, HfkitError, Stopped, error_of
from hfkit.events import Event, note, progress
from hfkit.recipe import Recipe
from hfkit.verbs.sweep.noise import SIDES, compared
from hfkit.verbs.sweep.space import Axis, with_values
from hfkit.verbs.sweep.study import CODE, FIRST, HINT, PROBLEM, Search, folder_of
from hfkit.verbs.sweep.trial import Outcome, run, why

if TYPE_CHECKING:
    import optuna

    from hfkit.engine.processes.jobs import Job

STATES = {"COMPLETE": "done", "PRUNED": "pruned", "FAIL": "failed", "RUNNING": "unfinished"}


@dataclass(frozen=True)
class Budget:
    """How many trials at most, until when (seconds since the epoch), and how many runs are to follow them."""

    trials: int | None
    until: float | None
    closing_runs: int

    def lasts(self, begun: int, seconds: Sequence[float]) -> bool:
        """Whether another trial may begin; `seconds` are those of finished ones, which say what is yet to come."""
        if self.trials is not None and begun >= self.trials:
            return False
        if self.until is None or not seconds:
            return True
        return time.time() + fmean(seconds) * (1 + self.closing_runs) < self.until


@dataclass(frozen=True)
class Searching:
    """What every run of a sweep shares."""

    recipe: Recipe
    folder: Path
    search: Search
    budget: Budget
    cpu: bool
    offline: bool
    slots: Sequence[Mapping[str, str]] = ()  # places where runs train at once; none, or one: this process

    def train(self, recipe: Recipe, folder: Path, **how: Any) -> Generator[Event, None, Outcome]:
        """One run below the sweep's folder."""
        return (yield from run(recipe, folder, cpu=self.cpu, offline=self.offline, **how))


def searched(how: Searching) -> Generator[Event, None, None]:
    """Trials until the budget ends; several processes may do this at once."""
    search = how.search
    while how.budget.lasts(len(search.trials), [t.user_attrs["seconds"] for t in search.complete()]):
        if how.budget.until is not None and time.time() > how.budget.until:
            break
        if how.budget.trials is None and not search.complete() and len(search.refused()) >= FIRST:
            break  # no end of trials in sight, and what they fail by is hardly their values
        asked = search.ask(how.budget.trials)
        if asked is None:
            break
        trial, values = asked
        if before := search.same_before(trial):
            yield note(f"trial {trial.number} repeats trial {before.number}, whose result it takes")
            search.tell(trial, "done", before.value, **before.user_attrs)
        else:
            yield from one(how, trial, values)


def check_ended(search: Search) -> None:
    """Raise Stopped when the time was up before a trial came to its end; when all failed, what the last one did."""
    if search.complete():
        return
    if any(trial.state.name == "RUNNING" for trial in search.trials):
        raise Stopped("the time was up before a trial came to its end", "add --resume and more --time", code=75)
    if failed := search.refused():
        last = failed[-1].user_attrs
        message = f"no trial came to its end; the last: {last[PROBLEM]}"
        raise error_of(code=last[CODE], message=message, hint=last.get(HINT))
    raise DivergenceError("no trial came to its end, all diverged", "search smaller rates: train.lr=1e-6..1e-4")


def one(how: Searching, trial: optuna.trial.Trial, values: Mapping[str, str]) -> Generator[Event, None, None]:
    """Run one trial and tell the study; one for which there is no time left stays to be gone on with."""
    folder = how.folder / folder_of(trial)
    of = f" of {how.budget.trials}" if how.budget.trials else ""
    said = ", ".join(f"{key}={value}" for key, value in values.items())
    yield note(f"trial {trial.number}{of}: {said}")
    seen: list[float] = []

    def watch(percent: int, value: float) -> bool:
        seen.append(value)
        trial.report(value, percent)
        return how.search.hopeless(trial, percent, max(seen))

    recipe = with_values(how.recipe, values)
    ended = yield from how.train(recipe, folder, watch=watch, until=how.budget.until)
    if ended.state == "late":
        yield note(f"trial {trial.number}: the time is up; it goes on with --resume")
        return
    facts: dict[str, Any] = {"run": folder.name, "seconds": ended.seconds}
    facts |= {"metric": ended.metric, "better": ended.better}
    if ended.state == "done":
        facts |= {"metrics": ended.metrics, "ci95": ended.ci95}
        how.search.tell(trial, "done", ended.value, **facts)
        yield note(f"trial {trial.number}: {ended.metric} {ended.metrics[str(ended.metric)]:.4g}{so_far(how.search)}")
    elif ended.state == "pruned":
        how.search.tell(trial, "pruned", **facts)
        yield note(f"trial {trial.number}: half of the others were better by then, so it was ended")
    else:
        if ended.error is not None:
            facts |= {PROBLEM: ended.error.message, HINT: ended.error.hint, CODE: ended.error.code}
        how.search.tell(trial, "failed", **facts)
        yield note(f"trial {trial.number}: {why(ended.error)}")


def so_far(search: Search) -> str:
    """The best until now."""
    best = max(search.complete(), key=lambda trial: (trial.value, -trial.number))
    return f" (best: trial {best.number}, {abs(best.value or 0.0):.4g})"


def table_of(search: Search) -> list[dict[str, Any]]:
    """Every trial, the best first, those without a score last."""
    rows = []
    for trial in search.trials:
        facts = trial.user_attrs
        done = trial.state.name == "COMPLETE"
        rows.append(
            {
                "number": trial.number,
                "values": {key: str(value) for key, value in trial.params.items()},
                "state": STATES[trial.state.name],
                "score": facts["metrics"][facts["metric"]] if done else None,
                "ci95": facts.get("ci95"),
                "metric": facts.get("metric"),
                "better": facts.get("better"),
                "metrics": facts.get("metrics"),
                "seconds": facts.get("seconds"),
                "error": facts.get(PROBLEM),
                "run": str(Path(search.folder) / facts["run"]) if "run" in facts else None,
            }
        )
    rank = {t.number: -(t.value or 0.0) for t in search.complete()}
    return sorted(rows, key=lambda row: (row["number"] not in rank, rank.get(row["number"], 0.0), row["number"]))


def best_of(table: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The winner, and how its score is said."""
    best = dict(table[0])
    bounds = best["ci95"]
    interval = f", 95 % interval {bounds[0]:.2f} to {bounds[1]:.2f}" if bounds else ""
    return {**best, "said": f"{best['metric']} {best['score']:.2f} on the validation data{interval}"}


def noise_of(
    how: Searching, winner: Recipe, best: Mapping[str, Any], seeds: int
) -> Generator[Event, None, dict[str, Any] | None]:
    """The winner and the recipe as it was, trained with seeds after the one that all trials had; None without time."""
    recipes = dict(zip(SIDES, (winner, how.recipe), strict=True))
    first = how.recipe.train.seed + 1
    place = how.folder / "seeds"
    # A sweep that goes on may have another winner, whose runs are not those of the one before.
    named = dict(zip(SIDES, (f"trial-{best['number']:03d}", "default"), strict=True))
    runs = [(side, seed, place / f"{named[side]}-{seed}") for seed in range(first, first + seeds) for side in SIDES]
    if len(how.slots) > 1:
        files = dict(zip(SIDES, ("winner.yaml", "recipe.yaml"), strict=True))
        jobs = [finetune_job(how, how.folder / files[side], seed, at) for side, seed, at in runs]
        try:
            yield from in_processes(how, jobs)
        except Stopped:
            raise
        except HfkitError as error:  # one that diverges must not cost the table, nor the others
            yield note(f"{why(error)}; the others go on here")
    values: dict[str, list[float]] = {side: [] for side in SIDES}
    for side, seed, place in runs:
        if how.budget.until is not None and time.time() > how.budget.until:
            break
        yield note(f"{side} with seed {seed}")
        train = recipes[side].train.model_copy(update={"seed": seed})
        ended = yield from how.train(recipes[side].model_copy(update={"train": train}), place, until=how.budget.until)
        if ended.state == "done":
            values[side].append(ended.metrics[best["metric"]])
        elif ended.state == "failed":
            yield note(f"{side} with seed {seed}: {why(ended.error)}")
    counts = {side: len(found) for side, found in values.items()}
    if min(counts.values()) < 2:
        yield note(f"the seeds' noise is not known: runs that ended are {counts}, and each side needs two")
        return None
    found = compared(values, best["metric"], best["better"])
    return {**found, "seeds": counts, "chosen_score": best["score"]}


def worker_job(how: Searching, axes: Sequence[Axis], number: int, words: Sequence[str]) -> Job:
    """The command that does trials of this sweep until there are enough of them."""
    from hfkit.engine.processes.jobs import Job

    keys = [axis.text for axis in axes]
    return Job(f"worker {number}", ["sweep", str(how.folder / "recipe.yaml"), *keys, *words, *flags(how)])


def finetune_job(how: Searching, recipe: Path, seed: int, folder: Path) -> Job:
    """The command that trains a recipe with a seed."""
    from hfkit.engine.processes.jobs import Job

    words = ["finetune", str(recipe), f"train.seed={seed}", "--resume", "--processes", "1"]
    return Job(folder.name, [*words, *flags(how, folder)])


def flags(how: Searching, folder: Path | None = None) -> list[str]:
    """What every command below a sweep is told."""
    place = ["-o", str(folder or how.folder), "--json"]
    return [*place, *(["--cpu"] if how.cpu else []), *(["--offline"] if how.offline else [])]


def in_processes(how: Searching, jobs: Sequence[Job]) -> Generator[Event, None, None]:
    """Run commands, one at a time on each device. Raises what one of them ended with, when all have stopped."""
    from hfkit.engine.processes.jobs import run_jobs

    with closing(run_jobs(jobs, how.slots)) as ended:
        for done, (job, _) in enumerate(ended, start=1):
            yield progress("training", done, len(jobs), "processes")
            yield note(f"{job.name} is done")
