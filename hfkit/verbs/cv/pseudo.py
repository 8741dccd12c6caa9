"""The first stage of a cross-validation with pseudo-labels: each fold's unlabelled rows labelled by a model of its own.

A fold's labeller trains on the rows that the fold's run trains on, and is its last step, not the best by validation: no
label of a held-out row has a say in the pseudo-labels that the run of that fold learns from.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

from hfkit.data.rows import Rows
from hfkit.errors import UsageError
from hfkit.events import Event, note, progress
from hfkit.recipe import Recipe
from hfkit.recipe.load import dump
from hfkit.run import Run
from hfkit.tasks import task_class
from hfkit.verbs.cv.plan import Cell
from hfkit.verbs.cv.training import passed_on, trained
from hfkit.verbs.finetune.pseudo import reading_keys, refuse_task, unlabelled
from hfkit.verbs.predict import predict

FOLDER = "pseudo"  # in the folder of the cross-validation: the labellers, each with its labels
LABELS = "pseudo.jsonl"


def checked(recipe: Recipe, *, offline: bool) -> Generator[Event, None, Rows | None]:
    """The unlabelled rows, if there are any, looked at before anything trains. Raises DataError, and UsageError for
    labels made elsewhere: whoever made them may have seen any fold."""
    if recipe.data.pseudo_labels is not None:
        raise UsageError(
            "data.pseudo_labels: cv labels data.pseudo itself, for each fold by a model that has not seen it",
            "leave data.pseudo_labels out",
        )
    if recipe.data.pseudo is None:
        return None
    task = task_class(recipe.task)(recipe.settings)
    refuse_task(task)
    return (yield from unlabelled(recipe.data, task, offline=offline))


def labeller(recipe: Recipe) -> Recipe:
    """The recipe of the labellers: gold rows alone, one evaluation after the last step, which chooses nothing."""
    data = recipe.data.model_copy(update={"pseudo": None, "pseudo_weight": 1.0})
    train = recipe.train.model_copy(update={"eval_steps": None, "patience": None, "eval_first": False})
    return recipe.model_copy(update={"data": data, "train": train})


def labelled(cells: Sequence[Cell], recipe: Recipe, run: Run, **how: Any) -> Generator[Event, None, list[Cell]]:
    """The cells, each with the file of its pseudo-labels; what is there already is not made again.

    `how`: cpu, processes, offline, as `trained` takes them. Raises HfkitError.
    """
    folder = run.path / FOLDER
    labellers = [replace(cell, path=folder / cell.name) for cell in cells]
    left = [cell for cell in labellers if not (cell.path / LABELS).exists()]
    if left:
        yield note(f"{len(left)} labellers of the unlabelled rows, one for each run")
        own = labeller(recipe)
        run.write(f"{FOLDER}/recipe.yaml", dump(own))
        yield from trained(left, own, folder, **how)
        yield from answered(left, recipe, **how)
    return [replace(cell, pseudo=own.path / LABELS) for cell, own in zip(cells, labellers, strict=True)]


def answered(cells: Sequence[Cell], recipe: Recipe, *, cpu: bool, processes: int | None, offline: bool) -> Any:
    """Each labeller's answers to the unlabelled rows, in a file in its folder."""
    from hfkit.engine.processes.jobs import Job, run_jobs, slots_for

    slots = slots_for(cpu=cpu, processes=processes)
    keys = reading_keys(recipe.data, task_class(recipe.task)(recipe.settings))
    source = str(recipe.data.pseudo)
    if len(slots) > 1:
        flags = ["--json", *(["--cpu"] if cpu else []), *(["--offline"] if offline else [])]
        jobs = [
            Job(cell.name, ("predict", str(cell.path), "--data", source, "-o", str(cell.path / LABELS), *keys, *flags))
            for cell in cells
        ]
        with closing(run_jobs(jobs, slots)) as ended:
            for number, _ in enumerate(ended, start=1):
                yield progress("labelling", number, len(cells), "runs")
        return
    said: set[str] = set()
    for cell in cells:
        made = predict(
            str(cell.path), data=source, output=Path(cell.path / LABELS), cpu=cpu, processes=1, overrides=keys,
            offline=offline,
        )  # fmt: skip
        with closing(made) as events:  # type: ignore[type-var]
            yield from passed_on(events, said)
