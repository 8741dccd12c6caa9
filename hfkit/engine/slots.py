"""A batch inside a GPT-2: rows without padding, keys and values kept in slots. One of state.py's kinds.

It gives what transformers' module gives, in fewer and larger operations.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from torch.nn import functional
from torch.nn.attention import SDPBackend, sdpa_kernel

from hfkit.engine.gpt2 import Attend, Weights
from hfkit.engine.graphs import Graphs, Record
from hfkit.engine.sampling import Chosen, pick
from hfkit.recipe.keys import Generate

PREFILL_TOKENS = 4096  # tokens of prompts read at once
SHARED_TOKENS = 8  # a shorter common beginning of two prompts is not worth looking for
SCORES = 1 << 27  # of all heads, for prompts whose attention is one operation
# cuDNN's kernel, which would come first on newer GPUs, plans anew for each shape.
KERNELS = [SDPBackend.EFFICIENT_ATTENTION, SDPBackend.MATH]


class Slots:
    """Rows in slots of a cache (layer, key | value, slot, head, position, size of a head) that is allocated once.

    Rows lie in the first slots; `slots` says where each is. A prompt that begins as one whose slot still stands, with
    SHARED_TOKENS tokens or more, gets those keys and values copied: samples of a prompt, examples before a question.
    With `record` the steps after the prompts are recorded as graphs. No row may come to the last of `positions`.
    """

    refills = True

    def __init__(self, weights: Weights, rows: int, positions: int, record: Record | None = None) -> None:
        self.weights = weights
        table = weights.tokens
        size = table.shape[1] // weights.heads
        on_cpu = table.device.type == "cpu"
        # CPUs multiply a vector with a matrix faster in float32, by the length of the attention of one token.
        dtype = torch.float32 if on_cpu else table.dtype
        shape = (len(weights.layers), 2, rows, weights.heads, positions, size)
        self.cache = torch.zeros(shape, dtype=dtype, device=table.device)
        self.together = not on_cpu  # CPUs read prompts faster one by one, without padding; elsewhere launches count
        self._advance = partial(_advanced, weights, self.cache)  # which must not hold what holds the graphs
        self.graphs = Graphs(self._advance, rows, positions, table.device, record) if record else None
        self.prompts: list[list[int]] = [[] for _ in range(rows)]  # of each slot, also after its row is dropped
        self.slots: list[int] = []  # of each row
        self.lengths: list[int] = []  # tokens read, by slot
        self.ids: list[int] = []  # of the rows that were fed, by slot
        self.read: list[torch.Tensor] = []  # last hidden states of prompts that were added since

    @torch.inference_mode()
    def add(self, prompts: Sequence[Sequence[int]]) -> None:
        """Read more prompts, as many at once as PREFILL_TOKENS allow."""
        group: list[Segment] = []
        for prompt in map(list, prompts):
            slot = len(self.slots)
            source, shared = self._shared(prompt, slot)
            if group and sum(len(segment.ids) for segment in group) + len(prompt) - shared > PREFILL_TOKENS:
                self.read.append(self._read(group))
                group = []
            group.append(Segment(slot, prompt[shared:], shared, source))
            self.prompts[slot] = prompt
            self.slots.append(slot)
            self.lengths.append(len(prompt))
        self.read.append(self._read(group))

    @torch.inference_mode()
    def next(self, settings: Generate, uniform: np.ndarray | None) -> Chosen:
        """Read what was fed, and choose for all rows."""
        hidden = torch.cat([*([self._step()] if self.ids else []), *self.read])
        self.ids, self.read = [], []
        logits = self.weights.logits(hidden)
        if uniform is not None:
            uniform = uniform[np.argsort(self.slots)]
        chosen = pick(logits.float(), settings, uniform)
        logprobs = chosen.logprobs
        return Chosen(
            [chosen.tokens[slot] for slot in self.slots],
            [logprobs[slot] for slot in self.slots] if logprobs else None,
        )

    def feed(self, tokens: Sequence[int], keep: Sequence[int]) -> None:
        """Drop the other rows; rows of the last slots move to those that became free."""
        slots = [self.slots[row] for row in keep]
        free = sorted(set(range(len(slots))) - set(slots))
        for row, slot in enumerate(slots):
            if slot >= len(slots):
                slots[row] = self._move(slot, free.pop())
        self.slots, self.lengths = slots, self.lengths[: len(slots)]
        self.ids = [0] * len(slots)
        for slot, token in zip(slots, tokens, strict=True):
            self.ids[slot] = token

    def hidden(self, segments: Sequence[Segment]) -> torch.Tensor:
        """Hidden states (tokens, width) of all tokens of prompts in neighbouring slots, after all layers."""
        device = self.cache.device
        ids = torch.tensor([token for segment in segments for token in segment.ids], device=device)
        at = torch.cat([torch.arange(segment.shared, segment.end, device=device) for segment in segments])
        if self.together and _alike(segments, self.weights.heads):
            return self.weights.hidden(ids, at, self._side_by_side(segments, at))
        counts = [len(segment.ids) for segment in segments]

        def attend(number: int, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
            parts = zip(segments, q.split(counts), k.split(counts), v.split(counts), strict=True)
            return torch.cat([self._attend(number, *part) for part in parts])

        return self.weights.hidden(ids, at, attend)

    def _move(self, source: int, target: int) -> int:
        length = self.lengths[target] = self.lengths[source]
        self.cache[:, :, target, :, :length] = self.cache[:, :, source, :, :length]
        self.prompts[target] = self.prompts[source]
        return target

    def _shared(self, prompt: list[int], slot: int) -> tuple[int, int]:
        """(slot, tokens): the longest beginning of this prompt that stands in a row's slot, or in the one it gets."""
        lengths = [(_common(prompt, self.prompts[other]), other) for other in range(slot + 1)]
        shared, source = max(lengths)
        return (source, min(shared, len(prompt) - 1)) if shared >= SHARED_TOKENS else (slot, 0)

    def _read(self, segments: Sequence[Segment]) -> torch.Tensor:
        """Hidden states (prompts, width) of the last tokens."""
        return self.hidden(segments)[np.cumsum([len(segment.ids) for segment in segments]) - 1]

    def _attend(self, number: int, segment: Segment, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
        """The attention of one prompt in layer `number`; q, k, v and the result are (tokens, heads, size)."""
        start, end, slot = segment.shared, segment.end, segment.slot
        layer = self.cache[number]
        segment.copy_shared(layer)
        layer[0, slot, :, start:end], layer[1, slot, :, start:end] = k.transpose(0, 1), v.transpose(0, 1)
        keys, values = layer[:, slot : slot + 1, :, :end]
        mask = torch.ones(end - start, end, dtype=torch.bool, device=q.device).tril(start) if start else None
        q = q.transpose(0, 1)[None].to(keys.dtype)
        scale = self.weights.layers[number].scale
        mixed = functional.scaled_dot_product_attention(q, keys, values, mask, 0.0, not start, scale=scale)
        return mixed[0].transpose(0, 1)

    def _side_by_side(self, segments: Sequence[Segment], at: torch.Tensor) -> Attend:
        """The attention of several prompts at once, padded to the longest."""
        device, first = at.device, segments[0].slot
        longest, end = max(len(segment.ids) for segment in segments), max(segment.end for segment in segments)
        counts = torch.tensor([len(segment.ids) for segment in segments], device=device)
        rows = torch.repeat_interleave(torch.arange(len(segments), device=device), counts, output_size=len(at))
        starts = torch.tensor([segment.shared for segment in segments], device=device)
        places = at - starts[rows]
        seen = starts[:, None] + torch.arange(longest, device=device)  # the last position that each token sees
        mask = _added(torch.arange(end, device=device) <= seen[:, :, None], self.cache.dtype)[:, None]

        def attend(number: int, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
            layer = self.cache[number]
            held = layer[:, first : first + len(segments)]
            held[0, rows, :, at], held[1, rows, :, at] = k.to(layer.dtype), v.to(layer.dtype)
            for segment in segments:
                segment.copy_shared(layer)
            padded = q.new_zeros(len(segments), longest, *q.shape[1:], dtype=layer.dtype)
            padded[rows, places] = q.to(layer.dtype)
            keys, values = held[:, :, :, :end]
            mixed = _fused(padded.transpose(1, 2), keys, values, mask, self.weights.layers[number].scale)
            return mixed.transpose(1, 2)[rows, places]

        return attend

    def _step(self) -> torch.Tensor:
        """Hidden states (rows, width) of the tokens that were fed, by slot."""
        at = self.lengths[: len(self.ids)]
        self.lengths[: len(at)] = [length + 1 for length in at]
        if self.graphs is not None and not self.graphs.refused:
            return self.graphs(self.ids, at)
        ids, places = (torch.tensor(values, device=self.cache.device) for values in (self.ids, at))
        return self._advance(ids, places, max(at) + 1, ragged=min(at) < max(at))


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


def _common(one: list[int], other: list[int]) -> int:
    """The number of tokens that two prompts begin with alike."""
    if one[:SHARED_TOKENS] != other[:SHARED_TOKENS]:
        return 0
    return next((at for at, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))


def _alike(segments: Sequence[Segment], heads: int) -> bool:
    """Whether to read prompts side by side: several, at most a half of them padding, and memory suffices."""
    padded = len(segments) * max(len(segment.ids) for segment in segments)
    end = max(segment.end for segment in segments)
    real = sum(len(segment.ids) for segment in segments)
    return len(segments) > 1 and padded <= 2 * real and heads * padded * end <= SCORES


def _advanced(
    weights: Weights, cache: torch.Tensor, ids: torch.Tensor, at: torch.Tensor, keys: int, *, ragged: bool = True
) -> torch.Tensor:
    """Hidden states (rows, width) of one token of each of the first slots, `ids` at positions `at`, both (rows,).

    The first `keys` positions are looked at, where not `ragged` all of them by all rows. No operation depends on what
    is in the tensors, so that it can be recorded.
    """
    rows = torch.arange(len(ids), device=ids.device)
    mask = None
    if ragged:
        mask = _added(torch.arange(keys, device=ids.device) <= at[:, None], cache.dtype)[:, None, None]

    def attend(number: int, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
        held, values = cache[number, :, : len(ids)]
        held[rows, :, at], values[rows, :, at] = k.to(held.dtype), v.to(held.dtype)
        q = q[:, :, None].to(held.dtype)
        return _mixed(q, held[:, :, :keys], values[:, :, :keys], mask, weights.layers[number].scale).transpose(1, 2)

    return weights.hidden(ids, at, attend)


def _added(seen: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """A mask that is added to scores: 0 where `seen`, else -inf."""
    return torch.zeros(seen.shape, dtype=dtype, device=seen.device).masked_fill(~seen, float("-inf"))


def _mixed(
    q: torch.Tensor, keys: torch.Tensor, values: torch.Tensor, mask: torch.Tensor | None, scale: float
) -> torch.Tensor:
    """The attention (rows, heads, 1, size) of one token of each row; `mask` is added to scores.

    On CPUs two products are faster than the fused kernel where there are several rows; one row is no exception.
    """
    if q.device.type != "cpu":
        return _fused(q, keys, values, mask, scale)
    scores = (q * scale) @ keys.transpose(-1, -2)
    if mask is not None:
        scores += mask
    return torch.softmax(scores, -1) @ values


def _fused(
    q: torch.Tensor, keys: torch.Tensor, values: torch.Tensor, mask: torch.Tensor | None, scale: float
) -> torch.Tensor:
    """torch's attention (rows, heads, queries, size) by one of KERNELS."""
    with sdpa_kernel(KERNELS):
        return functional.scaled_dot_product_attention(q, keys, values, mask, scale=scale)
