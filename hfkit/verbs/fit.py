"""The middle of `hfkit finetune`: model and optimizer, the loop of steps, evaluations and checkpoints, the best weights at the end."""

from __future__ import annotations

import math
import time
from collections.abc import Generator
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal

from hfkit.errors import ModelError, UsageError
from hfkit.events import Event, note, resolved, warning
from hfkit.files import atomic_write, remove_folder, write_json
from hfkit.run import Run, json_line
from hfkit.tasks.scoring import Scores, columns_of, score_columns, score_fields
from hfkit.verbs.prepare import answers_of, rows_of

if TYPE_CHECKING:
    from hfkit.verbs.finetune import Ready

Events = Generator[Event, None, Any]
MICRO_BATCH = {"cpu": 8, "cuda": 64}
VALIDATION = "validation"


class Fit:
    """One training run in memory: what is fixed (`ready`, `schedule`) and what moves (`step`, `best`, `bad_evaluations`)."""

    def __init__(self, ready: Ready, *, started: float) -> None:
        self.ready = ready
        self.started = started
        self.step = 0
        self.best: dict[str, Any] | None = None
        self.bad_evaluations = 0
        self.evaluation_seconds = 0.0  # of the last evaluation with its checkpoint; 0: none yet
        self.spent = {"startup": 0.0, "evaluation": 0.0, "checkpoint": 0.0, "before": 0.0}
        self.first_scores: dict[str, Any] | None = None  # metrics and ci95 before the first step

    def build(self, *, resume_from: Run | None) -> Events:
        """Load the model (or the newest valid checkpoint of a run), resolve what depends on it, prepare the optimizer."""
        import torch

        from hfkit.engine.optimize import Schedule, auto_lr, build_optimizer, warmup_steps
        from hfkit.engine.pace import Pace, parse_time
        from hfkit.engine.train import Training, steps_per_epoch
        from hfkit.verbs.finetune import refuse_changed_data, total_steps

        ready, settings, place = self.ready, self.ready.recipe.train, self.ready.place
        checkpoint = yield from self._checkpoint(resume_from)
        if resume_from is not None:
            refuse_changed_data(resume_from, ready)
        if settings.deterministic:
            torch.use_deterministic_algorithms(True, warn_only=True)
        torch.manual_seed(settings.seed)
        self.model, notes = self._load(checkpoint)
        yield from map(note, notes)
        ready.task, resolutions = ready.task.adopt(ready.validation_rows, self.model.config)
        self.parameters = sum(p.numel() for p in self.model.parameters())
        lr, why = auto_lr(self.parameters, scratch=bool(ready.found.scratch)) if settings.lr == "auto" else (settings.lr, "given")
        self.micro_batch = MICRO_BATCH.get(place.device.type, 8) if settings.micro_batch_size == "auto" else settings.micro_batch_size
        self.per_epoch = steps_per_epoch(len(ready.train), settings.batch_size)
        steps = total_steps(ready.recipe, self.per_epoch)
        self.schedule = Schedule(float(lr), steps, warmup_steps(settings.warmup, steps), settings.schedule)
        self.limit = parse_time(settings.time) if settings.time else None
        self.fitted = self.limit is None
        for key, value, reason, given in (
            ("train.lr", lr, why, settings.lr),
            ("train.precision", place.precision, place.precision_why, settings.precision),
            ("train.micro_batch_size", self.micro_batch, f"device {place.device.type}", settings.micro_batch_size),
            ("train.metric", ready.metric, f"{ready.better} is better", settings.metric),
        ):
            if given == "auto":
                yield resolved(key, value, reason)
        optimizer = build_optimizer(self.model, float(lr), settings.weight_decay)
        self.training = Training(
            self.model, optimizer, ready.task, ready.train,
            schedule=self.schedule, batch_size=settings.batch_size, micro_batch_size=self.micro_batch,
            max_grad_norm=settings.max_grad_norm, seed=settings.seed, place=place, pad_id=self.pad_id,
        )  # fmt: skip
        self.pace = Pace()
        if checkpoint is not None:
            self._restore(checkpoint)
        self.evaluate_every = self._evaluation_interval()
        self.spent["startup"] = time.time() - self.started

    @property
    def pad_id(self) -> int:
        return int(self.ready.tokenizer.pad_token_id or 0)

    def plan(self) -> dict[str, Any]:
        """What is about to happen, for the screen and `--dry-run`."""
        ready, settings = self.ready, self.ready.recipe.train
        train, validation = ready.train, ready.validation
        items = {
            "task": ready.recipe.task,
            "model": f"{ready.found.name}, {self.parameters:,} parameters",
            "train": f"{len(ready.train_rows):,} rows, {len(train):,} examples, {int(train.lengths.sum()):,} tokens (mean {train.lengths.mean():.0f}, longest {train.lengths.max()})",
            "validation": f"{len(ready.validation_rows):,} rows, {len(validation):,} examples",
            "steps": f"{self.schedule.steps:,} of {settings.batch_size} examples ({self.schedule.steps / self.per_epoch:.2g} epochs)"
            + (f", at most {settings.time}" if settings.time else ""),
            "learning rate": f"{self.schedule.peak:g}, {self.schedule.warmup_steps} warm-up steps, {settings.schedule}",
            "precision": ready.place.precision,
            "device": ready.place.describe(),
            "evaluation": f"every {self.evaluate_every:,} steps, best by {ready.metric}",
        }
        if ready.found.name == "starter":
            items["note"] = "starter is small and English; a base model such as google-bert/bert-base-uncased answers better"
        return {"title": f"{ready.recipe.name}: {ready.found.name} on {ready.train_rows.name}", "items": items}

    def train(self, run: Run) -> Events:
        """Steps until the end, with evaluations and checkpoints on the way. Raises DivergenceError."""
        settings = self.ready.recipe.train
        self.ready.place.track(run.path, _plain(settings.model_dump(mode="json")))
        if self.step:
            yield note(f"continuing at step {self.step} of {self.schedule.steps}")
        elif settings.eval_first:
            scores = yield from self._score(run, keep=False)
            self.first_scores = {"metrics": scores.metrics, "ci95": scores.ci95} if scores else None
        saved_at = time.time()
        self.pace.start()
        while self.step < self.schedule.steps and not self._has_stopped():
            self.training.advance(self.step, ask=self._wants_to_confer(saved_at))
            self.step += 1
            due = self.step % self.evaluate_every == 0 or self.step == self.schedule.steps
            save = bool(settings.save_steps and self.step % settings.save_steps == 0)
            if (yield from self._report(wait=due or save)):
                save = (yield from self._confer(saved_at)) or save
                due = due or self.step == self.schedule.steps
                yield from self._report(wait=due or save)
            begun = time.time()
            if due or save:
                self.training.check_weights()
            if due:
                yield from self._evaluate(run)
            if due or save:
                yield from self._save(run)
                saved_at = time.time()
                if due:
                    self.evaluation_seconds = saved_at - begun
                self.pace.start()
        if self._has_stopped():
            yield note(f"stopped at step {self.step}: no better {self.ready.metric} in {settings.patience} evaluations")

    def finish(self, run: Run) -> Events:
        """Write the best weights to model/, by plain save_pretrained and one rename."""
        from hfkit.models import save_model

        ready = self.ready
        if ready.place.world.main:
            if self.best is not None and self.best["step"] != self.step:
                from hfkit.models import load_model, locate

                best = locate(str(run.checkpoints / f"step-{self.best['step']:08d}"))
                self.model, _ = load_model(best, ready.task.head, model_config=ready.task.model_config(), fresh_head="refuse")
            remove_folder(run.model)  # of a run that was killed after this point
            save_model(self.model, ready.tokenizer, run.model, self.saved())
            yield Event("saved", {"what": "model", "path": str(run.model)}, step=self.step)
        ready.place.barrier()

    def result(self, run: Run) -> dict[str, Any]:
        """The JSON object of the command."""
        ready = self.ready
        best = dict(self.best or {})
        kept = {k: best.pop(k, None) for k in ("ci95", "definitions", "rows")}
        return {
            "task": ready.recipe.task,
            "model": ready.found.name,
            "data": ready.train_rows.name,
            "run": str(run.path),
            "best": best,
            **({"before": self.first_scores} if self.first_scores else {}),
            "rows": kept["rows"],
            "metrics": best.get("metrics"),
            "ci95": kept["ci95"],
            "definitions": kept["definitions"],
            "steps": self.step,
            "throughput": {
                **self.pace.rates(),
                "seconds": time.time() - self.started,
                "startup_seconds": self.spent["startup"],
                "evaluation_seconds": self.spent["evaluation"],
                "checkpoint_seconds": self.spent["checkpoint"],
            },
            "peak_memory_bytes": peak_memory(ready.place.device),
            "world": ready.place.world.size,
        }

    def saved(self) -> dict[str, Any]:
        """hfkit.json beside the weights."""
        return self.ready.saved

    def _checkpoint(self, resume_from: Run | None) -> Generator[Event, None, Any]:
        if resume_from is None:
            return None
        from hfkit.engine.checkpoint import find_newest

        found = find_newest(resume_from.checkpoints)
        yield from (warning(f"checkpoint passed over: {line}") for line in found.skipped)
        if found.any and found.path is None:
            raise ModelError(f"{resume_from.checkpoints}: no checkpoint is valid", "start a new run without --resume")
        yield note(f"resuming {resume_from.path}" + ("" if found.path else ", which has no checkpoint yet"))
        return found.path

    def _load(self, checkpoint: Any) -> tuple[Any, list[str]]:
        from hfkit.models import load_model, locate

        ready, recipe = self.ready, self.ready.recipe
        found = ready.found if checkpoint is None else locate(str(checkpoint))
        fresh: Literal["allow", "refuse", "reset"] = "refuse" if checkpoint is not None else "reset" if recipe.train.reset_head else "allow"
        return load_model(
            found, ready.task.head, model_config=ready.task.model_config(), fresh_head=fresh,
            dropout=recipe.dropout, attention_dropout=recipe.attention_dropout,
        )  # fmt: skip

    def _restore(self, checkpoint: Any) -> None:
        from hfkit.engine.checkpoint import load_optimizer, read_state

        state = read_state(checkpoint)
        load_optimizer(checkpoint, self.model, bare(self.training.optimizer))
        self.step, self.best, self.bad_evaluations = state["step"], state["best"], state["bad_evaluations"]
        self.first_scores = state.get("first_scores")
        self.spent["before"] = state["seconds"]
        self._set_steps(state["steps"])
        self.fitted = state["fitted"]
        scaler = self.ready.place.accelerator.scaler
        if scaler is not None and state.get("scaler"):
            scaler.load_state_dict(state["scaler"])

    def _set_steps(self, steps: int) -> None:
        from hfkit.engine.optimize import warmup_steps

        warm = warmup_steps(self.ready.recipe.train.warmup, steps)
        self.schedule = replace(self.schedule, steps=steps, warmup_steps=warm)
        self.training.schedule = self.schedule

    def _evaluation_interval(self) -> int:
        given = self.ready.recipe.train.eval_steps
        if given is None:
            return self.schedule.steps
        if given != "auto":
            return int(given)
        return min(self.per_epoch, max(1, math.ceil(self.schedule.steps / 2)))

    def _has_stopped(self) -> bool:
        """Early stopping: `patience` evaluations without a better score."""
        patience = self.ready.recipe.train.patience
        return patience is not None and self.bad_evaluations >= patience

    def _save_is_due(self, saved_at: float) -> bool:
        settings = self.ready.recipe.train
        return settings.save_steps is None and time.time() - saved_at > 60 * settings.save_minutes

    def _wants_to_confer(self, saved_at: float) -> bool:
        """Whether the clock asks for a checkpoint or another end; the answer comes back a step later, to all processes."""
        return self._save_is_due(saved_at) or (self.limit is not None and self._better_end() is not None)

    def _confer(self, saved_at: float) -> Generator[Event, None, bool]:
        """What the main process's clock says, done by all: perhaps an earlier end; returns whether to save now."""
        save, end = self.ready.place.gather((self._save_is_due(saved_at), self._better_end()))[0]
        if end is not None:
            self.fitted = True
            if end < self.schedule.steps:
                self._set_steps(max(self.step, end))
                self.evaluate_every = self._evaluation_interval()
                yield note(f"{self.ready.recipe.train.time} allow {self.schedule.steps:,} steps; the schedule ends there")
        return save

    def _better_end(self) -> int | None:
        """The last step that the time limit allows, where the schedule does not say so already."""
        if self.limit is None:
            return None
        left = self.limit - self.spent["before"] - (time.time() - self.started)
        evaluation = self.evaluation_seconds or self.pace.evaluation_seconds(int(self.ready.validation.lengths.sum()))
        if self.fitted:
            late = left < evaluation + self.pace.seconds_per_step() and self.step + 1 < self.schedule.steps
            return self.step if late else None
        if not self.pace.can_fit(self.limit):
            return None
        given = self.ready.recipe.train.eval_steps
        return self.step + self.pace.steps_that_fit(left, evaluation, given if isinstance(given, int) else None)

    def _report(self, *, wait: bool) -> Generator[Event, None, bool]:
        """Events of the steps whose loss can be read; returns whether the main process asked to confer."""
        asked = False
        for done in self.training.finished(wait=wait):
            asked = asked or done.asked
            self.pace.add(done.features, done.tokens)
            fields = {
                "loss": done.loss,
                "lr": done.lr,
                "grad_norm": done.grad_norm,
                "epoch": done.step / self.per_epoch,
                "steps": self.schedule.steps,
                "eta_s": (self.schedule.steps - done.step) * self.pace.seconds_per_step(),
                **self.pace.rates(),
            }
            if self.ready.recipe.train.trackers:
                self.ready.place.accelerator.log({k: fields[k] for k in ("loss", "lr", "grad_norm")}, step=done.step)
            yield Event("step", fields, step=done.step)
        return asked

    def _score(self, run: Run, *, keep: bool) -> Generator[Event, None, Scores | None]:
        """Evaluate on validation; on the main process returns scores and, with `keep`, writes predictions when best."""
        begun = time.time()
        ready = self.ready
        answers = yield from answers_of(
            self.training.bare, ready.task, ready.validation_rows, ready.validation,
            place=ready.place, pad_id=self.pad_id, stage="evaluating",
        )  # fmt: skip
        scores: Scores | None = None
        if ready.place.world.main:
            predictions = list(answers)
            rows = rows_of(ready.task, ready.validation_rows, ready.validation)
            columns, unscored = columns_of(ready.task, predictions, rows)
            scores = score_columns(ready.task, columns, unscored)
            if ready.metric not in scores.metrics:
                raise UsageError(f"train.metric = '{ready.metric}' cannot be computed here", "there are " + ", ".join(scores.metrics))
            yield Event("scored", {"name": VALIDATION, **score_fields(scores)}, step=self.step)
            if keep and self._is_better(scores.metrics):
                write_predictions(run.path / "eval" / VALIDATION / "predictions.jsonl", predictions)
        self.spent["evaluation"] += time.time() - begun
        return scores

    def _evaluate(self, run: Run) -> Events:
        scores = yield from self._score(run, keep=True)
        if scores is not None and self._is_better(scores.metrics):
            self.best = {"step": self.step, **score_fields(scores)}
            self.bad_evaluations = 0
            write_json(run.path / "eval" / VALIDATION / "metrics.json", {"step": self.step, **score_fields(scores)})
        else:
            self.bad_evaluations += 1
        if self.ready.place.world.size > 1:
            self.best, self.bad_evaluations = self.ready.place.gather((self.best, self.bad_evaluations))[0]
        if self.ready.recipe.train.trackers and scores is not None:
            self.ready.place.accelerator.log({f"validation/{k}": v for k, v in scores.metrics.items()}, step=self.step)

    def _is_better(self, metrics: dict[str, float]) -> bool:
        if self.best is None:
            return True
        new, old = metrics[self.ready.metric], self.best["metrics"][self.ready.metric]
        return new > old if self.ready.better == "higher" else new < old

    def _save(self, run: Run) -> Events:
        from hfkit.engine.checkpoint import rotate, save

        begun = time.time()
        if self.ready.place.world.main:
            scaler = self.ready.place.accelerator.scaler
            state = {
                "step": self.step,
                "steps": self.schedule.steps,
                "fitted": self.fitted,
                "best": self.best,
                "bad_evaluations": self.bad_evaluations,
                "first_scores": self.first_scores,
                "seconds": self.spent["before"] + time.time() - self.started,
                "seed": self.ready.recipe.train.seed,
                "scaler": scaler.state_dict() if scaler is not None else None,
            }
            path = save(
                run.checkpoints, model=self.model, tokenizer=self.ready.tokenizer,
                optimizer=bare(self.training.optimizer), saved=self.saved(), state=state,
            )  # fmt: skip
            rotate(run.checkpoints, self.ready.recipe.train.keep_checkpoints, self.best["step"] if self.best else None)
            yield Event("saved", {"what": "checkpoint", "path": str(path)}, step=self.step)
        self.ready.place.barrier()
        self.spent["checkpoint"] += time.time() - begun


def write_predictions(path: Any, predictions: Any) -> int:
    """One JSON object a line, in row order, whole or not at all; returns how many."""
    count = 0
    with atomic_write(path) as handle:
        for prediction in predictions:
            handle.write(json_line(prediction))
            count += 1
    return count


def _plain(values: dict[str, Any]) -> dict[str, Any]:
    """Settings as trackers take them: numbers and words only."""
    return {name: value if isinstance(value, (int, float, str, bool)) else str(value) for name, value in values.items()}


def bare(optimizer: Any) -> Any:
    """The optimizer inside accelerate's wrapper, whose state is keyed by the model's own parameters."""
    return getattr(optimizer, "optimizer", optimizer)


def peak_memory(device: Any) -> int:
    """Bytes: of the GPU where there is one, else the most this process ever held; 0 where the system does not say."""
    if device.type == "cuda":
        import torch

        return int(torch.cuda.max_memory_allocated(device))
    try:
        import resource
    except ImportError:
        return 0
    import sys

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return int(peak if sys.platform == "darwin" else peak * 1024)
