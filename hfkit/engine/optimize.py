"""What moves the weights: parameter groups, learning rate, schedule, clipping."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

import torch
from torch import nn

from hfkit.engine.shard import local

ADAPTERS_RATE = 10  # low-rank adapters want about ten times the rate of all weights, whatever the model's size
POSITION_NAMES = ("position_embeddings", "wpe", "embed_positions", "rel_embeddings")


def parameter_groups(
    model: nn.Module, weight_decay: float, rate_shares: Mapping[nn.Parameter, float] | None = None
) -> list[dict[str, object]]:
    """Two groups: matrices decay, the rest (norms, biases, position embeddings) does not; two for each rate.

    A group's `rate_share` multiplies the learning rate; parameters that `rate_shares` does not name have 1.

    Decided by the type of the owning module, since names differ between families (`LayerNorm.weight`, `ln_1.weight`,
    `norm.weight`). Tied and frozen parameters appear once or not at all.
    """
    shares = rate_shares or {}
    groups: dict[tuple[float, float], list[nn.Parameter]] = {(1.0, weight_decay): [], (1.0, 0.0): []}
    seen: set[int] = set()
    for path, module in model.named_modules():
        position = path.rsplit(".", 1)[-1] in POSITION_NAMES
        norm = "norm" in type(module).__name__.lower()
        for parameter in module.parameters(recurse=False):
            if id(parameter) in seen or not parameter.requires_grad:
                continue
            seen.add(id(parameter))
            decay = 0.0 if norm or position or parameter.ndim < 2 else weight_decay
            groups.setdefault((shares.get(parameter, 1.0), decay), []).append(parameter)
    return [
        {"params": members, "weight_decay": decay, "rate_share": share} for (share, decay), members in groups.items()
    ]


def build_optimizer(
    model: nn.Module, lr: float, weight_decay: float, rate_shares: Mapping[nn.Parameter, float] | None = None
) -> torch.optim.AdamW:
    """AdamW (Loshchilov & Hutter 2019), one fused kernel per step where the device has one."""
    groups = parameter_groups(model, weight_decay, rate_shares)
    return torch.optim.AdamW(groups, lr=lr, betas=(0.9, 0.999), eps=1e-8, fused=fused_supported())


def fused_supported() -> bool:
    """Whether this torch has a fused AdamW for the devices here (CPU and CUDA have since 2.4)."""
    return not (hasattr(torch.backends, "mps") and torch.backends.mps.is_available())


@dataclass(frozen=True)
class Schedule:
    """The learning rate at each optimizer step: a linear warm-up to `peak`, then down to 0 at `steps`."""

    peak: float
    steps: int
    warmup_steps: int
    shape: Literal["linear", "cosine", "constant"]

    def lr(self, step: int) -> float:
        """The rate of step `step`, counted from 0."""
        if step < self.warmup_steps:
            return self.peak * (step + 1) / self.warmup_steps
        if self.shape == "constant":
            return self.peak
        share = min(1.0, (step - self.warmup_steps) / max(1, self.steps - self.warmup_steps))
        return self.peak * (1 - share if self.shape == "linear" else 0.5 * (1 + math.cos(math.pi * share)))


def warmup_steps(warmup: float, steps: int) -> int:
    """A share of the steps when below 1, else a number of steps."""
    return min(steps, round(warmup * steps) if warmup < 1 else round(warmup))


def auto_lr(parameters: int, *, scratch: bool, adapters: bool = False) -> tuple[float, str]:
    """(peak learning rate, why) by the size and kind of the model."""
    millions = parameters / 1e6
    if adapters:
        rate, why = auto_lr(parameters, scratch=False)
        return rate * ADAPTERS_RATE, f"{why}, {ADAPTERS_RATE} times for adapters"
    if scratch:
        return (1e-3 if millions < 40 else 5e-4), f"fresh weights, {millions:.0f} M parameters"
    for limit, rate in ((40, 1e-4), (250, 3e-5)):
        if millions < limit:
            return rate, f"pretrained, {millions:.0f} M parameters"
    return 1e-5, f"pretrained, {millions:.0f} M parameters"


def scale_and_clip(
    parameters: Iterable[nn.Parameter],
    factor: torch.Tensor,
    max_norm: float,
    total: Callable[[torch.Tensor], torch.Tensor] | None = None,
) -> torch.Tensor:
    """Multiply every gradient by `factor`, then clip their total 2-norm to `max_norm` (0 does not clip).

    Returns the norm between the two. Both are one walk over the gradients, and nothing waits for the device. Where
    processes hold shares of the gradients, `total` sums a tensor over them.
    """
    gradients = [local(p.grad) for p in parameters if p.grad is not None]
    norm = torch.nn.utils.get_total_norm(gradients, foreach=True)
    norm = (norm if total is None else total(norm.square()).sqrt()) * factor
    clip = (max_norm / (norm + 1e-6)).clamp(max=1.0) if max_norm else torch.ones_like(norm)
    if gradients:
        torch._foreach_mul_(gradients, factor * clip)
    return norm
