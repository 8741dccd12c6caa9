"""Room for a step: where memory runs out it is taken in smaller pieces; several processes find that out beforehand."""

from __future__ import annotations

import operator
from typing import TYPE_CHECKING, Protocol

import numpy as np
import torch

from hfkit.engine.memory import give_back
from hfkit.engine.processes.place import Place
from hfkit.errors import ResourceError

if TYPE_CHECKING:
    from hfkit.data.features import Features


NOTHING = (0, 0, 0)  # `sizes_of` no step


class Steps(Protocol):
    """What is looked at and changed here of a training (engine/train.py)."""

    place: Place
    features: Features
    optimizer: torch.optim.Optimizer
    batch_size: int
    micro_batch_size: int
    packed: bool
    held: int  # examples that went through the model last
    largest: list[int]  # `sizes_of` what went through all processes

    @property
    def threads(self) -> int: ...

    def cut(self, indices: np.ndarray) -> list[np.ndarray]: ...

    def passed(self, step: int, indices: np.ndarray) -> bool: ...

    def narrow(self) -> None: ...


def find_room(training: Steps, step: int, indices: np.ndarray) -> list[str]:
    """Of several processes: pass a step that is larger than all before apart first, and take less until all can.

    In the step itself the others would wait for the gradients of the one whose memory ran out. Steps larger than all
    before are few: of N that are drawn alike about ln N. Returns lines to show. Raises ResourceError, on all.
    """
    lines: list[str] = []
    if training.place.world.size == 1 or training.place.sharded:  # shares of weights are gathered in every pass
        return lines
    while any(map(operator.gt, sizes := sizes_of(training, indices), training.largest)):
        if all(training.place.gather(training.passed(step, indices))):
            training.largest = [*map(max, sizes, training.largest)]
        else:
            lines.append(take_less(training, step, indices, apart=True))
    return lines


def sizes_of(training: Steps, indices: np.ndarray) -> list[int]:
    """A step's largest micro-batch, over all processes: its tokens as they are, padded to its longest row, and the
    scores of attention that holds them all."""
    lengths = [training.features.lengths[part].astype(np.int64) for part in training.cut(indices)]
    padded = [(len(each), int(each.max())) for each in lengths]
    return [
        max(int(each.sum()) for each in lengths),
        max(count * longest for count, longest in padded),
        max(count * longest**2 for count, longest in padded),
    ]


def take_less(training: Steps, step: int, indices: np.ndarray, *, apart: bool) -> str:
    """Halve the micro-batch, or let one thread hold one example alone, and forget the step's gradients.

    `apart`: all processes do it. Returns a line to show. Raises ResourceError when that is how it was, or the other
    processes are inside the step.
    """
    size = max(map(len, training.cut(indices))) if training.packed or apart else training.held
    each = f" on each of {training.threads} threads" if training.threads > 1 else ""
    where = f"step {step + 1}: out of memory with {size} example{'s' if size > 1 else ''} at a time{each}"
    longest = int(training.features.lengths[indices].max())
    if size == 1 and training.threads == 1:
        raise ResourceError(
            f"{where}, of up to {longest:,} tokens",
            "make examples shorter, take a smaller model or train.precision=bfloat16, or use a larger machine",
        )
    if training.place.world.size > 1 and not apart:
        raise ResourceError(
            f"{where}, while the other processes waited for its gradients",
            f"add --resume train.micro_batch_size={size // 2}, or start again with it",
        )
    if size == 1:
        training.narrow()
        now = "on one"
    else:
        training.micro_batch_size = size // 2
        now = f"with {size // 2}"
    training.optimizer.zero_grad(set_to_none=True)
    give_back(training.place.device)
    return f"{where}; repeated {now}, which stays (steps are of {training.batch_size})"
