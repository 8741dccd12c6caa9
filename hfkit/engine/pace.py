"""How fast training goes: the rate that is reported, the time that is left, the steps that fit a time limit."""

from __future__ import annotations

import re
import time
from bisect import bisect_right
from collections.abc import Callable
from dataclasses import dataclass, field

from hfkit.errors import UsageError

WARM_STEPS = 5  # left out of the reported rate; all of them must be read before another one begins (`add`)
FIT_AFTER_SECONDS = 5.0
FIT_AFTER_STEPS = 8


def parse_time(text: str, *, where: str = "train.time") -> float:
    """Seconds of "2h", "90m", "1h30m" or "45s". Raises UsageError, which says `where` it was given."""
    match = re.fullmatch(r"(?:(\d+(?:\.\d+)?)h)?(?:(\d+(?:\.\d+)?)m)?(?:(\d+(?:\.\d+)?)s)?", text.strip())
    hours, minutes, seconds = (float(part or 0) for part in match.groups()) if match else (0.0, 0.0, 0.0)
    total = hours * 3600 + minutes * 60 + seconds
    if not total:
        raise UsageError(f"{where}: '{text}' is not a time", "write for example 2h, 90m or 1h30m")
    return total


@dataclass
class Pace:
    """Counts what passed through the model and the seconds it took, without evaluations and checkpoint writing."""

    features: int = 0
    tokens: int = 0
    seconds: float = 0.0
    steps: int = 0
    passes: int = 0
    warm_features: int = 0
    warm_tokens: int = 0
    warm_seconds: float = 0.0
    warm_passes: int = 0
    _since: float = field(default_factory=time.perf_counter)

    def start(self) -> None:
        """Training goes on now."""
        self._since = time.perf_counter()

    def add(self, features: int, tokens: int, passes: int = 1) -> None:
        """A step is done, in so many passes (`Training.passes`).

        Steps are read later than they are done: time is that of all steps only where none is left to be read.
        """
        now = time.perf_counter()
        self.steps += 1
        self.features += features
        self.tokens += tokens
        self.seconds += now - self._since
        self.passes += passes
        if self.steps > WARM_STEPS:
            self.warm_features += features
            self.warm_tokens += tokens
            self.warm_seconds += now - self._since
            self.warm_passes += passes
        self._since = now

    def rates(self) -> dict[str, float]:
        """Examples and real tokens per second, of the steps after the first five where there are any."""
        if self.warm_seconds:
            return {
                "rows_per_s": self.warm_features / self.warm_seconds,
                "tokens_per_s": self.warm_tokens / self.warm_seconds,
            }
        seconds = max(self.seconds, 1e-9)
        return {"rows_per_s": self.features / seconds, "tokens_per_s": self.tokens / seconds}

    def seconds_per_step(self) -> float:
        """Of the steps after the first five where there are any."""
        if self.warm_seconds:
            return self.warm_seconds / (self.steps - WARM_STEPS)
        return self.seconds / max(1, self.steps)

    def seconds_per_pass(self) -> float:
        """Of the steps after the first five where there are any."""
        if self.warm_seconds:
            return self.warm_seconds / self.warm_passes
        return self.seconds / max(1, self.passes)

    def can_fit(self, limit: float) -> bool:
        """Whether enough was measured to say how long a step takes, or too much of `limit` (seconds) is gone."""
        enough = self.steps >= FIT_AFTER_STEPS and self.seconds >= min(FIT_AFTER_SECONDS, limit / 10)
        return enough or (self.steps > 0 and self.seconds >= limit / 5)

    def evaluation_seconds(self, tokens: int) -> float:
        """What an evaluation of so many tokens will take.

        A forward pass is a third of a training step; it is given two fifths of a step's cost, for what is around it.
        """
        return tokens / max(1e-9, self.rates()["tokens_per_s"]) * 0.4

    def steps_that_fit(
        self, seconds: float, evaluation: float, evaluations: Callable[[int], int], passes: Callable[[int], int] = int
    ) -> int:
        """Steps that fit into `seconds`, which also hold their evaluations, each of `evaluation` seconds.

        `evaluations` and `passes` say how many of them so many steps take, the more steps the more; passes are not
        fewer than steps.
        """
        each = max(1e-9, self.seconds_per_pass()) / 0.97  # the last steps may be slower

        def needed(steps: int) -> float:
            return passes(steps) * each + evaluations(steps) * evaluation

        most = max(0, int(seconds / each))
        return max(0, bisect_right(range(most + 1), seconds, key=needed) - 1)
