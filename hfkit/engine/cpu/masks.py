"""Dropout masks from 16 random bits an element, where torch spends a floating-point draw on one thread."""

from __future__ import annotations

import math
import threading

import torch

LEVELS = 1 << 16
_drawing = threading.local()


def draw_alone() -> None:
    """From now on this thread draws its masks from a generator of its own, which `seed_masks` sets."""
    _drawing.generator = torch.Generator()


def seed_masks(seed: int) -> None:
    """What this thread draws next depends on `seed` alone."""
    generator = getattr(_drawing, "generator", None)
    if generator is None:
        torch.manual_seed(seed)
    else:
        generator.manual_seed(seed)


def keep_mask(like: torch.Tensor, p: float) -> torch.Tensor:
    """Of the shape and type of `like`: 0 with probability `p` (to the nearest 1/65536), else 1 / (1 - p).

    Drawn from torch's generator, or the thread's own; either way a seed gives the same mask.

    Comparing 16-bit numbers and converting the answers takes torch ten times as long as the same by whole numbers: what
    is kept becomes 1, the rest 0, and that times the bits of a 16-bit float is the float.
    """
    dropped = round(p * LEVELS)
    if dropped in (0, LEVELS):
        return torch.ones_like(like) if dropped == 0 else torch.zeros_like(like)
    words = torch.empty(-(-like.numel() // 4), dtype=torch.int64)
    words.random_(-(2**63), None, generator=getattr(_drawing, "generator", None))
    bits = words.view(torch.int16)[: math.prod(like.shape)]
    first_kept = dropped - LEVELS // 2
    kept = bits.clamp_(first_kept - 1, first_kept).sub_(first_kept - 1).view(like.shape)
    scale = LEVELS / (LEVELS - dropped)
    if like.element_size() == 2:
        return kept.mul_(int(torch.tensor(scale, dtype=like.dtype).view(torch.int16))).view(like.dtype)
    return kept.to(like.dtype).mul_(scale)
