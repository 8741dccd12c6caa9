"""The recipe's section `tricks`: what it cannot go with, what of it does nothing, what it comes to."""

from __future__ import annotations

from hfkit.errors import UsageError
from hfkit.recipe import Recipe
from hfkit.recipe.keys import Tricks
from hfkit.tasks.base import Task


def check_tricks(recipe: Recipe, task: Task) -> None:
    """Refuse tricks that the task, the frozen weights or the spread over processes cannot take. Raises UsageError."""
    tricks = recipe.tricks
    if tricks.r_drop and getattr(task, "divergence", None) is None:
        numbers = " of numbers" if task.name == "classify" else ""
        raise UsageError(
            f"tricks.r_drop compares probabilities of classes or spans, which {task.name}{numbers} does not have",
            "leave it out: it works for classify with labels, nli and qa",
        )
    frozen = "lora.rank" if recipe.lora.rank is not None else None
    frozen = "train.freeze_layers" if recipe.train.freeze_layers is not None else frozen
    if tricks.adversarial == "fgm" and frozen:
        raise UsageError(
            f"tricks.adversarial=fgm moves the word embeddings by their gradient, and with {frozen} they have none",
            "take tricks.adversarial=awp, which moves the matrices that train",
        )
    if recipe.train.distributed == "fsdp" and (tricks.adversarial or tricks.r_drop or tricks.average):
        raise UsageError(
            "train.distributed=fsdp: tricks are made for processes that hold the whole model",
            "leave it out, or leave out the section tricks",
        )


def idle_tricks(recipe: Recipe, task: Task) -> list[str]:
    """Lines about keys of the section that are set and change nothing."""
    tricks = recipe.tricks
    lines = []
    for key in tricks.idle():
        if getattr(tricks, key) != Tricks.model_fields[key].default:
            switch = "adversarial" if key.startswith("adversarial") else "average"
            lines.append(f"tricks.{key} has no effect: tricks.{switch} is {getattr(tricks, switch) or 'null'}")
    if tricks.r_drop and recipe.dropout == 0 and recipe.attention_dropout == 0:
        lines.append("tricks.r_drop has no effect: without dropout both passes are the same")
    for key in ("multi_dropout", "pooling"):
        if task.head != "sequence-classification" and getattr(tricks, key) != Tricks.model_fields[key].default:
            lines.append(f"tricks.{key} has no effect: a {task.head} model classifies no texts")
    return lines


def tricks_text(tricks: Tricks, epsilon: float) -> str:
    """What is switched on, in words; empty when nothing is. `epsilon` holds no auto."""
    parts = []
    if tricks.adversarial:
        late = f" from {tricks.adversarial_start:.0%} of the steps on" if tricks.adversarial_start else ""
        parts.append(f"{tricks.adversarial} (epsilon {epsilon:g}){late}")
    if tricks.r_drop:
        parts.append(f"r_drop {tricks.r_drop:g}")
    if tricks.average == "ema":
        parts.append(f"ema of the weights (decay {tricks.ema_decay:g})")
    if tricks.average == "swa":
        parts.append(f"mean of the weights from {tricks.swa_start:.0%} of the steps on")
    if tricks.multi_dropout > 1:
        parts.append(f"{tricks.multi_dropout} dropout masks")
    if tricks.reinit_layers:
        parts.append(f"top {tricks.reinit_layers} layers fresh")
    if tricks.pooling != "auto":
        parts.append(f"pooling {tricks.pooling}")
    return ", ".join(parts)
