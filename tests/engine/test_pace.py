"""The reported rate, time limits, and the steps that fit."""

from __future__ import annotations

import pytest

from hfkit.engine import pace as pacing
from hfkit.engine.pace import Pace, parse_time
from hfkit.errors import UsageError


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("2h", 7200), ("90m", 5400), ("1h30m", 5400), ("45s", 45), (" 1.5h ", 5400), ("1h1m1s", 3661), ("0.5m", 30)],
)
def test_times(text: str, seconds: float) -> None:
    assert parse_time(text) == seconds


@pytest.mark.parametrize("text", ["", "2", "h", "2 hours", "-1h", "30m1h", "1:30", "1e3s", "0s"])
def test_what_is_no_time(text: str) -> None:
    with pytest.raises(UsageError, match="train.time"):
        parse_time(text)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [0.0]
    monkeypatch.setattr(pacing.time, "perf_counter", lambda: now[0])
    return now


def test_the_rate_leaves_out_the_first_steps_and_what_is_no_training(clock: list[float]) -> None:
    pace = Pace(_since=0.0)
    for step in range(15):
        clock[0] += 10 if step < 5 else 2
        pace.add(4, 100)
        if step == 9:
            clock[0] += 1000  # an evaluation
            pace.start()
    assert pace.rates() == {"rows_per_s": 2.0, "tokens_per_s": 50.0}
    assert pace.seconds_per_step() == 2.0


def test_steps_that_fit_hold_their_evaluations(clock: list[float]) -> None:
    pace = Pace(_since=0.0)
    for _ in range(10):
        clock[0] += 1
        pace.add(4, 100)
    assert pace.evaluation_seconds(1000) == 5.0
    assert pace.steps_that_fit(110, 5.0, None) == 97
    every = pace.steps_that_fit(110, 5.0, 20)
    assert every + (1 + every // 20) * 5 <= 110
    assert pace.steps_that_fit(3, 5.0, None) == 0
    assert pace.can_fit(60)
    assert not Pace().can_fit(60)


def test_slow_steps_are_not_waited_for(clock: list[float]) -> None:
    pace = Pace(_since=0.0)
    clock[0] = 30
    pace.add(4, 100)
    assert pace.can_fit(100)
    assert not pace.can_fit(1000)
