"""Adversarial training: weights moved to where the loss is higher, for a second pass of the same step, and put back.

FGM (Miyato et al. 2017) moves the word embeddings, AWP (Wu et al. 2020) every matrix that trains. The engine takes the
mean of the losses before and after the move, with the same dropout masks, and the move is that of the whole step: by
the gradients of all its micro-batches, threads and processes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

if TYPE_CHECKING:
    from hfkit.recipe.keys import Tricks

EPSILON = {"fgm": 0.1, "awp": 0.01}  # where the recipe says auto
Move = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]  # weight, its gradient -> what is added to the weight


def epsilon_of(tricks: Tricks) -> float:
    """How far weights are moved, with `auto` settled; 0 where they are not."""
    if tricks.adversarial is None:
        return 0.0
    given = tricks.adversarial_epsilon
    return EPSILON[tricks.adversarial] if given == "auto" else given


def perturbation(model: Any, tricks: Tricks) -> Perturbation | None:
    """What the recipe asks for, of a transformers model; None where it asks for nothing."""
    if tricks.adversarial is None:
        return None
    if tricks.adversarial == "fgm":
        return Perturbation([model.get_input_embeddings().weight], partial(fgm, epsilon=epsilon_of(tricks)))
    matrices = [p for p in model.parameters() if p.requires_grad and p.ndim > 1]
    return Perturbation(matrices, partial(awp, epsilon=epsilon_of(tricks), rate=tricks.adversarial_lr))


class Perturbation:
    """Weights that can be moved by their gradients for a while."""

    def __init__(self, weights: Sequence[nn.Parameter], move: Move) -> None:
        self.weights = list(weights)
        self._move = move
        self._kept: list[torch.Tensor] = []

    @property
    def numbers(self) -> int:
        """Of how many weights a copy is kept."""
        return sum(p.numel() for p in self.weights)

    @contextmanager
    def moved(self) -> Iterator[None]:
        """Inside, weights stand where their gradients sent them; afterwards, whatever happens, as before, to the bit.

        They are copied back from where they were kept: to add and to subtract would leave a rounding error. Both ways
        of writing count as changes of the weights, so that 16-bit copies of them (engine/cpu/copies.py) are made anew.
        """
        with torch.no_grad():
            if not self._kept:
                self._kept = [p.detach().clone() for p in self.weights]
            else:
                torch._foreach_copy_(self._kept, self.weights)
        try:
            with torch.no_grad():
                for weight in self.weights:
                    if weight.grad is not None:
                        weight.add_(self._move(weight, weight.grad))
            yield
        finally:
            with torch.no_grad():
                torch._foreach_copy_(self.weights, self._kept)


def fgm(weight: torch.Tensor, gradient: torch.Tensor, epsilon: float) -> torch.Tensor:
    """epsilon * g / ||g||; nothing where the norm is 0 or not finite."""
    return _unit(gradient).mul_(epsilon)


def awp(weight: torch.Tensor, gradient: torch.Tensor, epsilon: float, rate: float) -> torch.Tensor:
    """rate * ||w|| * g / ||g||, no element by more than epsilon * |w|; nothing where ||g|| is 0 or not finite."""
    bound = weight.abs().mul_(epsilon)
    return _unit(gradient).mul_(rate * torch.linalg.vector_norm(weight)).clamp_(-bound, bound)


def _unit(gradient: torch.Tensor) -> torch.Tensor:
    """The gradient at length 1, or zeros; what it is is decided on the device, which nothing waits for."""
    norm = torch.linalg.vector_norm(gradient)
    return torch.where(torch.isfinite(norm) & (norm > 0), gradient / norm, 0.0)
