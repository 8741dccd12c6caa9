"""Low-rank adapters by peft, put into the transformers model itself, so that all else sees an ordinary model.

They go in before the model is packed or sharded. What is saved is merged: plain weights, no adapters.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import nn
from transformers.pytorch_utils import Conv1D

from hfkit.errors import UsageError
from hfkit.models.load import in_head
from hfkit.models.stack import STACKS, stack_of

Weights = Mapping[str, torch.Tensor]
A, B = ".lora_A.default.weight", ".lora_B.default.weight"
INNER = ".base_layer."  # stands in the names of what an adapter wraps
ALPHA_OF_RANK = 2  # alpha where the recipe says auto


def add_adapters(
    model: Any, *, rank: int, alpha: float, dropout: float, targets: Sequence[str] | None, frozen_layers: int = 0
) -> list[str]:
    """Put adapters beside linear layers of the body; they and the head train, the rest is frozen. Returns the names.

    `targets` are the last parts of names, None for all; the `frozen_layers` lowest layers get none. Weights tied to the
    embeddings stay frozen. Raises UsageError for a name that fits no layer.
    """
    from peft import LoraConfig, inject_adapter_in_model

    chosen = _chosen(model, targets, frozen_layers)
    config = LoraConfig(
        r=rank,
        lora_alpha=alpha,  # type: ignore[arg-type]  # any number will do
        lora_dropout=dropout,
        target_modules=chosen,
        fan_in_fan_out=isinstance(model.get_submodule(chosen[0]), Conv1D),
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about tied weights that are not adapted here
        inject_adapter_in_model(config, model)
    embeddings = {id(p) for p in model.get_input_embeddings().parameters()}
    for name, parameter in model.named_parameters():
        if in_head(model, name) and id(parameter) not in embeddings:
            parameter.requires_grad_(True)
    return chosen


def adapted(model: nn.Module) -> dict[str, tuple[float, bool]]:
    """The name of each adapted layer: by what its adapter's product is multiplied, and whether its weight lies turned.

    Empty for a model without adapters.
    """
    return {
        name: (float(module.scaling["default"]), bool(module.fan_in_fan_out))
        for name, module in model.named_modules()
        if hasattr(module, "lora_A") and hasattr(module, "scaling")
    }


def merged(weights: Weights, layers: Mapping[str, tuple[float, bool]]) -> dict[str, torch.Tensor]:
    """Plain weights under their plain names: W + factor B A for each layer that `adapted` gave."""
    plain: dict[str, torch.Tensor] = {}
    for name, value in weights.items():
        layer, inner, kind = name.partition(INNER)
        if ".lora_" in name:
            continue
        if inner and kind == "weight":
            factor, turned = layers[layer]
            change = weights[layer + B] @ weights[layer + A] * factor
            value = value + (change.t() if turned else change)
        plain[f"{layer}.{kind}" if inner else name] = value
    return plain


def _chosen(model: Any, targets: Sequence[str] | None, frozen_layers: int) -> list[str]:
    """Full names of the linear layers that get an adapter. Raises UsageError."""
    linear = [name for name, module in model.named_modules() if isinstance(module, (nn.Linear, Conv1D))]
    linear = [name for name in linear if not in_head(model, name) and not _is_embedding(model, name)]
    if model.config.model_type in STACKS:
        stack = stack_of(model, "lora.targets")
        linear = [name for name in linear if frozen_layers < stack.depth(name) <= len(stack.layers)]
    known = sorted({name.rsplit(".", 1)[-1] for name in linear})
    unfit = [target for target in targets or () if not any(_fits(name, target) for name in linear)]
    if not linear:
        why = f"train.freeze_layers={frozen_layers} leaves" if frozen_layers else "lora.rank: before the head there is"
        raise UsageError(f"{why} no layer that could have an adapter", "freeze fewer layers, or leave lora.rank out")
    if unfit:
        raise UsageError(f"lora.targets: no linear layer is called {', '.join(unfit)}", f"there are {', '.join(known)}")
    return [name for name in linear if targets is None or any(_fits(name, target) for target in targets)]


def _fits(name: str, target: str) -> bool:
    return name == target or name.endswith("." + target)


def _is_embedding(model: Any, name: str) -> bool:
    """Whether a linear layer holds the embedding table, as the output of a language model does."""
    return model.get_submodule(name).weight is model.get_input_embeddings().weight
