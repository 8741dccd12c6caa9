"""Evaluations of a run on its validation set: the scores, which was the best, and how long none was better."""

from __future__ import annotations

import time
from collections.abc import Generator
from typing import Any

from hfkit.data.predictions import write_predictions
from hfkit.errors import UsageError
from hfkit.events import Event
from hfkit.files import write_json
from hfkit.run import Run
from hfkit.stopping import asked
from hfkit.tasks.analysis import slice_values
from hfkit.tasks.scoring import Measured, Scores, measured, score_columns, score_fields
from hfkit.verbs.columns_file import Evaluated, write_columns
from hfkit.verbs.finetune.ready import Ready
from hfkit.verbs.prepare import answers_of, rows_of

NAME = "validation"


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
            write_predictions(run.path / "eval" / NAME / "predictions.jsonl", predictions)
            write_json(run.path / "eval" / NAME / "metrics.json", self.best)
            if self.found is not None:
                write_columns(run.path / "eval" / NAME, self._evaluated(self.found))
        self.best, self.bad = place.gather((self.best, self.bad))[0]
        if scores is not None and self.ready.recipe.train.trackers:
            place.accelerator.log({f"{NAME}/{name}": value for name, value in scores.metrics.items()}, step=step)

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
        parts = {} if task.blocks else slice_values(task, found, rows, columns)
        return Evaluated(ready.recipe.task, task.settings.model_dump(mode="json"), rows.name, found, parts)

    def _is_better(self, metrics: dict[str, float]) -> bool:
        if self.best is None:
            return True
        new, old = metrics[self.ready.metric], self.best["metrics"][self.ready.metric]
        return new > old if self.ready.better == "higher" else new < old
