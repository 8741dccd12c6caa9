"""What a fine-tuning says of itself: the plan before it, the result object after it."""

from __future__ import annotations

import time
from typing import Any

from hfkit.data.validators import rows_text
from hfkit.engine.lora import ALPHA_OF_RANK
from hfkit.engine.memory import peak_memory
from hfkit.engine.packing import Packed, plain
from hfkit.engine.perturb import epsilon_of
from hfkit.engine.plan import padding_share
from hfkit.engine.train import Training
from hfkit.models.families import dropouts_of
from hfkit.recipe.keys import Lora
from hfkit.run import Run
from hfkit.verbs.finetune.fit import Fit
from hfkit.verbs.finetune.tricks import tricks_text

PADDING_STEPS = 50  # that are looked at to say how much padding there is


def plan_items(fit: Fit) -> dict[str, str]:
    """What is about to happen, label by label, for the screen and `--dry-run`."""
    ready, settings, schedule = fit.ready, fit.ready.recipe.train, fit.training.schedule
    lengths = ready.train.lengths
    sizes = f"{int(lengths.sum()):,} tokens (mean {lengths.mean():.0f}, longest {lengths.max()})"
    epochs = f"{schedule.steps / fit.per_epoch:.2g}"
    limit = f", at most {settings.time}" if settings.time else ""
    parameters = list(fit.training.bare.parameters())
    every, moving = (sum(p.numel() for p in some) for some in (parameters, (p for p in parameters if p.requires_grad)))
    parts = f"{every:,} parameters" + (f", {moving:,} of them train" if moving < every else "")
    head = f" ({settings.head_lr:g} for the head)" if settings.head_lr else ""
    decay = f", x {settings.layer_lr_decay:g} for each layer further down" if settings.layer_lr_decay != 1 else ""
    return {
        "task": ready.recipe.task,
        "model": f"{ready.found.name}, {parts}",
        "train": f"{rows_text(len(ready.train_rows))}, {len(ready.train):,} examples, {sizes}",
        **({"pseudo-labels": f"{rows_text(ready.pseudo['rows'])}, {ready.pseudo['name']}"} if ready.pseudo else {}),
        "validation": f"{rows_text(len(ready.validation_rows))}, {len(ready.validation):,} examples",
        "steps": f"{schedule.steps:,} of {settings.batch_size} examples ({epochs} epoch{'s' * (epochs != '1')}){limit}",
        "learning rate": f"{schedule.peak:g}{head}{decay}, {schedule.warmup_steps} warm-up steps, {settings.schedule}",
        **({"dropout": dropout} if (dropout := dropout_text(plain(fit.training.bare).config)) else {}),
        **({"adapters": adapters} if (adapters := adapters_text(ready.recipe.lora)) else {}),
        **({"tricks": tricks} if (tricks := tricks_text(ready.recipe.tricks, epsilon_of(ready.recipe.tricks))) else {}),
        "precision": ready.place.precision,
        "batches": batches_text(fit.training),
        **({"layers": layers} if (layers := layers_text(fit)) else {}),
        "device": ready.place.describe(),
        "evaluation": f"every {fit.evaluate_every:,} steps, best by {ready.metric}",
    }


def dropout_text(config: Any) -> str:
    """The dropouts that a model trains with, as far as its config has settings of known names."""
    hidden, attention = dropouts_of(config)
    said = ["" if hidden is None else f"{hidden:g}", "" if attention is None else f"of attention {attention:g}"]
    return ", ".join(filter(None, said))


def adapters_text(lora: Lora) -> str:
    """What low-rank adapters a model has; empty without any."""
    if lora.rank is None:
        return ""
    scale = ALPHA_OF_RANK if lora.alpha == "auto" else lora.alpha / lora.rank
    where = "all linear layers" if lora.targets == "auto" else ", ".join(lora.targets)
    return f"rank {lora.rank}, scaled by {scale:g}, dropout {lora.dropout:g}, at {where}"


def layers_text(fit: Fit) -> str:
    """What is special about the model's layers; empty if nothing is."""
    settings = fit.ready.recipe.train
    said = {
        "compiled": fit.training.compiled,
        "embeddings stay as they are": settings.freeze_layers == 0,
        f"embeddings and the lowest {settings.freeze_layers} stay as they are": settings.freeze_layers,
        "computed again in the backward pass": settings.gradient_checkpointing,
    }
    return ", ".join(text for text, true in said.items() if true)


def batches_text(training: Training) -> str:
    """How a step is cut, and whether there is padding in it."""
    count, size = training.accumulation(), min(training.micro_batch_size, training.batch_size)
    devices = f" on each of {training.place.world.size} devices" if training.place.world.size > 1 else ""
    if isinstance(training.bare, Packed):
        cut = f"{count} x {size} examples" if count > 1 else f"{size} examples"
        return f"{cut} a step{devices}, packed, without padding"
    cut = f"{training.batch_size} examples a step, at most {size} at once{devices}"
    padding = "" if "target_ids" in training.features.take([0])[0] else f": {padding_of(training):.0%} of the tokens"
    return f"{cut}, of similar length, padded{padding}"


def padding_of(training: Training) -> float:
    """The share of padding among the tokens of the first steps, 0 to 1, of a model whose targets are not padded too."""
    return padding_share(training.cuts(min(PADDING_STEPS, training.schedule.steps)), training.features.lengths)


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
            "seconds": time.time() - fit.deadline.started,
            "startup_seconds": fit.startup_seconds,
            "evaluation_seconds": fit.validation.seconds,
            "checkpoint_seconds": fit.checkpoint_seconds,
        },
        "peak_memory_bytes": peak_memory(ready.place.device),
        "world": ready.place.world.size,
    }
