"""Which features go through the model together: planned once over all the data, for any number of processes."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

Indices = np.ndarray  # (features,) int64
# What a pass costs besides its tokens, in tokens: each walks over all gradients, and starts each kernel of a GPU.
CPU_PASS_TOKENS, GPU_PASS_TOKENS = 128, 4096
FEWEST_PASSES = 1 << 40  # in its place: the cut with the fewest passes


def epoch_order(count: int, seed: int, epoch: int) -> Indices:
    """The order of an epoch: a permutation that depends on nothing but (count, seed, epoch)."""
    return np.random.default_rng([seed, epoch]).permutation(count)


def steps_per_epoch(count: int, batch_size: int) -> int:
    """Optimizer steps of one pass; the last one may be short."""
    return -(-count // batch_size)


class Drawn:
    """The features of every optimizer step: each epoch is an order of all of them, cut into steps."""

    def __init__(self, count: int, batch_size: int, seed: int) -> None:
        self.count, self.batch_size, self.seed = count, batch_size, seed
        self._epoch, self._order = -1, np.zeros(0, dtype=np.int64)

    def examples(self, step: int) -> Indices:
        """The numbers of the features of a step, counted from 0."""
        epoch, index = divmod(step, steps_per_epoch(self.count, self.batch_size))
        if epoch != self._epoch:
            self._epoch, self._order = epoch, epoch_order(self.count, self.seed, epoch)
        return self._order[index * self.batch_size : (index + 1) * self.batch_size]


def packed_batches(indices: Indices, lengths: np.ndarray, size: int) -> list[Indices]:
    """A step cut into micro-batches of at most `size` features that are packed: without padding.

    They are dealt out from the longest on, to and fro, so that the micro-batches hold about equally many tokens, and
    threads or processes that take one each end together.
    """
    ordered = indices[np.argsort(lengths[indices], kind="stable")]
    parts = -(-len(ordered) // size)
    place = np.arange(len(ordered)) % (2 * parts)
    taker = np.minimum(place, 2 * parts - 1 - place)
    return [ordered[::-1][taker == part] for part in range(parts)]


def padded_batches(indices: Indices, lengths: np.ndarray, size: int, pass_tokens: int) -> list[Indices]:
    """A step cut into micro-batches of at most `size` features that are padded to the longest in each.

    The step is a random draw; sorting inside it saves padding without favouring any length. Of all cuts of the sorted
    step this is the one with the least work, counted in tokens, padding included, where each pass costs `pass_tokens`
    besides: more passes pad less. Sources and targets, which are padded apart, are counted together.
    """
    ordered = indices[np.argsort(lengths[indices], kind="stable")]
    sizes = lengths[ordered].astype(np.int64)
    least = np.zeros(len(ordered) + 1, dtype=np.int64)  # work of the first features
    cuts = np.zeros(len(ordered) + 1, dtype=np.int64)  # where their last micro-batch begins
    for end in range(1, len(ordered) + 1):
        begins = np.arange(max(0, end - size), end)
        work = least[begins] + (end - begins) * sizes[end - 1] + pass_tokens
        best = int(work.argmin())
        least[end], cuts[end] = work[best], begins[best]
    parts: list[Indices] = []
    end = len(ordered)
    while end:
        parts.append(ordered[cuts[end] : end])
        end = int(cuts[end])
    return parts[::-1]


def padding_share(parts: list[Indices], lengths: np.ndarray) -> float:
    """The share of padding among the tokens of micro-batches that are padded to the longest in each, 0 to 1."""
    padded = sum(len(part) * int(lengths[part].max()) for part in parts)
    return 1 - sum(int(lengths[part].sum()) for part in parts) / max(1, padded)


def answer_batches(lengths: np.ndarray, max_tokens: int, max_features: int | None = None) -> list[Indices]:
    """All features, longest first, in batches of at most `max_tokens` padded tokens and `max_features` features."""
    ordered = np.argsort(-lengths.astype(np.int64), kind="stable")
    batches: list[Indices] = []
    start = 0
    while start < len(ordered):
        size = max(1, max_tokens // max(1, int(lengths[ordered[start]])))
        size = min(size, max_features) if max_features else size
        batches.append(ordered[start : start + size])
        start += size
    return batches


def share_of(parts: list[Indices], rank: int, size: int) -> Iterator[tuple[int, Indices, float, bool]]:
    """(number, features, weight, last) of one process's micro-batches, of `size` processes.

    Processes run equally many; one that has none left repeats the first with weight 0, so that all meet.
    """
    rounds = -(-len(parts) // size)
    for turn in range(rounds):
        number = turn * size + rank
        real = number < len(parts)
        yield number, parts[number] if real else parts[0], 1.0 if real else 0.0, turn == rounds - 1
