"""Which weights of a model move, how fast, and from where: frozen and fresh layers, rates. Activations made twice."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint
from transformers.modeling_layers import GradientCheckpointingLayer

from hfkit.engine.forward import forward
from hfkit.errors import UsageError
from hfkit.models.load import fresh_weights, in_head
from hfkit.models.stack import stack_of
from hfkit.tasks.base import Head, Task


def freeze(model: Any, layers: int) -> int:
    """Keep the embeddings and the `layers` lowest layers as they are; returns how many parameters that are.

    What is tied to the embeddings, as GPT-2's output, stays too. Raises UsageError for a family without known names.
    """
    stack = stack_of(model, "train.freeze_layers")
    frozen = [p for name, p in model.named_parameters() if stack.depth(name) <= layers]
    for parameter in frozen:
        parameter.requires_grad_(False)
    return sum(p.numel() for p in frozen)


def reinitialise(model: Any, head: Head, layers: int) -> int:
    """Give the `layers` top layers the weights that a new model begins with; returns how many parameters that are.

    As by Zhang et al. 2021, who found that it steadies training on few rows. Raises UsageError for a family without
    known names, and for more layers than there are.
    """
    stack = stack_of(model, "tricks.reinit_layers")
    if layers > len(stack.layers):
        raise UsageError(
            f"tricks.reinit_layers = {layers}: the model has {len(stack.layers)} layers",
            f"give at most {len(stack.layers)}",
        )
    first = len(stack.layers) - layers + 1
    weights = fresh_weights(model, head, lambda name: first <= stack.depth(name) <= len(stack.layers))
    model.load_state_dict(weights, strict=False)
    return sum(values.numel() for values in weights.values())


def rate_shares(model: Any, decay: float, head: float = 1.0) -> dict[nn.Parameter, float]:
    """What each parameter's learning rate is multiplied by: `head` for the head, 1 for what else stands above the
    layers, `decay` for the top layer, and so on down.

    Layer-wise decay as by Howard & Ruder 2018 and Clark et al. 2020. Raises UsageError as `freeze` does.
    """
    shares: dict[nn.Parameter, float] = {}
    if decay != 1:
        stack = stack_of(model, "train.layer_lr_decay")
        top = len(stack.layers) + 1
        shares = {p: decay ** (top - stack.depth(name)) for name, p in model.named_parameters()}
    if head != 1:
        shares |= {p: head for name, p in model.named_parameters() if in_head(model, name)}
    return shares


def recompute_activations(model: Any) -> None:
    """Keep only what goes into each layer, and compute the rest again in the backward pass (Chen et al. 2016).

    Dropout draws the same masks again. Raises UsageError when the model's layers are not made for it.
    """
    layers = [module for module in model.modules() if isinstance(module, GradientCheckpointingLayer)]
    if not layers:
        raise UsageError(
            f"train.gradient_checkpointing: transformers cannot do it with models of type {model.config.model_type}",
            "lower train.micro_batch_size instead",
        )
    for layer in layers:
        layer.gradient_checkpointing = True
        layer._gradient_checkpointing_func = partial(checkpoint, use_reentrant=False)


def recomputes(model: nn.Module) -> bool:
    """Whether `recompute_activations` was done to the model."""
    return any(getattr(module, "gradient_checkpointing", False) for module in model.modules())


def leaves_unused(model: torch.nn.Module, task: Task, batch: Mapping[str, torch.Tensor]) -> bool:
    """Whether a parameter takes no part in the loss: found by one backward pass, since looking each step costs time."""
    task.loss(forward(model, batch), batch)[0].backward()
    unused = any(p.grad is None for p in model.parameters() if p.requires_grad)
    model.zero_grad(set_to_none=True)
    return unused
