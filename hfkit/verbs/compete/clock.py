"""The time of a competition: what is left of it, over all attempts, with a reserve for what must come at the end."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator
from contextlib import closing
from typing import TypeVar

from hfkit.events import Event

T = TypeVar("T")
LEAST, MOST, SHARE = 4.0, 30.0, 0.03  # seconds, and share of the time, that are kept back before anything is measured
SAFE = 2.0  # the reserve is so many times what the end was measured to take
LONGEST = 0.1  # share of the time that the reserve takes at most, however long work goes on without a pause


class TimeUp(Exception):
    """The time is up but for the reserve: what is not finished is left."""


class Clock:
    """`budget` seconds, of which `spent` were used by earlier attempts; `now` counts seconds, from anywhere."""

    def __init__(self, budget: float, spent: float = 0.0, now: Callable[[], float] = time.monotonic) -> None:
        self.budget = budget
        self._before, self._now, self._begun = spent, now, now()
        self._looked: float | None = None
        self.reserve = min(MOST, max(LEAST, SHARE * budget))

    @property
    def spent(self) -> float:
        """Seconds used until now, in all attempts."""
        return self._before + self._now() - self._begun

    @property
    def left(self) -> float:
        """Seconds that work may still take; the reserve is not among them."""
        return self.budget - self.spent - self.reserve

    def closing_took(self, seconds: float) -> None:
        """What scoring a stage, writing the submission and the report took: the end will take as long."""
        self._reserve(SAFE * seconds)

    def check(self) -> None:
        """Raise TimeUp when nothing is left. Work cannot be left between two looks, so that time is kept back."""
        now = self._now()
        if self._looked is not None:
            self._reserve(now - self._looked)
        self._looked = now
        if self.left <= 0:
            raise TimeUp

    def _reserve(self, seconds: float) -> None:
        self.reserve = max(self.reserve, min(seconds, LONGEST * self.budget))


def watched(events: Generator[Event, None, T], clock: Clock) -> Generator[Event, None, T]:
    """The same events, and what they return. Raises TimeUp between two of them, when the work is closed."""
    with closing(events):
        while True:
            clock.check()
            try:
                event = next(events)
            except StopIteration as end:
                return end.value
            yield event
