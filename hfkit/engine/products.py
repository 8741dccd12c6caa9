"""Matrix products with weights laid out once for the machine: packed for oneDNN on CPUs, or rounded to int8."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Literal

import torch
from torch.nn import functional

Product = Callable[[torch.Tensor], torch.Tensor]  # (..., tokens, in) -> (..., tokens, out)
Gelu = Literal["none", "tanh"]  # torch's names of the exact curve and of its approximation
ROWS = 8  # tokens that oneDNN chooses its layout for; the products of other counts are as fast with it
LEVELS, ZERO = 127, 128  # of int8 to either side of 0; inputs are shifted to uint8, for which CPUs have instructions


def product(
    weight: torch.Tensor, bias: torch.Tensor | None = None, *, gelu: Gelu | None = None, int8: bool = False
) -> Product:
    """x -> x W' + b, W (out, in), then GELU if asked. The weight is copied once where that makes it faster."""
    if int8:
        return _rounded(weight, bias, gelu)
    if weight.device.type == "cpu" and weight.dtype in packs():
        return _packed(weight, bias, gelu)
    return _plain(weight, bias, gelu)


@cache
def packs() -> tuple[torch.dtype, ...]:
    """The number formats whose products oneDNN does with packed weights here."""
    return tuple(dtype for dtype in (torch.float32, torch.bfloat16) if _packs(dtype))


def _packs(dtype: torch.dtype) -> bool:
    weight, bias = torch.eye(16, dtype=dtype), torch.ones(16, dtype=dtype)
    x = torch.linspace(-3, 3, 256, dtype=dtype).view(16, 16)
    curves: tuple[Gelu | None, ...] = (None, "none", "tanh")
    try:
        pairs = [(_packed(weight, bias, gelu)(x), _plain(weight, bias, gelu)(x)) for gelu in curves]
        return all(torch.allclose(ours, theirs, rtol=0.02, atol=0.02) for ours, theirs in pairs)
    except (AttributeError, NotImplementedError, RuntimeError):  # oneDNN is not there, or has no kernel for the format
        return False


def _packed(weight: torch.Tensor, bias: torch.Tensor | None, gelu: Gelu | None) -> Product:
    packed = torch.ops.mkldnn._reorder_linear_weight(weight.detach().contiguous(), ROWS)
    linear = torch.ops.mkldnn._linear_pointwise
    after = "none" if gelu is None else "gelu"
    return lambda x: linear(x, packed, bias, after, [], gelu or "")


def _plain(weight: torch.Tensor, bias: torch.Tensor | None, gelu: Gelu | None) -> Product:
    weight = weight.detach().contiguous()
    if gelu is not None:
        return lambda x: functional.gelu(functional.linear(x, weight, bias), approximate=gelu)
    return lambda x: functional.linear(x, weight, bias)


def _rounded(weight: torch.Tensor, bias: torch.Tensor | None, gelu: Gelu | None) -> Product:
    """Weights in int8 with a scale for each output, inputs with a scale for each token (LLM.int8's vector-wise form).

    Dettmers et al. 2022, without its outliers. The sums are exact in int32.
    """
    most = weight_levels()
    scale = (weight.float().abs().amax(dim=1) / most).clamp(min=1e-12)
    levels = (weight.float() / scale[:, None]).round().to(torch.int8)
    multiply = _multiplied(levels, scale)

    def run(x: torch.Tensor) -> torch.Tensor:
        steps = (x.abs().amax(dim=-1, keepdim=True) / LEVELS).clamp(min=1e-12)
        out = multiply((x / steps).round_().add_(ZERO).to(torch.uint8))
        out = out * steps if bias is None else torch.addcmul(bias, out, steps)
        return out if gelu is None else functional.gelu(out, approximate=gelu)

    return run


@cache
def weight_levels() -> int:
    """To how many levels on either side of 0 weights are rounded: 127, or 63 where sums of products would be cut.

    Processors without VNNI add two products of uint8 and int8 in 16 bits, which 2 x 255 x 127 exceeds and 2 x 255 x 63
    does not. Weights give way, not inputs, whose outliers leave fewer levels to the rest.
    """
    largest = torch.full((16, 64), LEVELS, dtype=torch.int8)
    found = _multiplied(largest, torch.ones(16))(torch.full((1, 64), LEVELS + ZERO, dtype=torch.uint8))
    return LEVELS if (found == LEVELS * LEVELS * 64).all() else LEVELS // 2


def _multiplied(levels: torch.Tensor, scale: torch.Tensor) -> Product:
    """uint8 inputs around ZERO -> their products with int8 weights (out, in), in float32, times each output's scale."""
    packed = torch.ops.onednn.qlinear_prepack(levels.contiguous(), None)
    zeros = torch.zeros(len(scale), dtype=torch.int32)
    linear = torch.ops.onednn.qlinear_pointwise
    return lambda x: linear(x, 1.0, ZERO, packed, scale, zeros, None, 1.0, 0, torch.float32, "none", [], "")
