"""Which weights a recipe trains: its keys checked before torch is imported, and put into effect on the loaded model."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any

from hfkit.errors import UsageError
from hfkit.models import Checkpoint
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


def choose_parts(model: Any, recipe: Recipe) -> None:
    """Freeze, adapt, and recompute activations as the recipe says; in place, before the model is packed or shared out.

    Raises UsageError.
    """
    from hfkit.engine.lora import ALPHA_OF_RANK, add_adapters
    from hfkit.engine.parts import freeze, recompute_activations

    lora, settings = recipe.lora, recipe.train
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
