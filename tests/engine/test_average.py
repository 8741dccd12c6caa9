"""Averaged weights: the right ones, scored and kept, while training goes on with the latest."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from test_train import farthest, features, run, training
from torch import nn

from hfkit.engine.average import Average, average_of, ema_share
from hfkit.recipe.keys import Tricks
from hfkit.tasks.classify import Classify, ClassifySettings


@pytest.fixture(scope="module")
def task() -> Classify:
    return Classify(ClassifySettings(target="single", labels=["a", "b"], max_length=32))


def walked(average: Average, weight: nn.Parameter, steps: int) -> torch.Tensor:
    """The weight is 1, 2, 3, ... after the steps; returns its average."""
    for step in range(steps):
        with torch.no_grad():
            weight.fill_(step + 1.0)
        average.update(step, steps)
    with average.in_place():
        found = weight.detach().clone()
    assert weight.tolist() == [float(steps)]
    return found


def test_swa_is_the_mean_of_the_later_steps() -> None:
    weight = nn.Parameter(torch.zeros(1))
    average = average_of({"w": weight}, Tricks(average="swa", swa_start=0.55))
    assert average is not None
    assert walked(average, weight, 10).item() == pytest.approx((7 + 8 + 9 + 10) / 4) and average.count == 4


def test_ema_forgets_by_its_decay_and_faster_at_first() -> None:
    assert [ema_share(count, 0.999) for count in (0, 1, 8990, 10**6)] == pytest.approx([0.9, 9 / 11, 0.001, 0.001])
    weight = nn.Parameter(torch.zeros(1))
    average = average_of({"w": weight}, Tricks(average="ema", ema_decay=0.25))
    assert average is not None
    expected = 1.0
    for count, value in enumerate((2.0, 3.0, 4.0, 5.0), start=1):
        decay = min(0.25, (1 + count) / (10 + count))
        expected = decay * expected + (1 - decay) * value
    assert walked(average, weight, 5).item() == pytest.approx(expected)


def test_before_it_begins_the_latest_weights_stand() -> None:
    weight = nn.Parameter(torch.ones(1))
    average = average_of({"w": weight}, Tricks(average="swa"))
    assert average is not None
    average.update(4, 10)
    with average.in_place():
        assert weight.tolist() == [1.0] and average.latest() is None
    assert average_of({"w": weight}, Tricks()) is None


def test_training_goes_on_as_without(small: Path, task: Any) -> None:
    """To the bit, though evaluations put the average in place; and what is in place is the average."""
    data, seen = features(32), []
    plain, made = (
        training(small, task, data, precision="bfloat16", dropout=None, tricks=t)
        for t in (Tricks(), Tricks(average="swa", swa_start=0.0))
    )
    for step in range(4):
        plain.advance(step)
        made.advance(step)
        seen.append([p.detach().clone() for p in plain.bare.parameters()])
        with made.averaged():
            assert farthest(plain, made) > 0 or step == 0
    assert farthest(plain, made) == 0.0
    with made.averaged():
        for mean, *each in zip(made.bare.parameters(), *seen, strict=True):
            torch.testing.assert_close(mean.detach(), torch.stack(each).mean(0), rtol=1e-5, atol=1e-7)


def test_a_checkpoint_gives_back_both(small: Path, task: Any) -> None:
    made, other = (training(small, task, features(32), tricks=Tricks(average="ema")) for _ in range(2))
    run(made, 3)
    assert made.average is not None and other.average is not None
    with made.averaged():  # as saved: the model is the average, the latest weights stand beside it
        latest = made.average.latest()
        other.bare.load_state_dict(made.bare.state_dict())
        assert latest is not None
        other.average.restore({name: value.clone() for name, value in latest.items()}, made.average.count)
    assert farthest(made, other) == 0.0
    with made.averaged(), other.averaged():
        assert farthest(made, other) == 0.0
