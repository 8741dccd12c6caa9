"""What a checkpoint of a run holds: the model as it is now, where the run stands, and by what it was written."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hfkit.engine.checkpoint import bare, collected, save
from hfkit.engine.packing import plain
from hfkit.machine import versions
from hfkit.recipe.load import identity
from hfkit.run import Run

if TYPE_CHECKING:
    from hfkit.verbs.finetune.fit import Fit


def write(fit: Fit, run: Run) -> Path | None:
    """Write a checkpoint, on all processes together; returns where it is, on the main one. Raises ResourceError."""
    ready, average = fit.ready, fit.training.average
    main, model, optimizer = ready.place.world.main, plain(fit.training.bare), bare(fit.training.optimizer)
    latest = average.latest() if average is not None else None
    whole = collected(model, optimizer, keep=main, latest=latest) if main or ready.place.sharded else None
    if not main:
        return None
    return save(
        run.checkpoints, model=model, tokenizer=ready.tokenizer, optimizer=optimizer, saved=ready.saved,
        state=state(fit), facts=facts(fit), whole=whole,
    )  # fmt: skip


def state(fit: Fit) -> dict[str, Any]:
    """Where the run stands."""
    scaler, average = fit.ready.place.accelerator.scaler, fit.training.average
    return {
        "step": fit.step,
        "steps": fit.steps,
        "fitted": fit.fitted,
        "evaluation_due": fit.evaluation_due,
        **fit.validation.state(),
        "seconds": fit.seconds_before + time.time() - fit.started,
        "seed": fit.ready.recipe.train.seed,
        "micro_batch_size": fit.training.micro_batch_size,  # smaller than it began where memory ran out
        "scaler": scaler.state_dict() if scaler is not None else None,
        "averaged": average.count if average is not None else 0,  # steps that went into the model's weights
    }


def facts(fit: Fit) -> dict[str, Any]:
    """Where and by what a checkpoint was written, for its manifest."""
    ready, epoch = fit.ready, fit.step // fit.per_epoch
    within = (fit.step - epoch * fit.per_epoch) * ready.recipe.train.batch_size
    return {
        "epoch": epoch,
        "examples": epoch * len(ready.train) + within,
        "world": ready.place.world.size,
        "recipe": identity(ready.recipe),
        "data": ready.train_rows.fingerprint,
        "versions": versions(),
    }
