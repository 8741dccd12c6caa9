"""Averages of weights over steps: the exponential moving one (EMA), and the plain one of the later steps (SWA).

Training goes on with the latest weights; what is scored and kept is the average.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING

import torch
from torch import nn

if TYPE_CHECKING:
    from hfkit.recipe.keys import Tricks

EMA_WARMUP = 10  # the first averages forget faster: a run may be shorter than the average's memory


def average_of(parameters: Mapping[str, nn.Parameter], tricks: Tricks) -> Average | None:
    """What the recipe asks for; None where it asks for nothing."""
    if tricks.average is None:
        return None
    if tricks.average == "ema":
        return Average(parameters, partial(ema_share, decay=tricks.ema_decay), start=0.0)
    return Average(parameters, swa_share, start=tricks.swa_start)


def ema_share(count: int, decay: float) -> float:
    """What the latest weights are of an average of `count` earlier ones: 1 - decay, more in the first steps.

    The decay is the lesser of `decay` and (1 + count) / (10 + count), as in tf.train.ExponentialMovingAverage; 0.999 is
    reached at step 8,990.
    """
    return 1 - min(decay, (1 + count) / (EMA_WARMUP + count))


def swa_share(count: int) -> float:
    """All steps weigh the same (Izmailov et al. 2018, who average once an epoch)."""
    return 1 / (count + 1)


class Average:
    """The average of named weights over the steps from the share `start` of all on; at first, one step's weights."""

    def __init__(self, parameters: Mapping[str, nn.Parameter], share: Callable[[int], float], *, start: float) -> None:
        self.parameters, self.start = dict(parameters), start
        self.count = 0  # steps that went into it
        self._share = share
        self._values: list[torch.Tensor] = []  # the average; while it is in place, the latest weights

    @property
    def numbers(self) -> int:
        """How many weights are averaged."""
        return sum(p.numel() for p in self.parameters.values())

    @torch.no_grad()
    def update(self, step: int, steps: int) -> None:
        """Take in the weights after step `step` of `steps`, counted from 0."""
        weights = list(self.parameters.values())
        if self.count:
            torch._foreach_lerp_(self._values, weights, self._share(self.count))
        elif step < self.start * steps:
            return
        else:
            self._values = [p.detach().clone() for p in weights]
        self.count += 1

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """Inside, the weights are the average, where there is one already; afterwards the latest, to the bit."""
        self._swap()
        try:
            yield
        finally:
            self._swap()

    def latest(self) -> dict[str, torch.Tensor] | None:
        """The weights that training goes on with, while the average is in place; None where there is no average yet."""
        named = zip(self.parameters, self._values, strict=True)
        return {name: value.cpu() for name, value in named} if self.count else None

    def restore(self, latest: Mapping[str, torch.Tensor], count: int) -> None:
        """The weights are an average of `count` steps: keep it, and put the latest weights into their place."""
        self._values = [latest[name].to(p.device) for name, p in self.parameters.items()]
        self.count = count
        self._swap()

    @torch.no_grad()
    def _swap(self) -> None:
        if self.count:
            for weight, value in zip(self.parameters.values(), self._values, strict=True):
                before = weight.clone()
                weight.copy_(value)
                value.copy_(before)
