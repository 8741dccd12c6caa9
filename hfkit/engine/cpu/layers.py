"""Layers that share the weights of the ones they replace, and compute them in fewer or cheaper passes over memory."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from transformers.activations import NewGELUActivation
from transformers.pytorch_utils import Conv1D

from hfkit.engine.cpu.joint import join
from hfkit.engine.cpu.masks import keep_mask
from hfkit.engine.cpu.projection import Projection, fuse


def lean(model: nn.Module, dtype: torch.dtype, *, alone: bool) -> None:
    """Replace layers of `model` in place; parameters and their names stay.

    Matrix products are done in `dtype`. `alone` says that no other process waits for gradients, so that embeddings may
    write theirs where they belong.
    """
    if dtype != torch.float32:
        join(model, dtype)
        fuse(model, dtype)
    for name, child in list(model.named_children()):
        if (replaced := _replaced(child, dtype, alone)) is not None:
            setattr(model, name, replaced.train(child.training))
        else:
            lean(child, dtype, alone=alone)


def _replaced(layer: nn.Module, dtype: torch.dtype, alone: bool) -> nn.Module | None:
    if type(layer) is nn.Linear or type(layer) is Conv1D:
        return Projection(layer, dtype) if dtype != torch.float32 else None
    if type(layer) is nn.Dropout:
        return Dropout(layer.p)
    if type(layer) is NewGELUActivation:
        return nn.GELU("tanh")  # the same curve in one pass instead of eight
    if type(layer) is nn.Embedding and alone and layer.max_norm is None and not layer.scale_grad_by_freq:
        return Embedding(layer)
    return None


class Dropout(nn.Module):
    """Dropout (Srivastava et al. 2014) with masks of engine/cpu/masks.py."""

    def __init__(self, p: float) -> None:
        super().__init__()
        self.p = p

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * keep_mask(x, self.p) if self.training and self.p else x


class Embedding(nn.Module):
    """A table of vectors whose gradient is added to `weight.grad` row by row.

    torch writes a gradient of the table's size for every batch, most of it zeros: for MiniLM 47 MB.
    """

    def __init__(self, layer: nn.Embedding) -> None:
        super().__init__()
        self.weight, self.padding_idx = layer.weight, layer.padding_idx
        self.num_embeddings, self.embedding_dim = layer.num_embeddings, layer.embedding_dim
        self.aside: list[tuple[torch.Tensor, torch.Tensor]] | None = None  # a twin's gradients: ids, rows

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        return _Embedding.apply(self.weight, ids, self)

    def add(self, ids: torch.Tensor, gradient: torch.Tensor) -> None:
        """Add the gradient (ids, size) of those rows; a twin puts it aside while that is smaller than the table."""
        if self.aside is not None and len(ids) + sum(len(others) for others, _ in self.aside) < self.num_embeddings:
            self.aside.append((ids, gradient))
            return
        if self.weight.grad is None:
            self.weight.grad = torch.zeros_like(self.weight)
        self.weight.grad.index_add_(0, ids, gradient.to(self.weight.dtype))


class _Embedding(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, weight: torch.Tensor, ids: torch.Tensor, layer: Embedding) -> torch.Tensor:
        ctx.layer = layer
        ctx.save_for_backward(ids)
        return nn.functional.embedding(ids, weight)

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[None, None, None]:
        (ids,), padding = ctx.saved_tensors, ctx.layer.padding_idx
        rows, g = ids.flatten(), gradients[0].flatten(0, -2)
        if padding is not None:
            g = g.masked_fill((rows == padding)[:, None], 0.0)
        ctx.layer.add(rows, g)
        return None, None, None


def clear(model: nn.Module) -> None:
    """Let go of gradients. A table's stays and becomes 0: to ask the system for its memory again costs more."""
    tables = [layer for layer in model.modules() if isinstance(layer, Embedding)]
    for table in tables:
        if table.aside is not None:
            table.aside.clear()
    kept = [table.weight for table in tables]
    for parameter in model.parameters():
        if not any(parameter is weight for weight in kept):
            parameter.grad = None
    gradients = [weight.grad for weight in kept if weight.grad is not None]
    if gradients:
        torch._foreach_zero_(gradients)
