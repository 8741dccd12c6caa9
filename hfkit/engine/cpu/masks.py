"""Dropout masks from 16 random bits an element, where torch spends a floating-point draw on one thread."""

from __future__ import annotations

import math

import torch

LEVELS = 1 << 16


def keep_mask(like: torch.Tensor, p: float) -> torch.Tensor:
    """Of the shape and type of `like`: 0 with probability `p` (to the nearest 1/65536), else 1 / (1 - p).

    Drawn from torch's generator, so `torch.manual_seed` fixes it. Comparing 16-bit numbers and converting the answers
    takes torch ten times as long as the same by whole numbers: what is kept becomes 1, the rest 0, and that times the
    bits of a 16-bit float is the float.
    """
    dropped = round(p * LEVELS)
    if dropped in (0, LEVELS):
        return torch.ones_like(like) if dropped == 0 else torch.zeros_like(like)
    words = -(-like.numel() // 4)
    bits = torch.empty(words, dtype=torch.int64).random_(-(2**63), None).view(torch.int16)
    first_kept = dropped - LEVELS // 2
    kept = bits[: math.prod(like.shape)].clamp_(first_kept - 1, first_kept).sub_(first_kept - 1).view(like.shape)
    scale = LEVELS / (LEVELS - dropped)
    if like.element_size() == 2:
        return kept.mul_(int(torch.tensor(scale, dtype=like.dtype).view(torch.int16))).view(like.dtype)
    return kept.to(like.dtype).mul_(scale)
