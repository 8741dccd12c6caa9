"""What came of steps, read later than it was computed so that no device is waited for; whether training diverged."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from hfkit.errors import DivergenceError

EXPLOSION = 10.0  # a loss this many times the first one (or 1.0 where that is less) ...
EXPLODED_STEPS = 3  # ... for so many steps in a row has diverged
SKIPPED_STEPS = 50  # in a row: each halves the scale of losses, which begins at 2**16; no gradient is too large after
CALMER = "try a lower rate (--lr) or train.precision=float32; the checkpoints before it are kept"


@dataclass(frozen=True, slots=True)
class StepDone:
    """One finished optimizer step (`step` counts from 1): mean loss, gradient norm before clipping, real tokens."""

    step: int
    loss: float
    grad_norm: float
    lr: float
    features: int
    tokens: int
    asked: bool  # whether a process asked all to confer after this step


class Outcomes:
    """The steps whose numbers are still on the device, in order. `scaled` says that a step may be skipped (float16)."""

    def __init__(self, *, scaled: bool) -> None:
        self._scaled = scaled
        self._pending: deque[tuple[int, int, int, float, torch.Tensor]] = deque()
        self._first_loss: float | None = None
        self._exploded = 0  # steps in a row
        self._skipped = 0  # steps in a row

    def state(self) -> dict[str, Any]:
        """What a checkpoint keeps: by what the losses of later steps are judged. All steps must have been read."""
        return {"first_loss": self._first_loss, "exploded": self._exploded, "skipped": self._skipped}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Judge the steps to come as the run did that wrote the checkpoint; what its `state` lacks begins anew."""
        self._first_loss, self._exploded = state.get("first_loss"), state.get("exploded", 0)
        self._skipped = state.get("skipped", 0)

    def add(self, step: int, features: int, tokens: int, lr: float, values: torch.Tensor) -> None:
        """Step `step`, counted from 0; `values` (3,) are its loss, its gradient norm, and whether a process asked."""
        self._pending.append((step, features, tokens, lr, values))

    def read(self, *, wait: bool) -> Iterator[StepDone]:
        """Steps whose loss can be read; all of them with `wait`. Raises DivergenceError when one is not finite.

        Of float16 the loss alone must be finite: a step whose gradient is not is skipped, but not too many in a row.
        """
        while len(self._pending) > (0 if wait else 1):
            step, features, tokens, lr, values = self._pending.popleft()
            loss, norm, asked = values.tolist()
            if not np.isfinite(loss) or (not np.isfinite(norm) and not self._scaled):
                raise DivergenceError(
                    f"step {step + 1}: the {'loss' if not np.isfinite(loss) else 'gradient'} is not finite", CALMER
                )
            self.refuse_explosion(step, loss)
            self._refuse_standstill(step, skipped=not np.isfinite(norm))
            yield StepDone(step + 1, loss, norm, lr, features, tokens, bool(asked))

    def refuse_explosion(self, step: int, loss: float) -> None:
        """Raise DivergenceError when the loss has been far above the first one for several steps."""
        self._first_loss = loss if self._first_loss is None else self._first_loss
        self._exploded = self._exploded + 1 if loss > EXPLOSION * max(1.0, self._first_loss) else 0
        if self._exploded == EXPLODED_STEPS:
            raise DivergenceError(f"step {step + 1}: the loss grew from {self._first_loss:.3g} to {loss:.3g}", CALMER)

    def _refuse_standstill(self, step: int, *, skipped: bool) -> None:
        """Raise DivergenceError when no step has moved the weights for long."""
        self._skipped = self._skipped + 1 if skipped else 0
        if self._skipped == SKIPPED_STEPS:
            raise DivergenceError(
                f"step {step + 1}: {self._skipped} steps in a row were skipped, the gradient is not finite in float16",
                "take train.precision=float32 (or bfloat16); the checkpoints before it are kept",
            )
