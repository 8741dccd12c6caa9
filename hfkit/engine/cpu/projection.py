"""A linear layer whose product is done in a 16-bit format, from a copy of the weight that is made once a step."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from transformers.pytorch_utils import Conv1D


class Projection(nn.Module):
    """A linear layer, or GPT-2's with the weight lying the other way, multiplied in a 16-bit format.

    The weight is kept in float32 and its 16-bit copy is made again when it has changed.
    """

    def __init__(self, layer: nn.Linear | Conv1D, dtype: torch.dtype) -> None:
        super().__init__()
        self.weight, self.bias = layer.weight, layer.bias
        self.inputs_first = type(layer) is Conv1D  # weight (inputs, outputs), not (outputs, inputs)
        self.dtype = dtype
        self._copies: tuple[tuple[Any, ...], torch.Tensor, torch.Tensor | None] | None = None

    def copies(self) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Weight (outputs, inputs), a view, and bias in the 16-bit format."""
        # Data pointers too: assigning .data leaves the version as it is.
        seen = tuple((p._version, p.data_ptr()) for p in (self.weight, self.bias) if p is not None)
        if self._copies is None or self._copies[0] != seen:
            with torch.inference_mode(False), torch.no_grad():
                weight = self.weight.detach().to(self.dtype)
                bias = None if self.bias is None else self.bias.detach().to(self.dtype)
            self._copies = (seen, weight.t() if self.inputs_first else weight, bias)
        return self._copies[1], self._copies[2]

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return _Projection.apply(x, self.weight, self.bias, self)


class _Projection(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None, layer: Projection
    ) -> torch.Tensor:
        ctx.layer, ctx.dtype = layer, x.dtype
        x = x.to(layer.dtype)
        ctx.save_for_backward(x)
        return nn.functional.linear(x, *layer.copies())

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        (x,) = ctx.saved_tensors
        layer: Projection = ctx.layer
        g, rows = gradients[0].flatten(0, -2), x.flatten(0, -2)
        d_x = d_weight = d_bias = None
        if ctx.needs_input_grad[0]:
            d_x = (g @ layer.copies()[0]).view(x.shape).to(ctx.dtype)
        if ctx.needs_input_grad[1]:
            d_weight = rows.t() @ g if layer.inputs_first else g.t() @ rows
        if layer.bias is not None and ctx.needs_input_grad[2]:
            d_bias = g.sum(0)  # added up in float32 and rounded once, as d_weight is; dtype=torch.float32 is far slower
        return d_x, d_weight, d_bias, None
