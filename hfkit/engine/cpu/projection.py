"""A linear layer whose product is done in a 16-bit format, from a copy of the weight that is made once a step."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from transformers.pytorch_utils import Conv1D

from hfkit.engine.cpu.copies import Copies


class Projection(nn.Module):
    """A linear layer, or GPT-2's with the weight lying the other way, multiplied in a 16-bit format."""

    def __init__(self, layer: nn.Linear | Conv1D, dtype: torch.dtype) -> None:
        super().__init__()
        self.weight, self.bias = layer.weight, layer.bias
        self.inputs_first = type(layer) is Conv1D  # weight (inputs, outputs), not (outputs, inputs)
        self.copies = Copies([layer], dtype, inputs_first=self.inputs_first)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return _Projection.apply(x, self.weight, self.bias, self)


class _Projection(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None, layer: Projection
    ) -> torch.Tensor:
        ctx.layer, ctx.dtype = layer, x.dtype
        x = x.to(layer.copies.dtype)
        ctx.save_for_backward(x)
        return nn.functional.linear(x, *layer.copies.get())

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        (x,) = ctx.saved_tensors
        layer: Projection = ctx.layer
        g, rows = gradients[0].flatten(0, -2), x.flatten(0, -2)
        d_x = d_weight = d_bias = None
        if ctx.needs_input_grad[0]:
            d_x = (g @ layer.copies.get()[0]).view(x.shape).to(ctx.dtype)
        if ctx.needs_input_grad[1]:
            d_weight = rows.t() @ g if layer.inputs_first else g.t() @ rows
        if layer.bias is not None and ctx.needs_input_grad[2]:
            d_bias = g.sum(0)  # added up in float32 and rounded once, as d_weight is; dtype=torch.float32 is far slower
        return d_x, d_weight, d_bias, None
