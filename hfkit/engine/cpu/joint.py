"""Query, key and value of one attention as one matrix product: the input is converted once and kept once."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from hfkit.engine.cpu.copies import Copies

# BERT and its kin; DistilBERT; layers whose query reads other tokens (engine/cpu/last.py)
NAMES = (("query", "key", "value"), ("q_lin", "k_lin", "v_lin"), ("key", "value"))


def join(module: nn.Module, dtype: torch.dtype) -> None:
    """Replace the layers in place, where `module` has them; parameters and their names stay."""
    for names in NAMES:
        layers = [getattr(module, name, None) for name in names]
        if all(type(layer) is nn.Linear for layer in layers) and _alike(layers):
            joint = Joint(layers, dtype)
            for name, part in zip(names, joint.parts, strict=True):
                setattr(module, name, part.train(module.training))


def _alike(layers: Sequence[nn.Linear]) -> bool:
    return len({(layer.weight.shape, layer.bias is None) for layer in layers}) == 1


class Joint:
    """What the layers share: a 16-bit copy of their weights, and the product of each thread's last input.

    The first part always makes it, another one where it has another input; the call of the last part lets go of it.
    """

    def __init__(self, layers: Sequence[nn.Linear], dtype: torch.dtype) -> None:
        self.parts = [Part(layer, self, place) for place, layer in enumerate(layers)]
        self.copies = Copies(layers, dtype)
        self._made: dict[int, tuple[torch.Tensor, tuple[torch.Tensor, ...]]] = {}  # thread -> input, products

    def product(self, x: torch.Tensor, place: int) -> torch.Tensor:
        """What the layer at `place` gives for `x`, a view of what all give."""
        thread = threading.get_ident()
        if place == 0 or thread not in self._made or self._made[thread][0] is not x:
            self._made[thread] = (x, self._products(x))
        found = self._made[thread][1][place]
        if place == len(self.parts) - 1:
            del self._made[thread]
        return found

    def _products(self, x: torch.Tensor) -> tuple[torch.Tensor, ...]:
        if not torch.is_grad_enabled():
            return self.copies.product()(x.to(self.copies.dtype)).chunk(len(self.parts), -1)
        found: tuple[torch.Tensor, ...] = _Joint.apply(
            x, self, *(p for part in self.parts for p in (part.weight, part.bias))
        )
        return found

    def forget(self) -> None:
        """Let go of this thread's product, if a call that failed left one."""
        self._made.pop(threading.get_ident(), None)


def forget(model: nn.Module) -> None:
    """Let go of what a call of `model` that failed left in its layers: with it go the activations it was made of."""
    for module in model.modules():
        if isinstance(module, Part):
            module.joint.forget()


class Part(nn.Module):
    """One of the layers."""

    def __init__(self, layer: nn.Linear, joint: Joint, place: int) -> None:
        super().__init__()
        self.weight, self.bias = layer.weight, layer.bias
        self.joint, self.place = joint, place

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.joint.product(x, self.place)


class _Joint(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, joint: Joint, *_: torch.Tensor | None) -> tuple[torch.Tensor, ...]:
        ctx.joint, ctx.dtype = joint, x.dtype
        x = x.to(joint.copies.dtype)
        ctx.save_for_backward(x)
        return nn.functional.linear(x, *joint.copies.get()).chunk(len(joint.parts), -1)

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        (x,) = ctx.saved_tensors
        joint: Joint = ctx.joint
        g, rows = side_by_side([gradient.flatten(0, -2) for gradient in gradients]), x.flatten(0, -2)
        needed = ctx.needs_input_grad
        d_x = (g @ joint.copies.get()[0]).view(x.shape).to(ctx.dtype) if needed[0] else None
        found: list[torch.Tensor | None] = [None] * 2 * len(joint.parts)
        if any(needed[2::2]):
            found[::2] = (g.t() @ rows).chunk(len(joint.parts))
        if any(needed[3::2]):
            found[1::2] = g.sum(0).chunk(len(joint.parts))
        return d_x, None, *(value if need else None for value, need in zip(found, needed[2:], strict=True))


def side_by_side(parts: Sequence[torch.Tensor]) -> torch.Tensor:
    """(rows, width) each -> (rows, all widths); no copy where they lie in memory like that already."""
    first, width = parts[0], sum(part.shape[1] for part in parts)
    place, memory = first.storage_offset(), first.untyped_storage().data_ptr()
    for part in parts:
        if (part.untyped_storage().data_ptr(), part.storage_offset(), part.stride()) != (memory, place, (width, 1)):
            return torch.cat(list(parts), 1)
        place += part.shape[1]
    return first.as_strided((first.shape[0], width), (width, 1))
