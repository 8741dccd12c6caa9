"""Prompts read into slots of a GPT-2's cache, several in one pass; for slots.py.

A cache is (layer, key | value, slot, head, position, size of a head).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch.nn import functional

from hfkit.engine.decoding.gpt2 import Attend, Weights
from hfkit.engine.decoding.step import added, fused

SCORES = 1 << 27  # of all heads, for prompts whose attention is one operation


@dataclass(frozen=True, slots=True)
class Segment:
    """A prompt to be read into a slot: `ids` from position `shared` on; what is before stands in slot `source`."""

    slot: int
    ids: list[int]
    shared: int
    source: int

    @property
    def end(self) -> int:
        return self.shared + len(self.ids)

    def copy_shared(self, layer: torch.Tensor) -> None:
        """Copy what stands in another slot of `layer` (key | value, slot, head, position, size)."""
        if self.shared and self.source != self.slot:
            layer[:, self.slot, :, : self.shared] = layer[:, self.source, :, : self.shared]


def prefill(
    weights: Weights, cache: torch.Tensor, segments: Sequence[Segment], *, together: bool = False
) -> torch.Tensor:
    """Hidden states (tokens, width) of all tokens of prompts in neighbouring slots, after all layers.

    With `together` the attention of prompts of about one length is one operation, else each prompt has its own.
    """
    device = cache.device
    ids = torch.tensor([token for segment in segments for token in segment.ids], device=device)
    at = torch.cat([torch.arange(segment.shared, segment.end, device=device) for segment in segments])
    kind = side_by_side if together and _alike(segments, weights.heads) else one_by_one
    return weights.hidden(ids, at, kind(weights, cache, segments, at))


def one_by_one(weights: Weights, cache: torch.Tensor, segments: Sequence[Segment], at: torch.Tensor) -> Attend:
    """The attention of prompts without padding; `at` (tokens,) is not looked at."""
    counts = [len(segment.ids) for segment in segments]

    def attend(number: int, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
        parts = zip(segments, q.split(counts), k.split(counts), v.split(counts), strict=True)
        return torch.cat([_attend(cache[number], weights.layers[number].scale, *part) for part in parts])

    return attend


def side_by_side(weights: Weights, cache: torch.Tensor, segments: Sequence[Segment], at: torch.Tensor) -> Attend:
    """The attention of several prompts at once, padded to the longest; `at` (tokens,) are their positions."""
    device, first = at.device, segments[0].slot
    longest, end = max(len(segment.ids) for segment in segments), max(segment.end for segment in segments)
    counts = torch.tensor([len(segment.ids) for segment in segments], device=device)
    rows = torch.repeat_interleave(torch.arange(len(segments), device=device), counts, output_size=len(at))
    starts = torch.tensor([segment.shared for segment in segments], device=device)
    places = at - starts[rows]
    seen = starts[:, None] + torch.arange(longest, device=device)  # the last position that each token sees
    mask = added(torch.arange(end, device=device) <= seen[:, :, None], cache.dtype)[:, None]

    def attend(number: int, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
        layer = cache[number]
        held = layer[:, first : first + len(segments)]
        held[0, rows, :, at], held[1, rows, :, at] = k.to(layer.dtype), v.to(layer.dtype)
        for segment in segments:
            segment.copy_shared(layer)
        padded = q.new_zeros(len(segments), longest, *q.shape[1:], dtype=layer.dtype)
        padded[rows, places] = q.to(layer.dtype)
        keys, values = held[:, :, :, :end]
        mixed = fused(padded.transpose(1, 2), keys, values, mask, weights.layers[number].scale)
        return mixed.transpose(1, 2)[rows, places]

    return attend


def _attend(
    layer: torch.Tensor, scale: float, segment: Segment, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor
) -> torch.Tensor:
    """The attention of one prompt in a layer of the cache; q, k, v and the result are (tokens, heads, size)."""
    start, end, slot = segment.shared, segment.end, segment.slot
    segment.copy_shared(layer)
    layer[0, slot, :, start:end], layer[1, slot, :, start:end] = k.transpose(0, 1), v.transpose(0, 1)
    keys, values = layer[:, slot : slot + 1, :, :end]
    mask = torch.ones(end - start, end, dtype=torch.bool, device=q.device).tril(start) if start else None
    q = q.transpose(0, 1)[None].to(keys.dtype)
    mixed = functional.scaled_dot_product_attention(q, keys, values, mask, 0.0, not start, scale=scale)
    return mixed[0].transpose(0, 1)


def _alike(segments: Sequence[Segment], heads: int) -> bool:
    """Whether to read prompts side by side: several, at most a half of them padding, and memory suffices."""
    padded = len(segments) * max(len(segment.ids) for segment in segments)
    end = max(segment.end for segment in segments)
    real = sum(len(segment.ids) for segment in segments)
    return len(segments) > 1 and padded <= 2 * real and heads * padded * end <= SCORES
