"""When a time limit ends a run: the last step that leaves room for the evaluations to come. Used by fit.py."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from statistics import median

from hfkit.engine.pace import Pace

PAUSES = 5  # evaluations that tell how long the next one takes


class Deadline:
    """`limit` seconds, or None, counted over all attempts of a run; this one began at `started`, since the epoch.

    `fitted` says whether the schedule ends where the limit says. `pauses` are seconds of evaluations with their
    checkpoints; before the first of them `tokens` tell, which are those of an evaluation.
    """

    def __init__(self, limit: float | None, started: float, tokens: int) -> None:
        self.limit, self.started, self.tokens = limit, started, tokens
        self.seconds_before = 0.0  # of earlier attempts
        self.fitted = limit is None
        self.pauses: deque[float] = deque(maxlen=PAUSES)

    def spent(self) -> float:
        """Seconds of all attempts."""
        return self.seconds_before + time.time() - self.started

    def better_end(
        self,
        step: int,
        steps: int,
        pace: Pace,
        *,
        passes: Callable[[int, int, int], int],
        interval: Callable[[int], int],
    ) -> int | None:
        """The last step that the limit allows, where the schedule of `steps`, of which `step` are done, has another.

        `passes` is `Training.passes`; `interval` says after how many steps a run of so many evaluates.
        """
        if self.limit is None:
            return None
        left = self.limit - self.spent()
        if not pace.can_fit(left):
            return None
        # The median, since a schedule is only ever shortened: one stall must not do that.
        evaluation = median(self.pauses) if self.pauses else pace.evaluation_seconds(self.tokens)

        def passes_of(more: int) -> int:
            """Of so many more steps, which then are the last: what begins late begins at a share of all."""
            return passes(step, step + more, step + more)

        def evaluations_of(more: int) -> int:
            """Of so many more steps, which then are the last."""
            end = step + more
            every = interval(end)
            return max(1, -(-end // every) - step // every)

        if self.fitted:  # and yet late, when steps take longer than those that were measured
            ahead = steps - step
            needed = passes_of(ahead) * pace.seconds_per_pass() + evaluations_of(ahead) * evaluation
            if needed <= left or ahead <= 1:
                return None
        return step + pace.steps_that_fit(left, evaluation, evaluations_of, passes_of)
