"""Weights of averaged models: near the best that there are, none for models that do not help, the same each time."""

from __future__ import annotations

import numpy as np
import pytest

from hfkit.metrics.mixing import FLOOR, mixed, row_losses, selected, standard_error


def chances(rows: int, *skills: float, seed: int = 0) -> np.ndarray:
    """(models, rows, 1): probabilities of gold of models that err independently, the higher the skill the better."""
    draw = np.random.default_rng(seed)
    logits = np.asarray([draw.normal(skill, 2.0, rows) for skill in skills])
    return (1 / (1 + np.exp(-logits)))[:, :, None]


def test_greedy_weights_are_near_the_best_of_a_grid() -> None:
    values = chances(800, 1.0, 0.5, 0.8)
    weights = selected(values, "log")
    assert weights.sum() == pytest.approx(1) and (weights >= 0).all()
    grid = [(a, b, 50 - a - b) for a in range(51) for b in range(51 - a)]
    least = min(row_losses(values, np.asarray(point) / 50, "log").mean() for point in grid)
    assert row_losses(values, weights, "log").mean() <= least + 2e-4
    assert selected(values, "log").tolist() == weights.tolist()


def test_a_model_alone_weighs_all() -> None:
    assert selected(chances(50, 1.0), "log").tolist() == [1.0]
    found = mixed(chances(50, 1.0), "log")
    assert found.weights.tolist() == [1.0] and np.isnan(found.without).all()


def test_models_that_do_not_help_are_dropped() -> None:
    good = chances(2000, 1.5, 1.4)
    noise = chances(2000, -1.0, seed=5)
    found = mixed(np.concatenate([good, noise, good[:1]]), "log")  # the last says what the first does
    assert found.weights[2] == 0 and sorted(found.weights[[0, 3]] > 0) == [False, True]
    assert found.weights[1] > 0.2 and found.loss < found.alone.min()
    kept = found.weights > 0
    assert (found.without[kept] > found.loss).all() and np.isnan(found.without[~kept]).all()


def test_what_is_off_is_averaged_before_it_is_squared() -> None:
    off = np.asarray([[[1.0], [-1.0], [2.0]], [[-1.0], [1.0], [-2.0]], [[5.0], [5.0], [5.0]]])
    found = mixed(off, "square")
    assert found.weights.tolist() == [0.5, 0.5, 0.0] and found.loss == 0
    assert found.alone.tolist() == [2.0, 2.0, 25.0]


def test_impossible_rows_count_as_the_floor() -> None:
    values = np.zeros((1, 4, 1))
    assert row_losses(values, np.ones(1), "log").tolist() == pytest.approx([-np.log(FLOOR)] * 4)


def test_groups_are_what_is_independent() -> None:
    values = np.repeat(np.random.default_rng(0).normal(size=50), 10)
    alone, grouped = standard_error(values), standard_error(values, np.repeat(np.arange(50), 10))
    assert alone == pytest.approx(values.std(ddof=1) / np.sqrt(500), rel=0.01)
    assert grouped == pytest.approx(values[::10].std(ddof=1) / np.sqrt(50))
