"""The loop of a run: steps, and between them what is due: an evaluation, a checkpoint, an earlier end."""

from __future__ import annotations

import math
import time
from collections.abc import Generator
from dataclasses import replace
from typing import Any

from hfkit.engine.checkpoint import rotate
from hfkit.engine.optimize import warmup_steps
from hfkit.engine.pace import WARM_STEPS, Pace, parse_time
from hfkit.engine.plan import steps_per_epoch
from hfkit.engine.processes.watch import Watch
from hfkit.engine.train import Training
from hfkit.events import Event, note
from hfkit.run import Run
from hfkit.stopping import Left, asked, stopped
from hfkit.verbs.finetune.deadline import Deadline
from hfkit.verbs.finetune.ready import Ready
from hfkit.verbs.finetune.saving import write
from hfkit.verbs.finetune.validation import Validation

Events = Generator[Event, None, None]


class Fit:
    """A training and where it stands: `step` steps are done. What the clock asks for, all processes do together."""

    def __init__(self, ready: Ready, training: Training, *, started: float) -> None:
        self.ready = ready
        self.training = training
        self.validation = Validation(ready, training.bare)
        self.pace = Pace()
        self.step = 0
        self.per_epoch = steps_per_epoch(len(ready.train), ready.recipe.train.batch_size)
        self.evaluate_every = self._evaluation_interval(self.steps)
        self.evaluation_due = False  # of the step that was just done
        self.alone = ready.place.world.size == 1
        training.pulse = self._between
        self.watch = Watch(ready.place.world, None)
        limit = parse_time(ready.recipe.train.time) if ready.recipe.train.time else None
        self.deadline = Deadline(limit, started, int(ready.validation.lengths.sum()), most=self.steps)
        self.startup_seconds = time.time() - started
        self.checkpoint_seconds = 0.0

    @property
    def steps(self) -> int:
        """Steps of the whole run."""
        return self.training.schedule.steps

    def train(self, run: Run) -> Events:
        """Steps until the end. Raises DivergenceError, ResourceError, and Stopped when asked to, all saved."""
        settings = self.ready.recipe.train
        self.ready.place.track(run.path, settings.model_dump(mode="json"))
        self._record_batches(run)
        self.watch = Watch.of(self.ready.place.world)
        try:
            if self.step:
                yield note(f"continuing at step {self.step} of {self.steps}")
            elif settings.eval_first:
                with self.training.averaged():
                    yield from self.validation.before()
            if self.evaluation_due:
                yield from self._pause(run)
            yield from self._steps(run)
        except Left:
            yield from self._leave(run)
        finally:
            self.watch.end()
        if self.validation.stopped():
            metric, patience = self.ready.metric, settings.patience
            yield note(f"stopped at step {self.step}: no better {metric} in {patience} evaluations")

    def _steps(self, run: Run) -> Events:
        """Steps, and what is due between them. Raises Left when asked to stop, on all processes."""
        save_steps = self.ready.recipe.train.save_steps
        saved_at = time.time()
        warm = self.step + WARM_STEPS  # what comes after it is timed: no step before it may still be under way then
        self.pace.start()
        while self.step < self.steps and not self.validation.stopped():
            if lines := self.training.advance(self.step, ask=self._wants_to_confer(saved_at)):
                yield from map(note, lines)
                self._record_batches(run)
            self.step += 1
            self.evaluation_due = self.step % self.evaluate_every == 0 or self.step == self.steps
            save_now = bool(save_steps and self.step % save_steps == 0)
            leaving = self.alone and asked() is not None
            if (yield from self._report(wait=self.evaluation_due or save_now or self.step == warm)):
                save_due, leaving = yield from self._confer(saved_at)
                save_now = save_due or save_now
                self.evaluation_due = self.evaluation_due or self.step == self.steps
                yield from self._report(wait=self.evaluation_due or save_now)
            if leaving:
                raise Left
            if self.evaluation_due or save_now:
                self.watch.resting()
                saved_at = yield from self._pause(run)

    def _record_batches(self, run: Run) -> None:
        """Into run.json: examples of a step, at once, micro-batches of a step on each process; whether compiled."""
        if self.ready.place.world.main:
            made = self.training
            sizes = {"batch_size": made.batch_size, "micro_batch_size": made.micro_batch_size}
            run.update(batches={**sizes, "accumulation": made.accumulation()}, compiled=made.compiled)

    def _leave(self, run: Run) -> Events:
        """Asked to stop: save where the training stands, then raise Stopped. On all processes together."""
        self.watch.resting()
        yield from self._report(wait=True)
        self.training.check_weights()
        if self.step:
            yield from self._save(run)
        self.leave_if_asked("and saved" if self.step else "before the first step")

    def leave_if_asked(self, what: str) -> None:
        """Raise Stopped on all processes when one was asked to stop; `what` was done about it."""
        name = next(filter(None, self.ready.place.gather(asked())), None)
        if name is not None:
            raise stopped(name, f"at step {self.step} of {self.steps}, {what}")

    def _between(self) -> None:
        """Before each micro-batch: a process that is alone may leave the step there, and do all of it again."""
        self.watch.moved()
        if self.alone and asked():
            raise Left

    def _state(self) -> dict[str, Any]:
        """Where the run stands, for a checkpoint: what `restore` reads, beside what the training says itself."""
        limit = self.deadline
        clock = {"fitted": limit.fitted, "measured": limit.measured, "seconds": limit.spent()}
        stands = {"step": self.step, "steps": self.steps, **clock}
        return {**stands, "evaluation_due": self.evaluation_due, **self.validation.state()}

    def restore(self, state: dict[str, Any]) -> None:
        """Take up where a checkpoint was written."""
        self.step = state["step"]
        self.deadline.fitted, self.deadline.seconds_before = state["fitted"], state["seconds"]
        self.deadline.measured = state.get("measured", 0)
        self.evaluation_due = state["evaluation_due"]
        made = self.training
        made.micro_batch_size = min(made.micro_batch_size, state.get("micro_batch_size", made.micro_batch_size))
        if state.get("narrowed"):
            made.narrow()
        made.outcomes.restore(state.get("outcomes", {}))
        self.validation.restore(state)
        self._end_at(state["steps"])
        scaler = self.ready.place.accelerator.scaler
        if scaler is not None and state.get("scaler"):
            scaler.load_state_dict(state["scaler"])

    def _pause(self, run: Run) -> Generator[Event, None, float]:
        """Evaluate when that is due, write a checkpoint, go on; returns when that was."""
        begun, evaluated = time.time(), self.evaluation_due
        self.training.check_weights()
        if evaluated:
            with self.training.averaged():
                yield from self.validation.evaluate(run, self.step)
            self.evaluation_due = False
        yield from self._save(run)
        if evaluated:
            self.deadline.pauses.append(time.time() - begun)
        self.pace.start()
        return time.time()

    def _report(self, *, wait: bool) -> Generator[Event, None, bool]:
        """Events of the steps whose loss can be read; returns whether the main process asked to confer."""
        asked = False
        for done in self.training.finished(wait=wait):
            asked = asked or done.asked
            self.pace.add(done.features, done.tokens, self.training.passes(done.step - 1, done.step, self.steps))
            seen = {"loss": done.loss, "lr": done.lr, "grad_norm": done.grad_norm}
            if self.ready.recipe.train.trackers:
                self.ready.place.accelerator.log(seen, step=done.step)
            ahead = {"epoch": done.step / self.per_epoch, "steps": self.steps}
            eta = self.training.passes(done.step, self.steps, self.steps) * self.pace.seconds_per_pass()
            yield Event("step", {**seen, **ahead, "eta_s": eta, **self.pace.rates()}, step=done.step)
        return asked

    def _wants_to_confer(self, saved_at: float) -> bool:
        """Whether a signal, or the main process's clock, asks for something; all know it a step later."""
        if asked() is not None:
            return True
        if not self.ready.place.world.main:
            return False
        return self._save_is_due(saved_at) or self._better_end() is not None

    def _confer(self, saved_at: float) -> Generator[Event, None, tuple[bool, bool]]:
        """What the main process's clock says, done by all: perhaps another end. Returns whether to save, leave."""
        told = self.ready.place.gather((self._save_is_due(saved_at), self._better_end(), asked() is not None))
        save_now, end, _ = told[0]
        if end is not None:
            told_of = not self.deadline.fitted or end > self.steps  # that it ends a little earlier still is no news
            self.deadline.fit(self.pace.steps)
            if end != self.steps:
                self._end_at(max(self.step, end))
                if told_of:
                    yield note(f"{self.ready.recipe.train.time} allow {self.steps:,} steps; the schedule ends there")
        return save_now, any(leaving for *_, leaving in told)

    def _save_is_due(self, saved_at: float) -> bool:
        settings = self.ready.recipe.train
        return settings.save_steps is None and time.time() - saved_at > 60 * settings.save_minutes

    def _better_end(self) -> int | None:
        """The last step that the time limit allows, where the schedule does not say so already."""
        return self.deadline.better_end(
            self.step, self.steps, self.pace, passes=self.training.passes, interval=self._evaluation_interval,
            may_lengthen=not self.training.late_begun(self.step),
        )  # fmt: skip

    def _end_at(self, steps: int) -> None:
        before = self.training.schedule
        warm = warmup_steps(self.ready.recipe.train.warmup, steps)
        if self.step >= before.warmup_steps and steps > before.steps:
            warm = before.warmup_steps  # it is over: the rate does not rise a second time
        self.training.schedule = replace(self.training.schedule, steps=steps, warmup_steps=warm)
        self.evaluate_every = self._evaluation_interval(self.steps)

    def _evaluation_interval(self, steps: int) -> int:
        """Of a run of so many steps: eval_steps; auto is each epoch, and at least twice; null is at the end."""
        given = self.ready.recipe.train.eval_steps
        if given == "auto":
            return min(self.per_epoch, max(1, math.ceil(steps / 2)))
        return max(1, steps) if given is None else int(given)

    def _save(self, run: Run) -> Events:
        begun, ready = time.time(), self.ready
        with self.training.averaged():  # the model of a checkpoint is what was scored
            path = write(self.training, ready, run, self._state(), self.validation.kept(run, self.step))
        if path is not None:
            best = self.validation.best
            rotate(
                run.checkpoints, ready.recipe.train.keep_checkpoints,
                newest=self.step, best_step=best["step"] if best else None,
            )  # fmt: skip
            yield Event("saved", {"what": "checkpoint", "path": str(path)}, step=self.step)
        ready.place.barrier()
        self.checkpoint_seconds += time.time() - begun
