"""When a time limit ends a run: the last step that leaves room for the evaluations to come. Used by fit.py."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from statistics import median

from hfkit.engine.pace import Pace

PAUSES = 5  # evaluations that tell how long the next one takes
EARLY = 1 / 3  # of the limit and of the steps: after it a schedule is not lengthened, which would raise the rate late
LONGER = 1.05  # of the steps ahead: fewer more are not worth another schedule


class Deadline:
    """`limit` seconds, or None, counted over all attempts of a run; this one began at `started`, since the epoch.

    `most` are the steps that the recipe asks for. `fitted` says whether the schedule ends where the limit says.
    `pauses` are seconds of evaluations with their checkpoints; before the first of them `tokens` tell, which are those
    of an evaluation.
    """

    def __init__(self, limit: float | None, started: float, tokens: int, *, most: int) -> None:
        self.limit, self.started, self.tokens, self.most = limit, started, tokens, most
        self.seconds_before = 0.0  # of earlier attempts
        self.fitted = limit is None
        self.measured = 0  # steps by which the schedule was fitted last
        self.pauses: deque[float] = deque(maxlen=PAUSES)

    def spent(self) -> float:
        """Seconds of all attempts."""
        return self.seconds_before + time.time() - self.started

    def fit(self, measured: int) -> None:
        """The schedule ends where so many measured steps say."""
        self.fitted, self.measured = True, measured

    def better_end(
        self,
        step: int,
        steps: int,
        pace: Pace,
        *,
        passes: Callable[[int, int, int], int],
        interval: Callable[[int], int],
        may_lengthen: bool = True,
    ) -> int | None:
        """The last step that the limit allows, where the schedule of `steps`, of which `step` are done, has another.

        The first steps are slower than the later ones (memory and kernels are used for the first time), so a schedule
        is lengthened too, each time that twice as many steps were measured, while it is early.
        `passes` is `Training.passes`; `interval` says after how many steps a run of so many evaluates; `may_lengthen`,
        whether nothing has begun yet that begins at a share of the steps.
        """
        if self.limit is None:
            return None
        left = self.limit - self.spent()
        if not pace.can_fit(left):
            return None
        # The median: one stall must not shorten a schedule, which is hardly ever lengthened again.
        evaluation = median(self.pauses) if self.pauses else pace.evaluation_seconds(self.tokens)

        def passes_of(more: int) -> int:
            """Of so many more steps, which then are the last: what begins late begins at a share of all."""
            return passes(step, step + more, step + more)

        def evaluations_of(more: int) -> int:
            """Of so many more steps, which then are the last."""
            end = step + more
            every = interval(end)
            return max(1, -(-end // every) - step // every)

        def fitting() -> int:
            return min(self.most, step + pace.steps_that_fit(left, evaluation, evaluations_of, passes_of))

        if not self.fitted:
            return fitting()
        ahead = steps - step
        if passes_of(ahead) * pace.seconds_per_pass() + evaluations_of(ahead) * evaluation > left:
            return fitting() if ahead > 1 else None  # late: steps take longer than those that were measured
        early = self.spent() < EARLY * self.limit and step < EARLY * steps
        if may_lengthen and early and steps < self.most and pace.steps >= 2 * self.measured:
            if (end := fitting()) > step + LONGER * ahead:
                return end
            self.measured = pace.steps  # looked at, and no worse than it is
        return None
