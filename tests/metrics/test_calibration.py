"""Calibration: published values, temperature that changes no decision, abstention."""

from __future__ import annotations

import numpy as np
import pytest

from hfkit.errors import DataError
from hfkit.metrics.calibration import (
    best_temperature,
    calibration,
    calibration_binary,
    expected_calibration_error,
    reliability,
    risk_coverage,
    with_temperature,
)


def test_expected_calibration_error_of_the_known_example() -> None:
    sure, right = np.array([0.95, 0.85, 0.75, 0.65, 0.55]), np.array([1.0, 1.0, 0.0, 1.0, 0.0])
    assert expected_calibration_error(sure, right, 10) == pytest.approx(0.37)
    assert expected_calibration_error(sure, right, 15) == pytest.approx(0.37)
    assert expected_calibration_error(sure, right, 1) == pytest.approx(0.15)
    assert expected_calibration_error(np.ones(4), np.ones(4)) == 0
    table = reliability(sure, right, 10)
    assert [row["rows"] for row in table] == [1] * 5 and table[0]["low"] == 0.5 and table[-1]["high"] == 1.0


def test_edges_belong_to_the_bin_below() -> None:
    assert [row["low"] for row in reliability(np.array([0.2, 0.4, 1.0, 0.0]), np.ones(4), 5)] == [0.0, 0.2, 0.8]


def test_brier_and_likelihood() -> None:
    probabilities, gold = np.array([[0.7, 0.3], [0.4, 0.6]]), np.array([0, 0])
    found = calibration(probabilities, gold)
    assert found["brier"] == pytest.approx((2 * 0.3**2 + 2 * 0.6**2) / 2)
    assert found["nll"] == pytest.approx(-(np.log(0.7) + np.log(0.4)) / 2)
    event = calibration_binary(np.array([0.3, 0.6]), np.array([0, 1]))
    assert event["brier"] == pytest.approx((0.09 + 0.16) / 2)
    assert event["nll"] == pytest.approx(-(np.log(0.7) + np.log(0.6)) / 2)


def test_equals_scikit_learn() -> None:
    metrics = pytest.importorskip("sklearn.metrics")
    random = np.random.default_rng(0)
    probabilities = random.dirichlet(np.ones(4), size=300)
    gold = random.integers(0, 4, size=300)
    found = calibration(probabilities, gold)
    assert found["nll"] == pytest.approx(metrics.log_loss(gold, probabilities, labels=[0, 1, 2, 3]))
    chance = probabilities[:, 0]
    assert calibration_binary(chance, gold == 0)["brier"] == pytest.approx(metrics.brier_score_loss(gold == 0, chance))


def test_the_temperature_of_scaled_logits_scales_and_no_decision_changes() -> None:
    random = np.random.default_rng(1)
    logits = random.normal(size=(2000, 3))
    truth = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    gold = np.array([random.choice(3, p=row) for row in truth])
    base = best_temperature(truth, gold)
    assert base == pytest.approx(1.0, abs=0.1)
    sharp = with_temperature(truth, 1 / 3)
    assert best_temperature(sharp, gold) == pytest.approx(3 * base, rel=1e-3)
    assert np.array_equal(with_temperature(sharp, 7.0).argmax(axis=1), truth.argmax(axis=1))
    assert with_temperature(truth, 1.0) == pytest.approx(truth)


def test_abstention() -> None:
    sure = np.arange(10.0)
    score = np.array([0.0] * 5 + [1.0] * 5)
    found = risk_coverage(sure, score)
    table = {row["coverage"]: row for row in found["table"]}
    assert table[100]["score"] == 0.5 and table[50]["score"] == 1.0 and table[50]["threshold"] == 5.0
    assert risk_coverage(-sure, score)["aurc"] > found["aurc"]
    assert risk_coverage(sure, np.ones(10))["aurc"] == 0


def test_without_rows() -> None:
    nothing = np.array([])
    for made in (lambda: risk_coverage(nothing, nothing), lambda: reliability(nothing, nothing)):
        with pytest.raises(DataError):
            made()
    with pytest.raises(DataError):
        calibration(np.zeros((0, 2)), np.array([], dtype=int))
