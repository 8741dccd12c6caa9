"""Out-of-fold predictions: what each run said of the rows it did not see, put together, checked, averaged, scored."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

from hfkit.data.predictions import read_predictions, write_predictions
from hfkit.errors import DataError
from hfkit.tasks.base import Prediction, Task
from hfkit.tasks.blend import blend_of
from hfkit.tasks.scoring import Measured, measured, score_columns, score_fields
from hfkit.verbs.cv.plan import Cell, Plan
from hfkit.verbs.kept_evaluation import write_evaluation

NAME = "oof.jsonl"
SHOWN = 5


def of_seed(plan: Plan, cells: Sequence[Cell]) -> list[Prediction]:
    """The predictions of one seed's runs in the order of the training rows, each with the `fold` it comes from.

    Raises DataError unless each run answered exactly the rows of its fold.
    """
    held: dict[str, Prediction] = {}
    without_gold = set(plan.dropped)
    ids = [row["id"] for row in plan.rows]
    for cell in cells:
        path = cell.path / "eval" / "validation" / "predictions.jsonl"
        made = {item["id"]: {**item, "fold": cell.fold} for item in read_predictions(path)}
        mine = {name for name, number in zip(ids, plan.numbers.tolist(), strict=True) if number == cell.fold}
        odd = sorted((set(made) - without_gold) ^ mine)
        if odd:
            raise DataError(
                f"{path}: {len(odd)} ids are not those of fold {cell.fold} ({', '.join(odd[:SHOWN])})",
                "the training data changed meanwhile: start again with --overwrite",
            )
        held |= made
    return [held[name] for name in ids]


def averaged(plan: Plan, task: Task, seeds: Sequence[Sequence[Prediction]]) -> list[Prediction]:
    """One prediction for each training row: the mean over seeds."""
    if len(seeds) == 1:
        return list(seeds[0])
    blend, weights = blend_of(task), [1 / len(seeds)] * len(seeds)
    return [
        {**blend.blend(row, each, weights), "fold": each[0]["fold"]}
        for row, *each in zip(plan.rows, *seeds, strict=True)
    ]


def written(plan: Plan, cells: Sequence[Cell], folder: Path) -> dict[str, Any]:
    """Write oof-seed-S.jsonl of each seed, oof.jsonl of their mean, and its evaluation as `hfkit compare` reads it.

    Returns the part of the result that says what they are worth. Raises DataError.
    """
    task, _ = plan.task.adopt(plan.rows, None)
    seeds = [of_seed(plan, [cell for cell in cells if cell.seed == seed]) for seed in plan.seeds]
    for seed, predictions in zip(plan.seeds, seeds, strict=True):
        write_predictions(folder / f"oof-seed-{seed}.jsonl", predictions)
    mean = averaged(plan, task, seeds)
    write_predictions(folder / NAME, mean)
    found = counted(plan, task, mean)
    fields = score_fields(score_columns(task, found))
    each = [score_columns(task, counted(plan, task, one), intervals=False).metrics for one in seeds]
    write_evaluation(
        folder / "eval" / "oof", task, plan.rows, mean, found, fields,
        name=plan.recipe.task, data=f"{plan.rows.name} (out of fold)", columns=plan.recipe.data.slices,
    )  # fmt: skip
    return {**fields, "of_seeds": dict(zip(map(str, plan.seeds), each, strict=True)), "oof": str(folder / NAME)}


def counted(plan: Plan, task: Task, predictions: Sequence[Prediction]) -> Measured:
    return measured(task, predictions, plan.rows, group=plan.recipe.data.group)


def spread(runs: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The mean of each metric over all runs, and its standard deviation over folds (each the mean of its seeds) and
    over seeds (each the mean of its folds); metrics that every run has."""
    names = [name for name in runs[0]["metrics"] if all(name in run["metrics"] for run in runs)]
    found: dict[str, Any] = {"mean": {name: fmean(run["metrics"][name] for run in runs) for name in names}}
    found["spread"] = {}
    for axis in ("fold", "seed"):
        values = sorted({run[axis] for run in runs})
        if len(values) > 1:
            found["spread"][f"{axis}s"] = {
                name: stdev(fmean(run["metrics"][name] for run in runs if run[axis] == value) for value in values)
                for name in names
            }
    return found
