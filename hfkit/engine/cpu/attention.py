"""Attention over packed rows as plain matrix products, of one sequence or several short ones at a time.

On CPUs the fused kernel's backward pass is the slowest part of a step. With 12 heads of 32 and 160 tokens in bfloat16
it takes 4.1 ms, and the products below 0.6 ms; forward 0.75 against 0.43 ms (2 cores, AVX-512 bfloat16).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from hfkit.engine.cpu.groups import Group, groups_of
from hfkit.engine.cpu.masks import keep_mask
from hfkit.engine.cpu.softmax import base, shares


@dataclass(frozen=True)
class Pattern:
    """What a token sees of its sequence: all of it, nothing behind itself (`causal`), what is at most `window` away.

    Scores are multiplied by `scaling`; probabilities are dropped with probability `dropout`. `first` says that of every
    sequence the first token alone asks, which sees all of it: raises ValueError with `causal` or a window.
    """

    scaling: float
    causal: bool = False
    window: int | None = None
    dropout: float = 0.0
    first: bool = False

    def __post_init__(self) -> None:
        if self.first and (self.causal or self.window is not None):
            raise ValueError("a first token that asks alone sees its whole sequence: not causal, no window")


def attention(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, lengths: Sequence[int], pattern: Pattern
) -> torch.Tensor:
    """(tokens, heads, size) each, the sequences one behind the other; `lengths` add up to the tokens.

    With `pattern.first`, query and result are (sequences, heads, size). Raises ValueError for other lengths.
    """
    if sum(lengths) != len(key) or len(query) != (len(lengths) if pattern.first else len(key)):
        sequences = f"{len(lengths)} sequences of {sum(lengths)} tokens"
        raise ValueError(f"{sequences}, but {len(query)} queries and {len(key)} keys")
    if torch.is_grad_enabled() or pattern.dropout:
        return _Attention.apply(query, key, value, tuple(lengths), pattern)
    out = torch.empty(query.shape, dtype=value.dtype)
    for group in _groups(lengths, value):
        _, _, v, scores = _scored(group, query, key, value, pattern, base(value.dtype))
        given, sums = shares(scores)
        mixed = torch.bmm(given, v)
        _put(group, mixed if sums is None else mixed.div_(sums), out, pattern)
    return out


def _groups(lengths: Sequence[int], value: torch.Tensor) -> list[Group]:
    return groups_of(tuple(lengths), value.shape[1], value.element_size())


def _scored(
    group: Group, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, pattern: Pattern, factor: float = 1.0
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """The group's query, multiplied by scaling and `factor`, key and value, and the scores, -inf where none is seen."""
    q = _taken(group, query, pattern).mul_(pattern.scaling * factor)
    k, v = group.take(key, group.keys), group.take(value, group.keys)
    return q, k, v, group.hide(torch.bmm(q, k.transpose(1, 2)), pattern.causal, pattern.window)


class _Attention(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        query: torch.Tensor,
        key: torch.Tensor,
        value: torch.Tensor,
        lengths: tuple[int, ...],
        pattern: Pattern,
    ) -> torch.Tensor:
        groups = _groups(lengths, value)
        out = torch.empty(query.shape, dtype=value.dtype)
        kept: list[torch.Tensor] = []
        for group in groups:
            q, k, v, scores = _scored(group, query, key, value, pattern)
            probabilities = torch.softmax(scores, -1)
            kept += [q, k, v, probabilities]
            if pattern.dropout:
                kept.append(keep_mask(probabilities, pattern.dropout))
                probabilities = probabilities * kept[-1]
            _put(group, torch.bmm(probabilities, v), out, pattern)
        ctx.save_for_backward(*kept)
        ctx.groups, ctx.pattern = groups, pattern
        return out

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        (gradient,) = gradients
        parts = iter(ctx.saved_tensors)
        tokens, pattern = sum(sum(group.lengths) for group in ctx.groups), ctx.pattern
        # Side by side, as engine/cpu/joint.py takes them without a copy.
        beside = gradient.new_empty(tokens, 2 if pattern.first else 3, *gradient.shape[1:]).unbind(1)
        d_query, d_key, d_value = (torch.empty_like(gradient), *beside) if pattern.first else beside
        for group in ctx.groups:
            q, k, v, probabilities = (next(parts) for _ in range(4))
            mask = next(parts) if pattern.dropout else None
            seen = probabilities if mask is None else probabilities * mask
            g = _taken(group, gradient, pattern)
            if not pattern.first:
                group.clear_behind(g)
            group.put(torch.bmm(seen.transpose(1, 2), g), d_value)
            d_seen = torch.bmm(g, v.transpose(1, 2))
            if mask is not None:
                d_seen.mul_(mask)
            d_scores = torch._softmax_backward_data(d_seen, probabilities, -1, probabilities.dtype)
            _put(group, torch.bmm(d_scores, k).mul_(pattern.scaling), d_query, pattern)
            group.put(torch.bmm(d_scores.transpose(1, 2), q), d_key)
        return d_query, d_key, d_value, None, None


def _taken(group: Group, values: torch.Tensor, pattern: Pattern) -> torch.Tensor:
    """What asks of a group."""
    return group.take_first(values) if pattern.first else group.take(values, group.queries)


def _put(group: Group, found: torch.Tensor, into: torch.Tensor, pattern: Pattern) -> None:
    """Write what `_taken` took from back into its places."""
    return group.put_first(found, into) if pattern.first else group.put(found, into)
