"""Real steps before a run: on the longest examples, to see what fits the memory there is; on drawn ones, for the pace.

Serves `finetune --dry-run` alone: the weights have moved afterwards.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from hfkit.engine.memory import available, held, peak_memory, reset_peak
from hfkit.engine.pace import Pace
from hfkit.engine.plan import FEWEST_PASSES
from hfkit.engine.train import Training
from hfkit.errors import ResourceError

FILLED = 0.9  # share of the memory that the longest step may take: other shapes leave gaps between blocks
GRADIENT, MOMENTS = 4, 8  # bytes that training adds for each weight; each thread has gradients of its own
COPY = 4  # bytes of each weight that a trick keeps a copy of
PACE_SECONDS, PACE_STEPS = 3.0, 10  # the pace is taken over so long, and at most so many steps


@dataclass(frozen=True)
class Rehearsal:
    """What was measured. `memory` is None where the system does not say what there is."""

    asked: int  # micro-batch size before
    micro_batch_size: int  # the largest that fits, at most `asked`
    accumulation: int  # micro-batches of a step on each process, at least (padded ones may be more and smaller)
    peak: int  # bytes held by the process that held most, in a step of the longest examples
    memory: int | None  # bytes
    pace: Pace


def rehearse(training: Training) -> Rehearsal:
    """Try micro-batches of 1, 2, 4, ... examples up to the size asked for, the longest of the data, then drawn steps.

    A size that by the growth so far would not fit is not tried: a kernel that runs out of memory kills without a word.
    Raises ResourceError when one example does not fit.
    """
    asked = training.micro_batch_size
    memory = _least(training, available(training.place.device, sharers=training.place.world.local_size))
    _refuse_too_large(training, memory)
    longest = np.argsort(-training.features.lengths.astype(np.int64), kind="stable")[: training.batch_size]
    largest = min(asked, len(longest))
    at_once = training.at_once
    _peak_of(training, 1, longest[:at_once])  # the optimizer's state is made here, and held ever after
    peaks: dict[int, int] = {}  # size -> bytes, of those that fit
    for size in _sizes(largest):
        if memory is not None and _expected(peaks, size) > FILLED * memory:
            break
        peak = _peak_of(training, size, longest[: size * at_once])
        if peak is None or (memory is not None and peak > FILLED * memory):
            break
        peaks[size] = peak
    if not peaks:
        raise too_little(f"one example of {int(training.features.lengths.max()):,} tokens", memory)
    fitting = max(peaks)
    chosen = asked if fitting == largest else fitting
    whole = _peak_of(training, chosen, longest)
    return Rehearsal(asked, chosen, training.accumulation(), max(peaks[fitting], whole or 0), memory, _pace(training))


def too_little(what: str, memory: int | None) -> ResourceError:
    """The user's words when not even the least fits."""
    there = "" if memory is None else f": {memory / 1e9:.1f} GB"
    return ResourceError(
        f"{what} takes more memory than there is{there}",
        "make examples shorter, take a smaller model or train.precision=bfloat16, or use a larger machine",
    )


def _refuse_too_large(training: Training, memory: int | None) -> None:
    weights = sum(p.numel() for p in training.bare.parameters() if p.requires_grad)
    needed = held(training.place.device) + (MOMENTS + GRADIENT * training.threads) * weights
    needed += COPY * training.copies
    if memory is not None and needed > memory:
        raise too_little(f"training {weights:,} weights ({needed / 1e9:.1f} GB before the first example)", memory)


def _sizes(asked: int) -> Iterator[int]:
    """1, 2, 4, ... and `asked`."""
    size = 1
    while size < asked:
        yield size
        size *= 2
    yield asked


def _expected(peaks: dict[int, int], size: int) -> float:
    """Bytes at `size`, on the line through the last two that were measured; the last one before there are two."""
    known = list(peaks.items())
    if len(known) < 2:
        return known[-1][1] if known else 0
    (before, low), (last, high) = known[-2:]
    return high + (high - low) / (last - before) * (size - last)


def _peak_of(training: Training, size: int, indices: np.ndarray) -> int | None:
    """The most bytes any process held in a step of these features, `size` at a time; None when memory ran out."""
    reset_peak(training.place.device)
    training.micro_batch_size = size
    cost, training.pass_tokens = training.pass_tokens, FEWEST_PASSES  # full micro-batches: no step can hold more
    training.advance(training.full_step, indices=indices)
    training.pass_tokens = cost
    for _ in training.finished(wait=True):
        pass
    peak = max(training.place.gather(peak_memory(training.place.device)))
    return None if training.micro_batch_size < size else peak


def _pace(training: Training) -> Pace:
    pace = Pace()
    begun, first = time.perf_counter(), training.full_step
    for step in range(first, first + min(PACE_STEPS, training.schedule.steps)):
        training.advance(step)
        for done in training.finished(wait=True):
            pace.add(done.features, done.tokens)
        if training.place.gather(time.perf_counter() - begun > PACE_SECONDS)[0] and step > first:
            break
    return pace


def _least(training: Training, here: int | None) -> int | None:
    known = [value for value in training.place.gather(here) if value is not None]
    return min(known, default=None)
