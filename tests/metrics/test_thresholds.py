"""Thresholds: the best of small cases by trying all, 0.5 where rows decide nothing, halves that are apart."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from hfkit.metrics.classification import reduce_multi
from hfkit.metrics.thresholds import candidates, fit, halves, held_out


def micro_f1(gold: np.ndarray):
    def score(decided: np.ndarray) -> float:
        hits, total = np.sum(gold & decided), gold.sum() + decided.sum()
        return float(2 * hits / max(total, 1))

    return score


def test_one_label_gets_the_best_threshold_there_is():
    draw = np.random.default_rng(0)
    for _ in range(20):
        chances = draw.random((30, 1))
        gold = draw.random((30, 1)) < chances**3  # rarer than they say
        score = micro_f1(gold)
        best = max(score(chances > limit) for limit in [0.5, *candidates(chances[:, 0], 400)])
        assert score(chances > fit(chances, score)) == best >= score(chances > 0.5)


def test_two_labels_are_at_least_a_local_optimum():
    draw = np.random.default_rng(1)
    chances = draw.random((25, 2))
    gold = draw.random((25, 2)) < chances * [0.3, 1.0]
    score = micro_f1(gold)
    found = fit(chances, score)
    grid = itertools.product(candidates(chances[:, 0], 400), candidates(chances[:, 1], 400))
    best = max(score(chances > np.asarray(limits)) for limits in grid)
    assert best - 0.02 <= score(chances > found) <= best
    named = {f"gold_{n}": gold[:, n].astype(float) for n in (0, 1)}
    named |= {f"predicted_{n}": (chances[:, n] > found[n]).astype(float) for n in (0, 1)}
    assert reduce_multi(named, ["a", "b"])["micro_f1"] == pytest.approx(100 * score(chances > found))


def test_many_probabilities_are_tried_at_even_ranks():
    tried = candidates(np.linspace(0, 1, 1001), 5)
    assert sorted(tried) == pytest.approx([0.0005, 0.2505, 0.5005, 0.7495, 0.9995], abs=1e-3) and len(tried) == 5
    assert tried[0] == pytest.approx(0.5, abs=1e-3)


def test_rows_that_decide_nothing_leave_the_middle():
    chances = np.asarray([[0.2], [0.4], [0.6], [0.9]])
    assert fit(chances, lambda decided: 1.0).tolist() == [0.5]
    assert fit(chances[:1], micro_f1(np.asarray([[True]]))).tolist() == [0.5], "one row has nothing between"


def test_halves_depend_on_ids_alone_and_do_not_see_each_other():
    ids = [f"row {n}" for n in range(200)]
    second = halves(ids)
    assert 60 < second.sum() < 140 and np.array_equal(halves(ids[::-1]), second[::-1])
    chances = np.linspace(0, 1, 200)[:, None]
    gold = chances > 0.8

    def score_of(inside):
        return micro_f1(gold[inside])

    decided = held_out(chances, ids, score_of)
    assert np.mean(decided == gold) > 0.97
    assert np.array_equal(held_out(chances[:1], ids[:1], lambda inside: micro_f1(gold[:1])), chances[:1] > 0.5)
