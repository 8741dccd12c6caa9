"""A member: one way to train (model, settings, seed) on one fold or on all; the recipes of its runs, what they said."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from hfkit.data.predictions import read_predictions
from hfkit.files import remove_folder
from hfkit.recipe import Recipe
from hfkit.recipe.load import as_dict, build
from hfkit.recipe.load import load as load_recipe
from hfkit.run import Run
from hfkit.tasks.base import Prediction, Row
from hfkit.tasks.blend import Blend

DONE, TEST = "done.json", "test.jsonl"  # of a run: written last, its facts; what it says of the test rows
SAVE_MINUTES = 5.0  # between two checkpoints


@dataclass(frozen=True)
class Member:
    """One way to train. Its runs hold out the folds `held` of `folds`: one, or each in turn."""

    name: str  # its folder
    model: str
    folds: int
    held: tuple[int, ...]
    seed: int
    changes: Mapping[str, Any] = field(default_factory=dict)  # keys that differ from the recipe

    @classmethod
    def of(cls, entry: Mapping[str, Any]) -> Member:
        """The member that a line of the journal holds."""
        return cls(**{**entry, "held": tuple(entry["held"])})

    def entry(self) -> dict[str, Any]:
        return {**asdict(self), "held": list(self.held)}

    @property
    def whole(self) -> bool:
        """Whether every training row is held out once."""
        return len(self.held) == self.folds

    def said(self) -> str:
        """The member in words."""
        where = f"{self.folds} folds" if self.whole else f"1 run, a fold of {self.folds} held out"
        extra = "".join(f", {key}={value}" for key, value in self.changes.items())
        return f"{Path(self.model).name if '/' in self.model else self.model}, {where}, seed {self.seed}{extra}"

    def runs(self, folder: Path) -> Iterator[tuple[int, Path]]:
        """Each fold that is held out, with the folder of its run."""
        for fold in self.held:
            yield fold, folder / self.name / f"fold-{fold}"

    def finished(self, folder: Path) -> list[Path]:
        """The folders of its runs that are done."""
        return [place for _, place in self.runs(folder) if (place / DONE).is_file()]

    def recipe(self, base: Recipe, fold: int, limit: float) -> Recipe:
        """The recipe of one run, which may take `limit` seconds. It is scored at its end alone, so that no evaluation
        is chosen on the rows that it is scored on."""
        keys: dict[str, Any] = {
            "model": self.model, "data.folds": self.folds, "data.fold": fold, "train.seed": self.seed,
            "train.time": f"{max(1.0, limit):.0f}s", "train.eval_steps": None, "train.save_minutes": SAVE_MINUTES,
            **self.changes,
        }  # fmt: skip
        given = [f"{key}={json.dumps(value, ensure_ascii=False)}" for key, value in keys.items()]
        return build(as_dict(base), given, name=base.name, where="compete")


def facts_of(run: Path) -> dict[str, Any]:
    """What a finished run left about itself: see `cell.facts`."""
    return dict(json.loads((run / DONE).read_text(encoding="utf-8")))


def held_out(runs: Sequence[Path]) -> dict[str, Prediction]:
    """What finished runs say of the rows that each did not see, by id."""
    return {
        item["id"]: item for run in runs for item in read_predictions(run / "eval" / "validation" / "predictions.jsonl")
    }


def of_test(runs: Sequence[Path], blend: Blend, rows: Sequence[Row]) -> list[Prediction]:
    """The mean of what finished runs say of the test rows, in their order."""
    said = [{item["id"]: item for item in read_predictions(run / TEST)} for run in runs]
    if len(said) == 1:
        return [said[0][row["id"]] for row in rows]
    shares = [1 / len(said)] * len(said)
    return [blend.blend(row, [one[row["id"]] for one in said], shares) for row in rows]


def used(run: Path) -> float:
    """Seconds of a run's own time that its newest checkpoint has behind it; 0 without one."""
    states = sorted((run / "checkpoints").glob("step-*/state.json"))
    return float(json.loads(states[-1].read_text(encoding="utf-8"))["seconds"]) if states else 0.0


def goes_on(run: Path) -> bool:
    """Whether what was begun in the folder of a run is of use: it has a checkpoint, or it lacks only the test rows."""
    return bool(Run(run).facts().get("result")) or used(run) > 0


def resumed_or(made: Recipe, run: Path) -> Recipe:
    """The recipe that a run was begun with, its time cut to what `made` has for it; `made`, where it begins anew.

    A run goes on by its own recipe alone, whose time limit was that of another moment.
    """
    from hfkit.engine.pace import parse_time

    if not (run / "recipe.yaml").is_file() or not goes_on(run):
        remove_folder(run)
        return made
    begun = load_recipe(str(run / "recipe.yaml")).model_copy(update={"name": made.name})
    limit = used(run) + parse_time(str(made.train.time))
    if Run(run).facts().get("result") or parse_time(str(begun.train.time)) <= limit:
        return begun
    return begun.model_copy(update={"train": begun.train.model_copy(update={"time": f"{limit:.0f}s"})})
