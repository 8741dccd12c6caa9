"""The runs of a cross-validation, one after the other here, or spread over devices as processes of their own."""

from __future__ import annotations

import json
from collections.abc import Generator, Iterable, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from hfkit.events import Event, note, progress
from hfkit.recipe import Recipe
from hfkit.verbs.cv.plan import Cell
from hfkit.verbs.finetune import finetune

Runs = Generator[Event, None, list[dict[str, Any]]]


def trained(cells: Sequence[Cell], recipe: Recipe, folder: Path, **how: Any) -> Runs:
    """Train what is not trained yet; returns of each run `fold`, `seed`, `run`, `rows`, `metrics`, `seconds`.

    `how`: cpu, processes, offline, as `finetune` takes them; `processes` is how many runs train at once.
    """
    from hfkit.engine.processes.jobs import slots_for

    slots = slots_for(cpu=how["cpu"], processes=how["processes"])
    if len(slots) > 1:
        return (yield from in_processes(cells, folder / "recipe.yaml", slots, **how))
    return (yield from one_by_one(cells, recipe, **how))


def one_by_one(cells: Sequence[Cell], recipe: Recipe, *, cpu: bool, processes: int | None, offline: bool) -> Runs:
    """Each run in this process, on its one device."""
    found = []
    said: set[str] = set()
    for number, cell in enumerate(cells, start=1):
        yield note(f"run {number} of {len(cells)}: fold {cell.fold}, seed {cell.seed}")
        made = finetune(cell.recipe(recipe), output=cell.path, resume=True, cpu=cpu, processes=1, offline=offline)
        with closing(made) as events:
            result = yield from passed_on(events, said)
        found.append(entry(cell, result))
        yield note(line(found[-1], len(found), len(cells)))
    return found


def in_processes(
    cells: Sequence[Cell], recipe: Path, slots: Sequence[Any], *, cpu: bool, processes: int | None, offline: bool
) -> Runs:
    """Each run as a command of its own, one at a time on each slot."""
    from hfkit.engine.processes.jobs import Job, run_jobs

    flags = ["--resume", "--json", "--processes", "1", *(["--cpu"] if cpu else []), *(["--offline"] if offline else [])]
    jobs = [Job(cell.name, (*command_of(cell, recipe), *flags)) for cell in cells]
    cell_of = {cell.name: cell for cell in cells}
    yield note(f"{len(cells)} runs, {len(slots)} at once")
    found: dict[str, dict[str, Any]] = {}
    with closing(run_jobs(jobs, slots)) as ended:
        for job, answer in ended:
            found[job.name] = entry(cell_of[job.name], answer)
            yield progress("training", len(found), len(cells), "runs")
            yield note(line(found[job.name], len(found), len(cells)))
    return [found[cell.name] for cell in cells]


def command_of(cell: Cell, recipe: Path) -> list[str]:
    """The command that makes one run, from the recipe that all share."""
    keys = [f"data.fold={cell.fold}", f"train.seed={cell.seed}"]
    keys += [f"data.pseudo_labels={json.dumps(str(cell.pseudo))}"] if cell.pseudo is not None else []
    return ["finetune", str(recipe), *keys, "-o", str(cell.path)]


def passed_on(events: Iterable[Event], said: set[str]) -> Generator[Event, None, dict[str, Any]]:
    """What of a run's events is worth seeing once more among many runs; a warning is shown once. Returns the result."""
    result: dict[str, Any] = {}
    for event in events:
        if event.kind == "result":
            result = dict(event.fields)
        elif event.kind in ("progress", "step") or (event.kind == "scored" and event.step is not None):
            yield event
        elif event.kind in ("warning", "resolved"):
            text = str(event.fields.get("text") or event.fields.get("key"))
            if text not in said:
                said.add(text)
                yield event
    return result


def entry(cell: Cell, result: dict[str, Any]) -> dict[str, Any]:
    """What the result of a cross-validation says of one run."""
    return {
        "fold": cell.fold,
        "seed": cell.seed,
        "run": str(cell.path),
        "rows": result["rows"],
        "metrics": result["metrics"],
        "seconds": result["throughput"]["seconds"],
    }


def line(found: dict[str, Any], done: int, total: int) -> str:
    """One finished run in a line."""
    values = ", ".join(f"{name} {value:.4g}" for name, value in list(found["metrics"].items())[:3])
    return f"fold {found['fold']}, seed {found['seed']}: {values} ({done} of {total} runs)"
