"""Evaluations of a run on its validation set: the scores, which was the best, and how long none was better."""

from __future__ import annotations

import json
import time
from collections.abc import Generator, Sequence
from pathlib import Path
from typing import Any

from hfkit.data.predictions import write_predictions
from hfkit.engine.checkpoint import EVALUATION
from hfkit.errors import UsageError
from hfkit.events import Event, warning
from hfkit.files import atomic_folder, copy_files, remove_folder, write_json
from hfkit.models.manifest import step_name
from hfkit.run import Run
from hfkit.stopping import asked
from hfkit.tasks.analysis import slice_values
from hfkit.tasks.base import Prediction
from hfkit.tasks.scoring import Measured, Scores, measured, score_columns, score_fields
from hfkit.verbs.columns_file import Evaluated, write_columns
from hfkit.verbs.finetune.ready import Ready
from hfkit.verbs.prepare import answers_of, rows_of

NAME = "validation"


def folder_of(run: Run) -> Path:
    """Where the best evaluation stands."""
    return run.path / "eval" / NAME


def _metrics_in(folder: Path) -> Any:
    """What metrics.json says; None where it cannot be read."""
    try:
        return json.loads((folder / "metrics.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None


class Validation:
    """What moves with each evaluation of `model` (never the wrapped one: processes take unequally many batches)."""

    def __init__(self, ready: Ready, model: Any) -> None:
        self.ready = ready
        self.model = model
        self.best: dict[str, Any] | None = None  # step, rows, metrics, ci95, definitions
        self.found: Measured | None = None  # rows of the latest evaluation
        self.bad = 0  # evaluations since the best
        self.first: dict[str, Any] | None = None  # metrics and ci95 before the first step
        self.seconds = 0.0

    def state(self) -> dict[str, Any]:
        """What a checkpoint keeps."""
        return {"best": self.best, "bad_evaluations": self.bad, "first_scores": self.first}

    def restore(self, state: dict[str, Any]) -> None:
        """Take up where a checkpoint was written."""
        self.best, self.bad, self.first = state["best"], state["bad_evaluations"], state["first_scores"]

    def stopped(self) -> bool:
        """Early stopping: `patience` evaluations without a better score."""
        patience = self.ready.recipe.train.patience
        return patience is not None and self.bad >= patience

    def before(self) -> Generator[Event, None, None]:
        """Score the model as it is before the first step."""
        _, scores = yield from self._scores(0)
        if scores is not None:
            self.first = {"metrics": scores.metrics, "ci95": scores.ci95}

    def evaluate(self, run: Run, step: int) -> Generator[Event, None, None]:
        """Score the model after `step`; the best so far leaves its predictions and scores in RUN/eval/validation."""
        place = self.ready.place
        predictions, scores = yield from self._scores(step)
        self.bad += 1
        if scores is not None and self._is_better(scores.metrics):
            self.best, self.bad = {"step": step, **score_fields(scores)}, 0
            self._write(folder_of(run), predictions)
        self.best, self.bad = place.gather((self.best, self.bad))[0]
        if scores is not None and self.ready.recipe.train.trackers:
            place.accelerator.log({f"{NAME}/{name}": value for name, value in scores.metrics.items()}, step=step)

    def kept(self, run: Run, step: int) -> Path | None:
        """The folder of the best evaluation, to be kept in the checkpoint of `step`, where it is of that step."""
        folder = folder_of(run)
        return folder if self.best is not None and self.best["step"] == step and folder.is_dir() else None

    def settle(self, run: Run) -> Generator[Event, None, None]:
        """Leave the evaluation of the best step in RUN/eval/validation.

        Another may stand there: a better one that was written just before a kill, and not made again after it, since
        the run went on from an earlier step and was evaluated at other ones.
        """
        folder = folder_of(run)
        if self.best is None or _metrics_in(folder) == json.loads(json.dumps(self.best)):
            return
        copy = run.checkpoints / step_name(self.best["step"]) / EVALUATION
        if not copy.is_dir():
            remove_folder(folder)
            yield warning(f"the predictions of step {self.best['step']} are lost: {folder} is removed")
            return
        with atomic_folder(folder) as temporary:
            copy_files(copy, temporary)
            remove_folder(folder)

    def _write(self, folder: Path, predictions: Sequence[Prediction]) -> None:
        """What is known of the best model so far, in place of an older evaluation: all of it, or none."""
        with atomic_folder(folder) as temporary:
            write_predictions(temporary / "predictions.jsonl", predictions)
            write_json(temporary / "metrics.json", self.best)
            if self.found is not None:
                write_columns(temporary, self._evaluated(self.found))
            remove_folder(folder)

    def _scores(self, step: int) -> Generator[Event, None, tuple[list[Any], Scores | None]]:
        """Predictions and scores on the main process; nothing on the others. Raises UsageError without the metric."""
        begun, ready = time.time(), self.ready
        answers = yield from answers_of(
            self.model, ready.task, ready.validation_rows, ready.validation,
            place=ready.place, tokenizer=ready.tokenizer, stage="evaluating", leave=lambda: bool(asked()),
        )  # fmt: skip
        predictions, scores = list(answers), None
        if ready.place.world.main:
            rows = rows_of(ready.task, ready.validation_rows, ready.validation)
            self.found = measured(ready.task, predictions, rows, group=ready.recipe.data.group)
            scores = score_columns(ready.task, self.found)
            if ready.metric not in scores.metrics:
                known = "there are " + ", ".join(scores.metrics)
                raise UsageError(f"train.metric = '{ready.metric}' cannot be computed here", known)
            yield Event("scored", {"name": NAME, **score_fields(scores)}, step=step)
        self.seconds += time.time() - begun
        return predictions, scores

    def _evaluated(self, found: Measured) -> Evaluated:
        """What `hfkit compare` needs of the evaluation."""
        ready = self.ready
        task, rows, columns = ready.task, ready.validation_rows, ready.recipe.data.slices
        parts = slice_values(task, found, rows, columns)
        return Evaluated(ready.recipe.task, task.settings.model_dump(mode="json"), rows.name, found, parts)

    def _is_better(self, metrics: dict[str, float]) -> bool:
        if self.best is None:
            return True
        new, old = metrics[self.ready.metric], self.best["metrics"][self.ready.metric]
        return new > old if self.ready.better == "higher" else new < old
