"""Dropout masks from 16 random bits an element, where torch spends a floating-point draw on one thread."""

from __future__ import annotations

import math

import torch

LEVELS = 1 << 16


def keep_mask(like: torch.Tensor, p: float) -> torch.Tensor:
    """Of the shape and type of `like`: 0 with probability `p` (to the nearest 1/65536), else 1 / (1 - p).

    Drawn from torch's generator, so `torch.manual_seed` fixes it.
    """
    dropped = round(p * LEVELS)
    if dropped >= LEVELS:
        return torch.zeros_like(like)
    words = -(-like.numel() // 4)
    bits = torch.empty(words, dtype=torch.int64).random_(-(2**63), None).view(torch.int16)
    kept = bits[: math.prod(like.shape)].view(like.shape) >= dropped - LEVELS // 2
    return kept.to(like.dtype).mul_(LEVELS / (LEVELS - dropped))
