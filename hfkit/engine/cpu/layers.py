"""Layers that share the weights of the ones they replace, and compute them in fewer or cheaper passes over memory."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from transformers.activations import NewGELUActivation
from transformers.pytorch_utils import Conv1D

from hfkit.engine.cpu.joint import join
from hfkit.engine.cpu.masks import keep_mask
from hfkit.engine.cpu.projection import Projection


def lean(model: nn.Module, dtype: torch.dtype, *, alone: bool) -> None:
    """Replace layers of `model` in place; parameters and their names stay.

    Matrix products are done in `dtype`. `alone` says that no other process waits for gradients, so that embeddings may
    write theirs where they belong.
    """
    if dtype != torch.float32:
        join(model, dtype)
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

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        return _Embedding.apply(self.weight, ids, self.padding_idx)


class _Embedding(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, weight: torch.Tensor, ids: torch.Tensor, padding_idx: int | None) -> torch.Tensor:
        ctx.weight, ctx.padding_idx = weight, padding_idx
        ctx.save_for_backward(ids)
        return nn.functional.embedding(ids, weight)

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[None, None, None]:
        (ids,) = ctx.saved_tensors
        weight = ctx.weight
        rows, g = ids.flatten(), gradients[0].flatten(0, -2)
        if ctx.padding_idx is not None:
            g = g.masked_fill((rows == ctx.padding_idx)[:, None], 0.0)
        if weight.grad is None:
            weight.grad = torch.zeros_like(weight)
        weight.grad.index_add_(0, rows, g.to(weight.dtype))
        return None, None, None
