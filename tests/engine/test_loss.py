"""R-Drop in the loop: two passes with masks of their own, the same again for the same numbers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from test_train import farthest, features, run, training

from hfkit.engine.loss import draw_seed
from hfkit.recipe.keys import Tricks
from hfkit.tasks.classify import Classify, ClassifySettings


@pytest.fixture(scope="module")
def task() -> Classify:
    return Classify(ClassifySettings(target="single", labels=["a", "b"], max_length=32))


def test_identical_passes_do_not_diverge(small: Path, task: Any) -> None:
    off, on = (training(small, task, features(16), micro=8, tricks=t) for t in (Tricks(), Tricks(r_drop=5.0)))
    assert [d.loss for d in run(off, 2)] == pytest.approx([d.loss for d in run(on, 2)], abs=1e-9)
    assert farthest(off, on) < 1e-6


def test_passes_draw_masks_of_their_own_by_seed_step_and_micro_batch(small: Path, task: Any) -> None:
    def of(weight: float, seed: int = 3) -> Any:
        return training(small, task, features(16), micro=8, dropout=0.3, seed=seed, tricks=Tricks(r_drop=weight))

    light, again, heavy, other = of(1.0), of(1.0), of(2.0), of(1.0, seed=4)
    losses = [run(made, 1)[0].loss for made in (light, again, heavy, other)]
    assert losses[0] == losses[1] < losses[2] and losses[3] != losses[0]
    assert farthest(light, again) == 0.0
    divergence = losses[2] - losses[0]
    assert losses[0] - divergence == pytest.approx(0.69, abs=0.1) and divergence > 1e-6  # the mean of both passes
    assert len({draw_seed(3, 0, 0), draw_seed(3, 0, 0, 1), draw_seed(3, 0, 1), draw_seed(3, 1, 0)}) == 4
