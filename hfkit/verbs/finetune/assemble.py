"""From checked parts to a training that can start: model, optimizer, schedule, fresh or as a checkpoint left them."""

from __future__ import annotations

import math
import os
from collections.abc import Generator
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

from hfkit.engine.checkpoint import bare, find_newest, load_average, load_optimizer, load_trained, read_state
from hfkit.engine.optimize import Schedule, auto_lr, build_optimizer, warmup_steps
from hfkit.engine.pace import parse_time
from hfkit.engine.packing import packed
from hfkit.engine.parts import rate_shares
from hfkit.engine.perturb import epsilon_of
from hfkit.engine.plan import steps_per_epoch
from hfkit.engine.shard import shard
from hfkit.engine.train import Training
from hfkit.errors import ModelError
from hfkit.events import Event, note, resolved, warning
from hfkit.models import load_model, locate
from hfkit.run import Run
from hfkit.verbs.answering import prepared_to_write
from hfkit.verbs.finetune.compiling import compile_layers, compiled_layers
from hfkit.verbs.finetune.fit import Fit
from hfkit.verbs.finetune.folder import refuse_changed
from hfkit.verbs.finetune.parts import choose_parts
from hfkit.verbs.finetune.ready import Ready

MICRO_TOKENS = {"cpu": 1536, "cuda": 16384}  # tokens that pass through the model at once
WORTH_TOKENS = 128  # on a CPU a thread of its own is worth it for so many


def assemble(ready: Ready, *, started: float, resume_from: Run | None) -> Generator[Event, None, Fit]:
    """The training of `ready`, fresh or at the newest valid checkpoint of a run. Yields what every `auto` became.

    Raises ModelError when a run has checkpoints but none is valid, UsageError when its inputs changed.
    """
    import torch

    settings, place = ready.recipe.train, ready.place
    checkpoint = None
    if resume_from is not None:
        refuse_changed(resume_from, ready)
        checkpoint = yield from newest_checkpoint(resume_from)
    if settings.deterministic:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # cuBLAS repeats itself only with a fixed workspace
    torch.use_deterministic_algorithms(settings.deterministic, warn_only=True)
    torch.manual_seed(settings.seed)
    adapters = ready.recipe.lora.rank is not None
    model, notes = load(ready, None if adapters else checkpoint)  # checkpoints hold adapters merged, for other uses
    yield from map(note, notes)
    yield from map(note, choose_parts(model, ready.recipe, begins=checkpoint is None))
    if adapters and checkpoint is not None:
        load_trained(checkpoint, model)
    task, _ = ready.task.adopt(ready.validation_rows, model.config)
    ready = replace(ready, task=task)
    parameters = sum(p.numel() for p in model.parameters())
    chosen = auto_lr(parameters, scratch=bool(ready.found.scratch), adapters=adapters)
    lr, why = chosen if settings.lr == "auto" else (settings.lr, "")
    tricks = ready.recipe.tricks
    epsilon = epsilon_of(tricks)
    micro = settings.micro_batch_size
    mean = float(ready.train.lengths.mean())
    micro = auto_micro_batch(mean, settings.batch_size, place.device.type) if micro == "auto" else micro
    for key, value, reason, given in (
        ("train.lr", lr, why, settings.lr),
        ("train.precision", place.precision, place.precision_why, settings.precision),
        (
            "train.micro_batch_size",
            micro,
            f"{mean:.0f} tokens an example on {place.device.type}",
            settings.micro_batch_size,
        ),
        ("tricks.adversarial_epsilon", epsilon, str(tricks.adversarial), epsilon and tricks.adversarial_epsilon),
        ("train.metric", ready.metric, f"{ready.better} is better", settings.metric),
    ):
        if given == "auto":
            yield resolved(key, value, reason)
    per_epoch = steps_per_epoch(len(ready.train), settings.batch_size)
    steps = settings.max_steps or max(1, math.ceil(settings.epochs * per_epoch))
    compiled, why = compiled_layers(ready, model, resume_from)
    trained = packed(model, place, masks=masks_of(ready), compiled=compiled is not False)
    trained = shard(trained, place) if place.sharded else trained
    shares = rate_shares(model, settings.layer_lr_decay, (settings.head_lr or lr) / lr)
    training = Training(
        trained, build_optimizer(model, float(lr), settings.weight_decay, shares), ready.task, ready.train,
        schedule=Schedule(float(lr), steps, warmup_steps(settings.warmup, steps), settings.schedule),
        batch_size=settings.batch_size, micro_batch_size=micro, max_grad_norm=settings.max_grad_norm,
        seed=settings.seed, place=place, pad_id=ready.pad_id, tricks=tricks, alone=compiled is not False,
    )  # fmt: skip
    yield from compile_layers(
        training, ready, compiled, why, parse_time(settings.time) if settings.time else None
    )
    fit = Fit(ready, training, started=started)
    if checkpoint is not None:
        state = read_state(checkpoint)
        load_optimizer(checkpoint, model, bare(training.optimizer))
        if training.average is not None:
            load_average(checkpoint, model, training.average, state["averaged"])
        fit.restore(state)
    return fit


def masks_of(ready: Ready) -> int:
    """The dropout masks of the head; one where there is nothing to classify."""
    return ready.recipe.tricks.multi_dropout if ready.task.head == "sequence-classification" else 1


def auto_micro_batch(mean_length: float, batch_size: int, device: str) -> int:
    """Examples at once: enough tokens to keep the device busy, since each pass walks over all gradients once more.

    On a CPU a step of some size is cut in two for two threads, however many there are: with other micro-batches, other
    masks would be drawn.
    """
    fitting = max(1, min(batch_size, int(MICRO_TOKENS.get(device, MICRO_TOKENS["cpu"]) / mean_length)))
    half = -(-batch_size // 2)
    return half if device == "cpu" and fitting > half and half * mean_length >= WORTH_TOKENS else fitting


def newest_checkpoint(run: Run) -> Generator[Event, None, Path | None]:
    """The newest valid checkpoint of a run; None when it has not written one. Raises ModelError when none is valid."""
    found = find_newest(run.checkpoints)
    yield from (warning(f"checkpoint passed over: {line}") for line in found.skipped)
    if found.any and found.path is None:
        raise ModelError(f"{run.checkpoints}: no checkpoint is valid", "start a new run without --resume")
    yield note(f"resuming {run.path}" + ("" if found.path else ", which has no checkpoint yet"))
    return found.path


def load(ready: Ready, checkpoint: Path | None) -> tuple[Any, list[str]]:
    """The model with the task's head, and lines to show."""
    recipe = ready.recipe
    fresh: Literal["allow", "refuse", "reset"] = "reset" if recipe.train.reset_head else "allow"
    model, notes = load_model(
        ready.found if checkpoint is None else locate(str(checkpoint)),
        ready.task.head,
        model_config=ready.task.model_config(),
        fresh_head=fresh if checkpoint is None else "refuse",
        dropout=recipe.dropout,
        attention_dropout=recipe.attention_dropout,
    )
    if ready.task.driver == "decode":
        notes = [*notes, *prepared_to_write(model, ready.tokenizer, ready.task)]
    return model, notes
