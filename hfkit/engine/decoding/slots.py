"""A batch inside a GPT-2: rows without padding, keys and values kept in slots. One of state.py's kinds.

It gives what transformers' module gives, in fewer and larger operations.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import numpy as np
import torch

from hfkit.engine.decoding.gpt2 import Weights
from hfkit.engine.decoding.graphs import Graphs, Record
from hfkit.engine.decoding.prefill import Segment, prefill
from hfkit.engine.decoding.sampling import Chosen, pick
from hfkit.engine.decoding.step import advance
from hfkit.recipe.keys import Generate

PREFILL_TOKENS = 4096  # tokens of prompts read at once
SHARED_TOKENS = 8  # a shorter common beginning of two prompts is not worth looking for


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
        self._advance = partial(advance, weights, self.cache)  # which must not hold what holds the graphs
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
        hidden = prefill(self.weights, self.cache, segments, together=self.together)
        return hidden[np.cumsum([len(segment.ids) for segment in segments]) - 1]

    def _step(self) -> torch.Tensor:
        """Hidden states (rows, width) of the tokens that were fed, by slot."""
        at = self.lengths[: len(self.ids)]
        self.lengths[: len(at)] = [length + 1 for length in at]
        if self.graphs is not None and not self.graphs.refused:
            return self.graphs(self.ids, at)
        ids, places = (torch.tensor(values, device=self.cache.device) for values in (self.ids, at))
        return self._advance(ids, places, max(at) + 1, ragged=min(at) < max(at))


def _common(one: list[int], other: list[int]) -> int:
    """The number of tokens that two prompts begin with alike."""
    if one[:SHARED_TOKENS] != other[:SHARED_TOKENS]:
        return 0
    return next((at for at, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))
