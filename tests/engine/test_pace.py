"""The reported rate, time limits, and the steps that fit."""

from __future__ import annotations

import time
from functools import partial
from itertools import pairwise
from types import SimpleNamespace
from typing import Any

import pytest

from hfkit.engine import pace as pacing
from hfkit.engine.pace import Pace, parse_time
from hfkit.engine.train import Training
from hfkit.errors import UsageError
from hfkit.verbs.finetune.deadline import Deadline


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
    assert pace.evaluation_seconds(1000) == pytest.approx(4.0)
    assert pace.steps_that_fit(110, 5.0, lambda steps: 1) == 101
    assert pace.steps_that_fit(110, 5.0, lambda steps: 2) == pytest.approx(97, abs=1)
    every = pace.steps_that_fit(110, 5.0, lambda steps: -(-steps // 20))
    assert every + -(-every // 20) * 5 <= 110
    assert pace.steps_that_fit(3, 5.0, lambda steps: 1) == 0
    for evaluation in (0.1, 1.0, 8.0, 40.0):  # the longest take most of the time

        def needed(steps: int, evaluation: float = evaluation) -> float:
            return steps / 0.97 + max(1, steps // 8) * evaluation

        most = pace.steps_that_fit(1000, evaluation, lambda steps: max(1, steps // 8))
        assert needed(most) <= 1000 < needed(most + 8)
    assert pace.can_fit(60)
    assert not Pace().can_fit(60)


def late(start: float, first: int, last: int, steps: int) -> int:
    """`Training.passes` of adversarial training that begins after the share `start`."""
    made: Any = SimpleNamespace(perturbation="fgm", perturbed_from=start)
    return Training.passes(made, first, last, steps)


def test_a_step_has_two_passes_where_weights_are_perturbed() -> None:
    assert [late(0.3, step, step + 1, 10) for step in range(10)] == [1] * 3 + [2] * 7
    assert late(0.25, 0, 10, 10) == 17 and late(0.25, 5, 10, 10) == 10 and late(0.25, 1, 2, 10) == 1
    none: Any = SimpleNamespace(perturbation=None)
    assert Training.passes(none, 3, 10, 10) == 7


@pytest.mark.parametrize(("start", "fitting"), [(0.0, 48), (0.5, 64), (0.9, 87)])
def test_the_first_fit_knows_what_begins_late(clock: list[float], start: float, fitting: int) -> None:
    """A pass takes a second, 100 are left, and the steps so far had one pass each."""
    deadline, pace = Deadline(100.0, time.time(), 4, most=1000), Pace(_since=0.0)
    deadline.pauses.append(0.5)

    def better_end(steps: int, pace: Pace) -> int | None:
        return deadline.better_end(0, steps, pace, passes=partial(late, start), interval=lambda end: end)

    for _ in range(10):
        clock[0] += 1
        pace.add(4, 100)
    end = better_end(1000, pace)
    assert end == pytest.approx(fitting, abs=1) and late(start, 0, end, end) <= 97
    deadline.fit(pace.steps)
    assert better_end(end, pace) is None, "nothing is late yet"
    deadline.pauses.extend([0.4, 500.0, 0.6])  # one stall
    assert better_end(end, pace) is None
    resumed = Pace(_since=clock[0])  # an attempt that goes on, whose first step is slow
    clock[0] += 9
    resumed.add(4, 100)
    assert better_end(end, resumed) is None


def plain(first: int, last: int, steps: int) -> int:
    """`Training.passes` of a training that has one pass a step."""
    return last - first


def test_slow_first_steps_are_made_good_early(clock: list[float], monkeypatch: pytest.MonkeyPatch) -> None:
    """The first 12 steps take 2 seconds, later ones 1; 1,000 are left in all, in which evaluations take none."""
    deadline, pace = Deadline(1000.0, 0.0, 4, most=800), Pace(_since=0.0)
    deadline.pauses.append(0.0)
    monkeypatch.setattr("hfkit.verbs.finetune.deadline.time.time", lambda: clock[0])
    ends: dict[int, int] = {}  # by the step at which the schedule was given it
    steps = 800
    for step in range(1, 700):
        clock[0] += 2 if step <= 12 else 1
        pace.add(4, 100)
        end = deadline.better_end(step, steps, pace, passes=plain, interval=lambda end: end)
        if end is not None:
            deadline.fit(pace.steps)
            ends[step] = steps = end
    assert min(ends) == 8 and ends[8] == pytest.approx(485, abs=10), "by 2 seconds a step"
    assert all(later >= 2 * earlier for earlier, later in pairwise(ends)), "each by twice as many steps"
    assert list(ends.values()) == sorted(ends.values()) and 750 < max(ends.values()) <= 800
    assert max(ends) < 333


def test_a_late_schedule_is_not_lengthened(clock: list[float], monkeypatch: pytest.MonkeyPatch) -> None:
    deadline, pace = Deadline(1000.0, 0.0, 4, most=800), Pace(_since=0.0)
    deadline.pauses.append(0.0)
    monkeypatch.setattr("hfkit.verbs.finetune.deadline.time.time", lambda: clock[0])

    def better_end(step: int, steps: int = 100, *, may_lengthen: bool = True) -> int | None:
        return deadline.better_end(step, steps, pace, passes=plain, interval=lambda end: end, may_lengthen=may_lengthen)

    for _ in range(20):
        clock[0] += 1
        pace.add(4, 100)
    deadline.fit(8)
    assert better_end(20) == pytest.approx(800), "so early it would be"
    deadline.fit(8)
    assert better_end(20, may_lengthen=False) is None, "something began at a share of the steps"
    assert better_end(34) is None and better_end(100) is None, "a third of the steps is done"
    deadline.fit(11)
    assert better_end(20) is None, "not twice as many steps"
    deadline.fit(8)
    assert better_end(20, 799) is None and deadline.measured == 20, "one more is not worth it, and not looked at again"
    deadline.fit(8)
    clock[0] = 340.0
    assert better_end(20) is None


def test_without_a_limit_nothing_ends_earlier(clock: list[float]) -> None:
    pace = Pace(_since=0.0)
    clock[0] = 1e6
    pace.add(4, 100)
    none = Deadline(None, time.time(), 4, most=10)
    assert none.fitted and none.better_end(0, 10, pace, passes=partial(late, 0.0), interval=int) is None


def test_slow_steps_are_not_waited_for(clock: list[float]) -> None:
    pace = Pace(_since=0.0)
    clock[0] = 30
    pace.add(4, 100)
    assert pace.can_fit(100)
    assert not pace.can_fit(1000)
