"""Whether compiled layers pay in a run: its passes are timed both ways before its first step.

Passes leave weights, moments and draws alone, so a run that goes on without compiled layers is what it would have been.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch

from hfkit.engine.regional import Regions, eager
from hfkit.engine.train import Training
from hfkit.errors import HfkitError

PASSES = 3  # timed each way; a run of fewer than LEAST_STEPS is not held up for them
LEAST_STEPS = 200
KNOWN_SECONDS = 40.0  # of compiling with an empty cache: 12 to 35 are published for encoders (unslothai/unsloth)
SHARE = 0.1  # of the time that the run would take, which a trial may cost at most


@dataclass(frozen=True)
class Trial:
    """What came out: whether compiled layers pay, and the reason in words."""

    pays: bool
    why: str


def tried(training: Training, regions: Regions, limit: float | None) -> Trial:
    """Time steps with and without compiled layers, which stay compiled where they pay: on all processes, or on none.

    They pay when what they save in all steps, or in `limit` seconds, is more than compiling took. Not tried where that
    could cost a large part of the run. Whatever fails is the reason that they stay as they are.
    """
    steps = training.schedule.steps
    if steps < LEAST_STEPS:
        return Trial(False, f"{steps} steps are too few to try it")
    plain = _timed(training, nullcontext)
    if plain is None:
        return Trial(False, "memory ran out when it was tried")
    left = steps * plain if limit is None else min(limit, steps * plain)
    if left * SHARE < KNOWN_SECONDS:
        return Trial(False, f"the steps take about {left:.0f} s, too little to try it for up to {KNOWN_SECONDS:.0f} s")
    begun = time.perf_counter()
    if problem := _compiled(training, regions):
        return Trial(False, problem)
    training.passed(0)
    cost = max(training.place.gather(time.perf_counter() - begun))
    plain, faster = _timed(training, eager), _timed(training, nullcontext)
    trial = _judged(plain, faster, left, cost)
    if not trial.pays:
        regions.undo()
    return trial


def _compiled(training: Training, regions: Regions) -> str | None:
    """Compile on all processes; else undo it on all, and say why."""
    problem = None
    try:
        regions.compile()
    except Exception as error:
        problem = problem_of(error)
    found = [said for said in training.place.gather(problem) if said is not None]
    if found:
        regions.undo()
    return found[0] if found else None


def problem_of(error: Exception) -> str:
    """Why layers could not be compiled, in a line; torch names the cause in the second line of its messages."""
    text = error.message if isinstance(error, HfkitError) else str(error)
    said = " ".join([line.strip() for line in text.splitlines() if line.strip()][:2])
    return f"the layers cannot be compiled here ({type(error).__name__}: {said[:200]})"


def _judged(plain: float | None, faster: float | None, left: float, cost: float) -> Trial:
    """Seconds of a step without and with compiled layers, of all steps without, and of compiling."""
    if plain is None or faster is None:
        return Trial(False, "memory ran out when it was tried")
    saved = left * (1 - faster / plain)
    times = f"{1000 * faster:.3g} ms a step instead of {1000 * plain:.3g}"
    if saved > cost:
        return Trial(True, f"{times} save about {saved:.0f} of {left:.0f} s, compiling took {cost:.0f}")
    what = f"save only {saved:.0f} of {left:.0f} s" if saved > 0 else "save nothing"
    return Trial(False, f"{times} {what}, compiling took {cost:.0f} s")


def _timed(training: Training, how: Callable[[], AbstractContextManager[Any]]) -> float | None:
    """Seconds of a step's passes, the median of some on the slowest process; None where memory ran out.

    One before them finds memory and kernels.
    """
    found = []
    with how():
        for step in (0, *range(PASSES)):
            _wait(training)
            begun = time.perf_counter()
            done = all(training.place.gather(training.passed(step)))
            if not done:
                return None
            _wait(training)
            found.append(time.perf_counter() - begun)
    return max(training.place.gather(statistics.median(found[1:])))


def _wait(training: Training) -> None:
    """Until the device has done what it was told."""
    if training.place.device.type == "cuda":
        torch.cuda.synchronize(training.place.device)
