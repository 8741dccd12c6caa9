"""One more token of each row of slots.py, on the keys and values in a GPT-2's cache; attention kernels of decoding.

A cache is (layer, key | value, slot, head, position, size of a head).
"""

from __future__ import annotations

import torch
from torch.nn import functional
from torch.nn.attention import SDPBackend, sdpa_kernel

from hfkit.engine.decoding.gpt2 import Weights

# cuDNN's kernel, which would come first on newer GPUs, plans anew for each shape.
KERNELS = [SDPBackend.EFFICIENT_ATTENTION, SDPBackend.MATH]


def advance(
    weights: Weights, cache: torch.Tensor, ids: torch.Tensor, at: torch.Tensor, keys: int, *, ragged: bool = True
) -> torch.Tensor:
    """Hidden states (rows, width) of one token of each of the first slots, `ids` at positions `at`, both (rows,).

    The first `keys` positions are looked at, where not `ragged` all of them by all rows. No operation depends on what
    is in the tensors, so that it can be recorded.
    """
    rows = torch.arange(len(ids), device=ids.device)
    mask = None
    if ragged:
        mask = added(torch.arange(keys, device=ids.device) <= at[:, None], cache.dtype)[:, None, None]

    def attend(number: int, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
        held, values = cache[number, :, : len(ids)]
        held[rows, :, at], values[rows, :, at] = k.to(held.dtype), v.to(held.dtype)
        q = q[:, :, None].to(held.dtype)
        return _mixed(q, held[:, :, :keys], values[:, :, :keys], mask, weights.layers[number].scale).transpose(1, 2)

    return weights.hidden(ids, at, attend)


def added(seen: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """A mask that is added to scores: 0 where `seen`, else -inf."""
    return torch.zeros(seen.shape, dtype=dtype, device=seen.device).masked_fill(~seen, float("-inf"))


def _mixed(
    q: torch.Tensor, keys: torch.Tensor, values: torch.Tensor, mask: torch.Tensor | None, scale: float
) -> torch.Tensor:
    """The attention (rows, heads, 1, size) of one token of each row; `mask` is added to scores.

    On CPUs two products are faster than the fused kernel where there are several rows; one row is no exception.
    """
    if q.device.type != "cpu":
        return fused(q, keys, values, mask, scale)
    scores = (q * scale) @ keys.transpose(-1, -2)
    if mask is not None:
        scores += mask
    return torch.softmax(scores, -1) @ values


def fused(
    q: torch.Tensor, keys: torch.Tensor, values: torch.Tensor, mask: torch.Tensor | None, scale: float
) -> torch.Tensor:
    """torch's attention (rows, heads, queries, size) by one of KERNELS."""
    with sdpa_kernel(KERNELS):
        return functional.scaled_dot_product_attention(q, keys, values, mask, scale=scale)
