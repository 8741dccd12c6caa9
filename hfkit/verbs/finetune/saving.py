"""What a checkpoint of a run holds: the model as it is now, where the run stands, and by what it was written."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hfkit.engine.checkpoint import bare, collected, save
from hfkit.engine.packing import plain
from hfkit.engine.plan import steps_per_epoch
from hfkit.engine.train import Training
from hfkit.machine import versions
from hfkit.recipe.load import identity
from hfkit.run import Run
from hfkit.verbs.finetune.ready import Ready


def write(training: Training, ready: Ready, run: Run, state: Mapping[str, Any], evaluation: Path | None) -> Path | None:
    """Write a checkpoint, on all processes together; returns where it is, on the main one. Raises ResourceError.

    `state` is where the run stands: its `step`, and what else going on needs. `evaluation` is the folder of the best
    evaluation, where that is of this step.
    """
    scaler, average = ready.place.accelerator.scaler, training.average
    main, model, optimizer = ready.place.world.main, plain(training.bare), bare(training.optimizer)
    latest = average.latest() if average is not None else None
    whole = collected(model, optimizer, keep=main, latest=latest) if main or ready.place.sharded else None
    if not main:
        return None
    own = {
        "seed": ready.recipe.train.seed,
        "micro_batch_size": training.micro_batch_size,  # smaller than it began where memory ran out
        "narrowed": training.narrowed,
        "outcomes": training.outcomes.state(),
        "scaler": scaler.state_dict() if scaler is not None else None,
        "averaged": average.count if average is not None else 0,  # steps that went into the model's weights
    }
    return save(
        run.checkpoints, model=model, tokenizer=ready.tokenizer, optimizer=optimizer, saved=ready.saved,
        state={**state, **own}, facts=facts(ready, state["step"]), whole=whole, evaluation=evaluation,
    )  # fmt: skip


def facts(ready: Ready, step: int) -> dict[str, Any]:
    """Where and by what a checkpoint was written, for its manifest."""
    size = ready.recipe.train.batch_size
    epoch, within = divmod(step, steps_per_epoch(len(ready.train), size))
    return {
        "epoch": epoch,
        "examples": epoch * len(ready.train) + within * size,
        "world": ready.place.world.size,
        "recipe": identity(ready.recipe),
        "data": ready.train_rows.fingerprint,
        "versions": versions(),
    }
