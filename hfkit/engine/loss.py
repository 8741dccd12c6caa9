"""The loss of one micro-batch on one model: dropout masks drawn by number, one pass, or the two of R-Drop."""

from __future__ import annotations

import numpy as np
import torch

from hfkit.engine.cpu import seed_masks
from hfkit.engine.forward import forward
from hfkit.engine.heads import task_loss
from hfkit.tasks.base import Batch, Task


def loss_of(
    task: Task, model: torch.nn.Module, batch: Batch, draw: tuple[int, int, int], *, r_drop: float = 0.0
) -> tuple[torch.Tensor, torch.Tensor]:
    """(sum of losses, count) as `task.loss` gives them; masks depend on `draw`, (seed, step, micro-batch), alone.

    R-Drop (Liang et al. 2021): with a weight above 0 there is a second pass with other masks. The loss is the mean of
    both, and the weight times the task's `divergence` of their outputs. Both passes are held for one backward pass.
    """
    seed_masks(draw_seed(*draw))
    outputs = forward(model, batch)
    loss, count = task_loss(task, outputs, batch)
    if not r_drop:
        return loss, count
    seed_masks(draw_seed(*draw, 1))
    others = forward(model, batch)
    divergence = task.divergence(outputs, others, batch)  # type: ignore[attr-defined]  # not all tasks have it
    return (loss + task_loss(task, others, batch)[0]) / 2 + r_drop * divergence, count


def draw_seed(*numbers: int) -> int:
    """The seed of all that is random in a pass: 63 bits mixed from seed, step, micro-batch, and 1 for a second pass."""
    return int(np.random.SeedSequence(numbers).generate_state(1, np.uint64)[0] >> 1)
