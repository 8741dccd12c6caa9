"""Sequences of a packed row that go through one product side by side, padded to one length, and how they get there.

Where sequences are short, most of attention is the cost of calling operations: 16 sequences of 25 tokens take half the
time as one group (12 heads of 32, bfloat16, forward and backward).
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property, lru_cache

import torch

ALIGNED = 32  # torch's softmax takes what is beyond a multiple of so many 16-bit numbers one by one
WORTH, WORTH_WIDE = 12_000, 2_000  # scores for nothing, of 16-bit and wider numbers, that take as long as another group
MOST = 1 << 19  # scores of a group: 1 MB of 16-bit numbers stays in a core's cache


class Group:
    """Neighbouring sequences of a packed row, the first beginning at token `first`, and being sequence `number` of all.

    Queries are padded to the longest sequence, keys and values to `keys` places.
    """

    def __init__(self, first: int, number: int, lengths: Sequence[int], aligned: int) -> None:
        self.first, self.number, self.lengths = first, number, tuple(lengths)
        self.queries = max(lengths)
        self.keys = _aligned(self.queries, aligned)
        self._hiding: dict[tuple[bool, int | None, torch.dtype], torch.Tensor] = {}  # what is added to scores

    def take(self, values: torch.Tensor, width: int) -> torch.Tensor:
        """A copy (sequences * heads, width, size) of (tokens, heads, size); behind an end the last token again."""
        heads, size = values.shape[1:]
        mine = values[self.first : self.first + sum(self.lengths)]
        if len(self.lengths) > 1:
            rows = mine.index_select(0, self._tokens[:, :width].flatten())
            return rows.view(-1, width, heads, size).transpose(1, 2).reshape(-1, width, size)
        if width == self.queries:
            return mine.transpose(0, 1).clone(memory_format=torch.contiguous_format)
        found = values.new_empty(heads, width, size)
        found[:, : self.queries] = mine.transpose(0, 1)
        found[:, self.queries :] = mine[-1][:, None]
        return found

    def put(self, found: torch.Tensor, into: torch.Tensor) -> None:
        """Write (sequences * heads, width, size) into the places of (tokens, heads, size) that it was taken from."""
        width, size = found.shape[1:]
        mine = into[self.first : self.first + sum(self.lengths)]
        if len(self.lengths) > 1:
            rows = found.view(-1, into.shape[1], width, size).transpose(1, 2).reshape(-1, into.shape[1], size)
            mine.copy_(rows.index_select(0, self._places[width]))
        else:
            mine.copy_(found[:, : self.queries].transpose(0, 1))

    def take_first(self, values: torch.Tensor) -> torch.Tensor:
        """A copy (sequences * heads, 1, size) of its rows of (all sequences, heads, size)."""
        mine = values[self.number : self.number + len(self.lengths)]
        return mine.reshape(-1, 1, values.shape[2]).clone()

    def put_first(self, found: torch.Tensor, into: torch.Tensor) -> None:
        """Write (sequences * heads, 1, size) into its rows of (all sequences, heads, size)."""
        mine = into[self.number : self.number + len(self.lengths)]
        mine.copy_(found.view(mine.shape))

    def clear_behind(self, found: torch.Tensor) -> torch.Tensor:
        """(sequences * heads, queries, size), made 0 in place behind the end of each sequence."""
        if min(self.lengths) < self.queries:
            self._each(found).masked_fill_(~self._real[:, None, : self.queries, None], 0.0)
        return found

    def hide(self, scores: torch.Tensor, causal: bool, window: int | None) -> torch.Tensor:
        """(sequences * heads, queries, keys), made -inf in place where a query does not see a key."""
        if len(self.lengths) == 1 and not causal and window is None:
            scores[:, :, self.queries :] = float("-inf")
            return scores
        kind = causal, window, scores.dtype
        hiding = self._hiding.get(kind)
        if hiding is None:
            hidden = self._hidden(causal, window)
            hiding = torch.zeros(hidden.shape, dtype=scores.dtype).masked_fill_(hidden, float("-inf"))
            if hiding.numel() <= MOST:  # larger ones would be held for too long
                self._hiding[kind] = hiding
        self._each(scores).add_(hiding)  # a third of the time that masked_fill_ takes
        return scores

    def _each(self, values: torch.Tensor) -> torch.Tensor:
        """A view (sequences, heads, ...)."""
        return values.view(len(self.lengths), -1, *values.shape[1:])

    def _hidden(self, causal: bool, window: int | None) -> torch.Tensor:
        """(sequences, 1, queries or 1, keys) bool: what no query of a place sees.

        Queries behind the end see something, or their probabilities were not numbers and so would be all gradients.
        """
        beyond = ~self._real[:, None, None, :]
        beyond[torch.tensor(self.lengths) == 0] = False  # what has no token is never looked at
        if not causal and window is None:
            return beyond
        place = torch.arange(self.keys)
        ahead = place[None, :] - place[: self.queries, None]
        hidden = ahead > 0 if causal else torch.zeros(ahead.shape, dtype=torch.bool)
        if window is not None:
            hidden = hidden | (ahead.abs() > window)
        return (hidden | beyond) & self._real[:, None, : self.queries, None]

    @cached_property
    def _real(self) -> torch.Tensor:
        """(sequences, keys) bool: where a token is."""
        return torch.arange(self.keys)[None, :] < torch.tensor(self.lengths)[:, None]

    @cached_property
    def _tokens(self) -> torch.Tensor:
        """(sequences, keys) int64: which token of the group stands at a place."""
        ends = torch.tensor(self.lengths).cumsum(0)[:, None]
        place = ends - torch.tensor(self.lengths)[:, None] + torch.arange(self.keys)
        return torch.minimum(place, ends - 1).clamp(min=0)

    @cached_property
    def _places(self) -> dict[int, torch.Tensor]:
        """Width -> (tokens,) int64: the places that tokens stand at, in the order of tokens."""
        return {width: self._real[:, :width].flatten().nonzero()[:, 0] for width in (self.queries, self.keys)}


@lru_cache(maxsize=8)  # all layers of a micro-batch ask for the same
def groups_of(lengths: tuple[int, ...], heads: int, size: int) -> list[Group]:
    """A packed row cut into groups of neighbours, for numbers of `size` bytes.

    A sequence joins the ones before it while what they are padded by is cheaper than another group.
    """
    aligned, worth = (ALIGNED, WORTH) if size == 2 else (1, WORTH_WIDE)
    groups: list[Group] = []
    first = number = longest = needed = 0
    run: list[int] = []
    for length in lengths:
        longest, needed = max(longest, length), needed + length * _aligned(length, aligned)
        scores = (len(run) + 1) * longest * _aligned(longest, aligned)
        if run and ((scores - needed) * heads > worth * len(run) or scores * heads > MOST):
            groups.append(Group(first, number, run, aligned))
            first, number, run = first + sum(run), number + len(run), []
            longest, needed = length, length * _aligned(length, aligned)
        run.append(length)
    return [*groups, Group(first, number, run, aligned)]


def _aligned(length: int, multiple: int) -> int:
    return -(-length // multiple) * multiple
