"""What a fine-tuning says of itself: the plan before it, the result object after it."""

from __future__ import annotations

import time
from typing import Any

from hfkit.data.validators import rows_text
from hfkit.engine.packing import Packed
from hfkit.engine.place import peak_memory
from hfkit.run import Run
from hfkit.verbs.finetune.fit import Fit


def plan_items(fit: Fit) -> dict[str, str]:
    """What is about to happen, label by label, for the screen and `--dry-run`."""
    ready, settings, schedule = fit.ready, fit.ready.recipe.train, fit.training.schedule
    lengths = ready.train.lengths
    sizes = f"{int(lengths.sum()):,} tokens (mean {lengths.mean():.0f}, longest {lengths.max()})"
    epochs = f"{schedule.steps / fit.per_epoch:.2g} epochs"
    limit = f", at most {settings.time}" if settings.time else ""
    parameters = sum(p.numel() for p in fit.training.bare.parameters())
    return {
        "task": ready.recipe.task,
        "model": f"{ready.found.name}, {parameters:,} parameters",
        "train": f"{rows_text(len(ready.train_rows))}, {len(ready.train):,} examples, {sizes}",
        "validation": f"{rows_text(len(ready.validation_rows))}, {len(ready.validation):,} examples",
        "steps": f"{schedule.steps:,} of {settings.batch_size} examples ({epochs}){limit}",
        "learning rate": f"{schedule.peak:g}, {schedule.warmup_steps} warm-up steps, {settings.schedule}",
        "precision": ready.place.precision,
        "batches": "packed, without padding" if isinstance(fit.training.bare, Packed) else "padded",
        "device": ready.place.describe(),
        "evaluation": f"every {fit.evaluate_every:,} steps, best by {ready.metric}",
    }


def result_of(fit: Fit, run: Run) -> dict[str, Any]:
    """The JSON object of the command."""
    ready, best = fit.ready, dict(fit.validation.best or {})
    kept = {name: best.pop(name, None) for name in ("ci95", "ci95_method", "definitions", "rows")}
    return {
        "task": ready.recipe.task,
        "model": ready.found.name,
        "data": ready.train_rows.name,
        "run": str(run.path),
        "best": best,
        **({"before": fit.validation.first} if fit.validation.first else {}),
        "rows": kept["rows"],
        "metrics": best.get("metrics"),
        "ci95": kept["ci95"],
        "ci95_method": kept["ci95_method"],
        "definitions": kept["definitions"],
        "steps": fit.step,
        "throughput": {
            **fit.pace.rates(),
            "seconds": time.time() - fit.started,
            "startup_seconds": fit.startup_seconds,
            "evaluation_seconds": fit.validation.seconds,
            "checkpoint_seconds": fit.checkpoint_seconds,
        },
        "peak_memory_bytes": peak_memory(ready.place.device),
        "world": ready.place.world.size,
    }
