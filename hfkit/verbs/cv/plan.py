"""What a cross-validation will do, found out without torch: its rows, folds, seeds, and the recipe of every run."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from hfkit.data import describe, load
from hfkit.data.findings import named, raise_failures
from hfkit.data.folds import fold_numbers
from hfkit.data.rows import Rows
from hfkit.data.split import limited
from hfkit.data.validators import duplicate_ids, rows_text
from hfkit.errors import UsageError
from hfkit.events import Event, note, resolved, warning
from hfkit.recipe import Recipe
from hfkit.recipe.paths import with_absolute_paths
from hfkit.tasks import task_class
from hfkit.tasks.base import Task
from hfkit.tasks.blend import blend_of
from hfkit.tasks.classify.task import Classify
from hfkit.tasks.labels import label_text
from hfkit.tasks.qa.settle import scorer_of
from hfkit.tasks.targets import decide, is_list, label_names, survey
from hfkit.verbs.finetune.ready import with_run_found

if TYPE_CHECKING:
    import numpy as np

FOLDS = 5


@dataclass(frozen=True)
class Cell:
    """One run of a cross-validation: the fold it is scored on, its seed, its folder, and its pseudo-labels."""

    fold: int
    seed: int
    path: Path
    pseudo: Path | None = None

    @property
    def name(self) -> str:
        return self.path.name

    def recipe(self, recipe: Recipe) -> Recipe:
        """The recipe of this run."""
        labels = {"pseudo_labels": str(self.pseudo)} if self.pseudo is not None else {}
        data = recipe.data.model_copy(update={"fold": self.fold, **labels})
        return recipe.model_copy(update={"data": data, "train": recipe.train.model_copy(update={"seed": self.seed})})


@dataclass(frozen=True)
class Plan:
    """The recipe that all runs share but for data.fold and train.seed; the task; the rows with gold, their folds."""

    recipe: Recipe
    task: Task
    rows: Rows
    numbers: np.ndarray  # the fold of each row
    dropped: list[str]  # ids of the rows without gold, which are predicted too and left out
    folds: int
    seeds: list[int]
    how: str  # how the folds were made

    def with_seeds(self, count: int) -> Plan:
        """The same plan with so many seeds."""
        first = self.seeds[0]
        return replace(self, seeds=list(range(first, first + count)))

    def cells(self, folder: Path) -> Iterator[Cell]:
        """Every run, seed by seed, so that a whole set of folds is there early."""
        for seed in self.seeds:
            for fold in range(self.folds):
                yield Cell(fold, seed, folder / f"fold-{fold}-seed-{seed}")


def planned(recipe: Recipe, *, seeds: int, offline: bool) -> Generator[Event, None, Plan]:
    """Rows read and checked, folds dealt out. Raises UsageError and DataError."""
    recipe = with_run_found(with_absolute_paths(recipe))
    kind = task_class(recipe.task)
    task = kind(recipe.settings)
    if task.blocks:
        raise UsageError(f"{task.name} has no rows that folds could be made of", "train once: `hfkit finetune lm`")
    if recipe.data.fold is not None:
        raise UsageError(f"data.fold={recipe.data.fold}: every fold is held out in turn", "leave data.fold out")
    if recipe.data.train is None:
        raise UsageError("no training data: data.train is not set", "give --train, or data.train in the recipe")
    if seeds > 1:
        _refuse_texts(task)
    if recipe.data.validation is not None:
        yield note("data.validation is not used: each fold of train is held out in turn")
    folds = recipe.data.folds or (None if recipe.data.fold_column else FOLDS)
    data = recipe.data.model_copy(update={"validation": None, "folds": folds})

    rows = load(data.train, columns=task.columns, settings=data, split="train", need_gold=True, offline=offline)
    yield from map(note, describe(rows))
    rows = limited(rows, data.limit)
    with named(rows):
        raise_failures(duplicate_ids(rows, "failure"))
        yield from map(warning, task.check(rows, training=True))
    numbers, count, how = fold_numbers(rows, data, task.group, columns=task.columns)
    recipe = recipe.model_copy(update={"data": data.model_copy(update={"folds": count})})
    usable = [place for place, row in enumerate(rows) if task.usable(row)]
    dropped = [row["id"] for row in rows if not task.usable(row)]
    if dropped:
        yield warning(f"{rows_text(len(dropped))} of {len(rows):,} have no gold label and are left out")
    rows, numbers = rows.subset(usable), numbers[usable]
    settings, lines = settled(task, rows, numbers, several=seeds > 1)
    yield from lines
    recipe = recipe.model_copy(update={"settings": settings})
    first = recipe.train.seed
    return Plan(recipe, kind(settings), rows, numbers, dropped, count, list(range(first, first + seeds)), how)


def _refuse_texts(task: Task) -> None:
    try:
        blend_of(task)
    except UsageError as error:
        raise UsageError(f"{error.message}, as several seeds are", "take one seed: --seeds 1") from error


def settled(task: Task, rows: Rows, numbers: np.ndarray, *, several: bool) -> tuple[object, list[Event]]:
    """The task's settings as all runs must have them, decided on all rows: one fold may show less than all of them."""
    settings, lines = task.settings, list[Event]()
    if several and "keep_characters" in settings.on_request and not settings.keep_characters:
        settings = settings.model_copy(update={"keep_characters": True})
        lines.append(resolved("qa.keep_characters", True, "answers of several seeds are averaged by character"))
    if getattr(settings, "scorer", None) in ("auto", "squad"):  # squad too gives way to squad2
        scorer, chosen = scorer_of(settings, rows, task.name)
        settings = settings.model_copy(update=scorer)
        lines += [resolved(line.key, line.value, line.why) for line in chosen]
    if not isinstance(task, Classify):
        return settings, lines
    found = survey(rows)
    target, why = decide(found, settings.target)
    if settings.target == "auto":
        settings = settings.model_copy(update={"target": target})
        lines.append(resolved("classify.target", target, why))
    if target == "regression" or found.columns or settings.labels:
        return settings, lines
    seen: dict[str, set[int]] = {}
    for row, number in zip(rows, numbers.tolist(), strict=True):
        for value in row["label"] if is_list(row["label"]) else [row["label"]]:
            seen.setdefault(label_text(value), set()).add(number)
    if alone := [label for label, where in seen.items() if len(where) == 1]:
        names = label_names(found, target)
        settings = settings.model_copy(update={"labels": names})
        shown = ", ".join(sorted(alone)[:5])
        lines.append(resolved("classify.labels", f"all {len(names)}", f"some stand in one fold alone: {shown}"))
    return settings, lines
