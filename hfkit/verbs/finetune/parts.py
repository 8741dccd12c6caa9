"""Which weights a recipe trains: its keys checked before torch is imported, and put into effect on the loaded model."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any

from hfkit.errors import UsageError
from hfkit.models import Checkpoint
from hfkit.models.load import TASK_HEADS
from hfkit.models.stack import known_family, layer_count
from hfkit.recipe import Recipe
from hfkit.tasks import task_class


def check_parts(recipe: Recipe, found: Checkpoint) -> None:
    """Refuse settings that the model cannot take. Raises UsageError."""
    if recipe.train.distributed == "fsdp" and task_class(recipe.task).driver == "decode":
        raise UsageError(
            f"train.distributed=fsdp: {recipe.task} is evaluated by decoding, which shared-out weights cannot do",
            "leave it out: each process then holds the whole model",
        )
    settings, kind = recipe.train, str(found.config.get("model_type"))
    if recipe.lora.rank is not None:
        if found.scratch:
            raise UsageError(
                f"lora.rank: the weights of {recipe.model} are fresh, adapters beside them learn nothing",
                "leave the section lora out, or start from a trained model",
            )
        if find_spec("peft") is None:
            raise UsageError(
                "lora.rank needs peft, which is not installed", "install it with `pip install 'hfkit[lora]'`"
            )
    check_heads(recipe, found)
    if settings.layer_lr_decay < 1:
        known_family(kind, "train.layer_lr_decay")
    if settings.freeze_layers is not None:
        known_family(kind, "train.freeze_layers")
        if found.scratch:
            raise UsageError(
                f"train.freeze_layers: the weights of {recipe.model} are fresh, frozen ones would stay random",
                "leave it out, or start from a trained model",
            )
        layers = layer_count(found.config)
        if layers is not None and settings.freeze_layers > layers:
            raise UsageError(
                f"train.freeze_layers = {settings.freeze_layers}: {found.name} has {layers} layers",
                f"give at most {layers}",
            )


def check_heads(recipe: Recipe, found: Checkpoint) -> None:
    """Refuse fresh layers that would not be trained or are fresh already, and a rate for a head that is none.

    Raises UsageError.
    """
    fresh, layers = recipe.tricks.reinit_layers, layer_count(found.config)
    if fresh:
        known_family(str(found.config.get("model_type")), "tricks.reinit_layers")
        if found.scratch:
            raise UsageError(f"tricks.reinit_layers: all weights of {recipe.model} are fresh", "leave it out")
        if recipe.lora.rank is not None:
            raise UsageError(
                "tricks.reinit_layers: with lora the layers do not train, fresh ones would stay random",
                "leave it or the section lora out",
            )
        if layers is not None and fresh > layers - (recipe.train.freeze_layers or 0):
            frozen = f", of which {recipe.train.freeze_layers} are frozen" if recipe.train.freeze_layers else ""
            raise UsageError(
                f"tricks.reinit_layers = {fresh}: {found.name} has {layers} layers{frozen}",
                f"give at most {layers - (recipe.train.freeze_layers or 0)}",
            )
    if recipe.train.head_lr is not None and task_class(recipe.task).head not in TASK_HEADS:
        raise UsageError(
            "train.head_lr: the head of a language model is its embedding table, which has the rate of the rest",
            "leave it out",
        )


def choose_parts(model: Any, recipe: Recipe, *, begins: bool) -> list[str]:
    """Freeze, adapt, and recompute activations as the recipe says; in place, before the model is packed or shared out.

    `begins` says that the weights are those the run begins with, whose top layers may be made fresh.
    Returns lines to show. Raises UsageError.
    """
    from hfkit.engine.heads import check_masks, choose_pooling
    from hfkit.engine.lora import ALPHA_OF_RANK, add_adapters
    from hfkit.engine.parts import freeze, recompute_activations, reinitialise

    lora, settings, tricks, head = recipe.lora, recipe.train, recipe.tricks, task_class(recipe.task).head
    lines = []
    if tricks.reinit_layers and begins:
        count = reinitialise(model, head, tricks.reinit_layers)
        lines.append(f"fresh weights in the top layers, {tricks.reinit_layers} of them: {count:,} parameters")
    if head == "sequence-classification":
        choose_pooling(model, tricks.pooling)
        check_masks(model, tricks.multi_dropout)
    if settings.freeze_layers is not None:
        freeze(model, settings.freeze_layers)
    if lora.rank is not None:
        add_adapters(
            model,
            rank=lora.rank,
            alpha=ALPHA_OF_RANK * lora.rank if lora.alpha == "auto" else lora.alpha,
            dropout=lora.dropout,
            targets=None if lora.targets == "auto" else lora.targets,
            frozen_layers=settings.freeze_layers or 0,
        )
    if settings.gradient_checkpointing:
        recompute_activations(model)
    return lines
