"""Optimizer steps: each holds exactly the recipe's number of examples, whatever the micro-batches and processes.

Every random draw is keyed by (seed, step, micro-batch): a resumed run, an evaluation in between, or another number of
processes does not change what dropout draws. A step for which memory did not suffice is repeated whole, in
micro-batches of half the size, from the draws of its micro-batch 0 on: it is, bit for bit, the step of a run with that
size. Where threads hold one example each, one thread goes on alone. Several processes go through a step together, and
find out apart, before one that is larger than all before, whether each of them has the memory.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING

import numpy as np
import torch

from hfkit.engine.average import average_of
from hfkit.engine.collate import collate
from hfkit.engine.cpu import Crew, clear, twin
from hfkit.engine.drawn import seen
from hfkit.engine.loss import loss_of
from hfkit.engine.memory import give_back, out_of_memory
from hfkit.engine.optimize import Schedule, scale_and_clip
from hfkit.engine.outcomes import CALMER, Outcomes, StepDone
from hfkit.engine.packing import Packed, plain
from hfkit.engine.parts import leaves_unused
from hfkit.engine.perturb import perturbation
from hfkit.engine.plan import CPU_PASS_TOKENS, GPU_PASS_TOKENS, Drawn, packed_batches, padded_batches, share_of
from hfkit.engine.processes.place import Place
from hfkit.engine.regional import eager
from hfkit.engine.room import NOTHING, find_room, take_less
from hfkit.engine.shard import local
from hfkit.engine.threads import training_threads
from hfkit.engine.transfer import to_device
from hfkit.errors import DivergenceError
from hfkit.tasks.base import Feature, Task

if TYPE_CHECKING:
    from hfkit.data.features import Features
    from hfkit.recipe.keys import Tricks


class Training:
    """A model, its optimizer and the plan of its steps. `advance` does one step; `finished` tells what came of them.

    `alone` keeps it on one thread: torch.compile is not made for several.
    """

    def __init__(
        self,
        model: torch.nn.Module,
        optimizer: torch.optim.Optimizer,
        task: Task,
        features: Features,
        *,
        schedule: Schedule,
        batch_size: int,
        micro_batch_size: int,
        max_grad_norm: float,
        seed: int,
        place: Place,
        pad_id: int,
        tricks: Tricks | None = None,
        alone: bool = False,
    ) -> None:
        self.bare = model  # not wrapped: processes may call it unequally often, as evaluations do
        if place.world.size > 1 and not place.sharded:
            first = to_device(collate(seen(task, features, [0], seed, 0), pad_id), place.device)
            unused = leaves_unused(model.to(place.device), task, first)
            place.accelerator.ddp_handler.find_unused_parameters = unused
        size = 1 if alone else training_threads(model, place, batch_size)
        twins = [twin(model) for _ in range(size - 1)]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch 2.13 renames an argument that 2.10 needs
            prepare = place.accelerator.prepare_model
            self.model = model if place.sharded else prepare(model)
            self._crew = Crew([self.model, *map(prepare, twins)]) if twins else None
            self.optimizer = place.accelerator.prepare_optimizer(optimizer)
        place.check_wrapped(self.model)
        self.task, self.features, self.place = task, features, place
        self.schedule, self.batch_size, self.micro_batch_size = schedule, batch_size, micro_batch_size
        self.max_grad_norm, self.seed, self.pad_id = max_grad_norm, seed, pad_id
        self._drawn = Drawn(len(features), batch_size, seed)
        self.outcomes = Outcomes(scaled=place.precision == "float16")
        self.pulse: Callable[[], None] = lambda: None
        named = {name: p for name, p in plain(model).named_parameters() if p.requires_grad}
        self._parameters = list(named.values())
        self.r_drop, self.perturbed_from = (tricks.r_drop, tricks.adversarial_start) if tricks else (0.0, 0.0)
        self.perturbation = perturbation(plain(model), tricks) if tricks else None
        self.average = average_of(named, tricks) if tricks else None
        self.packed, self.held = isinstance(model, Packed), 1  # examples that went through the model last
        self.pass_tokens = CPU_PASS_TOKENS if place.device.type == "cpu" else GPU_PASS_TOKENS
        self.narrowed = False  # whether memory sufficed for one thread only
        self._apart = False  # whether gradients stay with the process
        self._moved = False  # whether the optimizer has its state
        self.largest = [*NOTHING]  # `room.sizes_of` what went through all processes beside what is held now

    def advance(self, step: int, *, ask: bool = False, indices: np.ndarray | None = None) -> list[str]:
        """Do optimizer step `step`, counted from 0. Its loss is read later, so the device is never waited for.

        `ask` of any process travels with the sum of the counts and comes back in every process's StepDone.
        `pulse` is called before each micro-batch; what it raises leaves the weights as they were before the step.
        `indices` are features to take in place of the plan's, for a trial. Returns lines to show: when memory ran out,
        `micro_batch_size` is now smaller, or there is one thread. Raises ResourceError when nothing is small enough.
        """
        indices = self._drawn.examples(step) if indices is None else indices
        lines = find_room(self, step, indices)
        while (sums := self._gradients(step, indices, ask=ask)) is None:
            lines.append(take_less(self, step, indices, apart=False))
        self._apply(step, indices, self.place.sum(sums))
        held = self._held_beside(step)
        if self.average is not None:
            self.average.update(step, self.schedule.steps)
        self._moved = True
        if self._held_beside(step + 1) != held:
            self.largest = [*NOTHING]
        return lines

    def _held_beside(self, step: int) -> tuple[bool, bool, int]:
        """What is in memory beside a step: the optimizer's moments, an average, a copy where weights are perturbed."""
        averaging = self.average is not None and self.average.count > 0
        return self._moved, averaging, self._passes(step)

    @property
    def threads(self) -> int:
        """Micro-batches that this process has in memory at the same time, each with gradients of its own."""
        return len(self._crew.models) if self._crew else 1

    @property
    def at_once(self) -> int:
        """Micro-batches that are in memory at the same time, over all processes."""
        return self.place.world.size * self.threads

    def narrow(self) -> None:
        """Go on with one thread: gradients are added up in another order then, so a resumed run must do the same."""
        self._crew, self.narrowed = None, True  # with the crew go the gradients of its twins

    def accumulation(self) -> int:
        """Micro-batches of a full step on each process, at least: padded ones are made smaller where that pads less."""
        return -(-self.batch_size // (self.micro_batch_size * self.place.world.size))

    def cuts(self, steps: int) -> list[np.ndarray]:
        """The micro-batches of the first `steps` steps, over all processes."""
        return [part for step in range(steps) for part in self.cut(self._drawn.examples(step))]

    @property
    def compiled(self) -> bool:
        """Whether steps run through compiled layers."""
        return isinstance(self.bare, Packed) and self.bare.compiled

    @contextmanager
    def averaged(self) -> Iterator[None]:
        """Inside, the model is what is scored and kept: its weights their average, where the recipe asks for one.

        Compiled layers run as they do outside of training.
        """
        in_place = self.average.in_place() if self.average is not None else nullcontext()
        with in_place, eager() if self.compiled else nullcontext():
            yield

    def passed(self, step: int, indices: np.ndarray | None = None) -> bool:
        """Do this process's passes of a step and forget its gradients: nothing has moved. False when memory ran out.

        No process waits for another one's gradients, so that all are there afterwards to hear of it.
        """
        indices = self._drawn.examples(step) if indices is None else indices
        self._apart = True
        try:
            done = self._gradients(step, indices, ask=False) is not None
        finally:
            self._apart = False
        self.optimizer.zero_grad(set_to_none=True)
        if not done:
            give_back(self.place.device)
        return done

    @property
    def full_step(self) -> int:
        """The first step, counted from 0, at which all that the recipe asks for is at work."""
        late = [self.perturbed_from] if self.perturbation is not None else []
        late += [self.average.start] if self.average is not None else []
        steps = self.schedule.steps
        return min(steps - 1, math.ceil(max(late, default=0.0) * steps))

    def late_begun(self, step: int) -> bool:
        """Whether something that begins at a share of all steps, and not at once, is at work before step `step`."""
        averaging = self.average is not None and self.average.start > 0 and self.average.count > 0
        steps = self.schedule.steps
        return averaging or (self.perturbed_from > 0 and self.passes(0, step, steps) > step)

    @property
    def copies(self) -> int:
        """Weights of which a copy is kept for a trick, each copy counted."""
        return sum(kept.numbers for kept in (self.perturbation, self.average) if kept is not None)

    def passes(self, first: int, last: int, steps: int) -> int:
        """Forward and backward passes of the steps from `first` up to `last`, counted from 0, of a run of `steps`.

        A step has one, and a second one where weights are perturbed.
        """
        begins = math.ceil(self.perturbed_from * steps) if self.perturbation is not None else last
        return last - first + max(0, last - max(first, begins))

    def _passes(self, step: int) -> int:
        """Passes whose gradients are added up in a step."""
        return self.passes(step, step + 1, self.schedule.steps)

    def _gradients(self, step: int, indices: np.ndarray, *, ask: bool) -> torch.Tensor | None:
        """The gradients of a step, and the (3,) sums of loss, count and asking; None when memory ran out.

        Where weights are perturbed, gradients there are added to those before. A process's are the sum over all by
        then, and stay that when the second pass's are averaged over the processes.
        """
        try:
            sums = self._pass(step, indices, ask=ask)
            if self.perturbation is not None and self._passes(step) > 1:
                with self.perturbation.moved():
                    self._pass(step, indices, ask=ask)
            return sums
        except (RuntimeError, MemoryError) as error:  # torch.OutOfMemoryError is a RuntimeError
            if not out_of_memory(error):
                raise
            return None  # leaving here drops the error, and with its frames the tensors they hold

    def _pass(self, step: int, indices: np.ndarray, *, ask: bool) -> torch.Tensor:
        parts = self.cut(indices)
        taken = (
            (i, seen(self.task, self.features, part.tolist(), self.seed, step), weight, last)
            for i, part, weight, last in share_of(parts, self.place.world.rank, self.place.world.size)
        )

        def work(model: torch.nn.Module, item: tuple[int, list[Feature], float, bool]) -> torch.Tensor:
            return self._micro_batch(model, step, *item)

        if self._crew is not None:
            shares = self._crew.run(work, list(taken))
        else:
            shares = [work(self.model, item) for item in taken]
        sums = torch.zeros(3, dtype=shares[0].dtype, device=self.place.device)
        sums[2] = float(ask)
        for share in shares:
            sums[:2] += share
        return sums

    def cut(self, indices: np.ndarray) -> list[np.ndarray]:
        """The micro-batches of a step of these features, over all processes."""
        lengths, size = self.features.lengths, self.micro_batch_size
        if self.packed:
            return packed_batches(indices, lengths, size)
        return padded_batches(indices, lengths, size, self.pass_tokens)

    def _micro_batch(
        self, model: torch.nn.Module, step: int, index: int, features: list[Feature], weight: float, last: bool
    ) -> torch.Tensor:
        """Add a micro-batch's gradients to those of `model`; returns the (2,) sums of loss and count."""
        if model is self.model and not self._apart:  # apart, processes need not begin equally many
            self.pulse()
        model.train()
        self.held = len(features)
        batch = to_device(collate(features, self.pad_id), self.place.device)
        with nullcontext() if last and not self._apart else self.place.accelerator.no_sync(self.model):
            draw = self.seed, step, index
            loss, count = loss_of(self.task, model, batch, draw, r_drop=self.r_drop)
            # Gradients are averaged over processes and divided by the true count once it is known.
            self.place.accelerator.backward(loss * (weight * self.place.world.size / self.batch_size))
        dtype = torch.float64 if self.place.device.type != "mps" else torch.float32
        return weight * torch.stack([loss.detach().to(dtype), torch.as_tensor(count, device=loss.device).to(dtype)])

    def finished(self, *, wait: bool) -> Iterator[StepDone]:
        """Steps whose loss can be read; all of them with `wait`. Raises DivergenceError when one is not finite."""
        return self.outcomes.read(wait=wait)

    def check_weights(self) -> None:
        """Raise DivergenceError when a weight is not finite; called before weights are scored or kept."""
        unfit = torch.stack([~torch.isfinite(local(p)).all() for p in self._parameters]).sum()
        if (self.place.sum(unfit) if self.place.sharded else unfit) > 0:  # all processes must raise
            raise DivergenceError("the weights are not finite any more", CALMER)

    def _apply(self, step: int, indices: np.ndarray, totals: torch.Tensor) -> None:
        lr = self.schedule.lr(step)
        for group in self.optimizer.param_groups:
            group["lr"] = lr * group["rate_share"]
        self.place.accelerator.unscale_gradients(self.optimizer)
        count = totals[1].clamp(min=1)
        divisor = count * self._passes(step)
        total = self.place.sum if self.place.sharded else None
        norm = scale_and_clip(self._parameters, (self.batch_size / divisor).float(), self.max_grad_norm, total)
        self.optimizer.step()
        # Fused optimizers write without counting it, and 16-bit copies of weights are made again by that count.
        torch.autograd.graph.increment_version(self._parameters)
        clear(self.bare)
        values = torch.stack([(totals[0] / count).float(), norm.detach().float(), totals[2].float()])
        self.outcomes.add(step, len(indices), int(self.features.lengths[indices].sum()), lr, values)
