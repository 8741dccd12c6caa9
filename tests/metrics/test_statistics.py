"""Bootstrap intervals, paired comparison and Wilson's interval."""

import time

import numpy as np
import pytest

from hfkit.errors import DataError
from hfkit.metrics.perplexity import reduce_perplexity
from hfkit.metrics.squad import reduce_squad, reduce_squad2
from hfkit.metrics.statistics import bootstrap_ci, paired_bootstrap, wilson


def squad_columns(rows: int = 1000, seed: int = 0) -> dict[str, np.ndarray]:
    em = (np.random.default_rng(seed).random(rows) < 0.8).astype(float)
    return {"em": em, "f1": np.maximum(em, 0.3)}


def test_wilson() -> None:
    assert wilson(84, 100) == pytest.approx((0.7558, 0.8990), abs=5e-5)
    assert wilson(0, 0) == (0.0, 1.0)
    assert wilson(0, 10)[0] == 0.0
    assert wilson(10, 10)[1] == 1.0


def test_interval_holds_the_point_estimate_and_is_near_the_normal_one() -> None:
    columns = squad_columns()
    point, found = reduce_squad(columns), bootstrap_ci(columns, reduce_squad)
    assert set(found) == {"exact_match", "f1"}
    for key, (low, high) in found.items():
        assert low < point[key] < high
    share = point["exact_match"] / 100
    half = 100 * 1.96 * np.sqrt(share * (1 - share) / 1000)
    low, high = found["exact_match"]
    assert (high - low) / 2 == pytest.approx(half, rel=0.1)


def test_same_seed_same_interval() -> None:
    columns = squad_columns()
    assert bootstrap_ci(columns, reduce_squad, seed=3) == bootstrap_ci(columns, reduce_squad, seed=3)
    assert bootstrap_ci(columns, reduce_squad, seed=3) != bootstrap_ci(columns, reduce_squad, seed=4)


def test_keys_limit_the_metrics() -> None:
    assert set(bootstrap_ci(squad_columns(), reduce_squad, keys=["f1"], resamples=10)) == {"f1"}


def test_groups_of_equal_rows_widen_the_interval() -> None:
    once = squad_columns(200)
    fourfold = {name: np.repeat(values, 4) for name, values in once.items()}
    groups = np.array([f"paragraph {number}" for number in np.repeat(np.arange(200), 4)])
    shuffled = np.random.default_rng(1).permutation(800)
    fourfold = {name: values[shuffled] for name, values in fourfold.items()}
    by_row = bootstrap_ci(fourfold, reduce_squad)["exact_match"]
    by_group = bootstrap_ci(fourfold, reduce_squad, groups=groups[shuffled])["exact_match"]
    assert (by_group[1] - by_group[0]) / (by_row[1] - by_row[0]) == pytest.approx(2.0, rel=0.15)


def test_groups_are_drawn_whole() -> None:
    groups = np.array([7, 3, 7, 3, 3, 9])
    sizes = {3: 3, 7: 2, 9: 1}
    seen: list[np.ndarray] = []

    def remember(columns: dict[str, np.ndarray]) -> dict[str, float]:
        seen.append(columns["group"])
        return {"size": float(len(columns["group"]))}

    bootstrap_ci({"group": groups}, remember, groups=groups, resamples=50)
    for drawn in seen[1:]:
        assert sum(np.sum(drawn == group) / size for group, size in sizes.items()) == 3
        assert all(np.sum(drawn == group) % size == 0 for group, size in sizes.items())


def test_a_metric_that_is_rarely_defined_gets_no_interval() -> None:
    columns = {"em": np.ones(50), "f1": np.ones(50), "has_answer": np.ones(50)}
    columns["has_answer"][0] = 0.0
    found = bootstrap_ci(columns, reduce_squad2, resamples=200)
    assert "no_answer_exact_match" in found  # one row of 50 is drawn in about 64 % of the resamples
    rare = bootstrap_ci(columns, lambda drawn: {"rare": 1.0} if drawn["has_answer"].sum() == 49 else {}, resamples=200)
    assert rare == {}


def test_infinite_values_do_not_turn_into_nan() -> None:
    columns = {"nll": np.array([1.0, 1e6]), "tokens": np.ones(2), "bytes": np.ones(2)}
    low, high = bootstrap_ci(columns, reduce_perplexity)["perplexity"]
    assert low == pytest.approx(np.e)
    assert high == np.inf


def test_ten_thousand_rows_take_seconds_at_most() -> None:
    columns = squad_columns(10_000)
    start = time.perf_counter()
    bootstrap_ci(columns, reduce_squad)
    bootstrap_ci(columns, reduce_squad, groups=np.arange(10_000) // 5)
    assert time.perf_counter() - start < 10


def test_equal_systems_do_not_differ() -> None:
    columns = squad_columns()
    found = paired_bootstrap(columns, columns, reduce_squad, resamples=200)["f1"]
    assert found == {"difference": 0.0, "ci95": [0.0, 0.0], "p_value": 1.0}


def test_a_clear_difference_is_found_in_both_directions() -> None:
    worse, better = squad_columns(), squad_columns()
    better["em"] = np.maximum(better["em"], np.random.default_rng(5).random(1000) < 0.4)
    for first, second, sign in ((worse, better, 1), (better, worse, -1)):
        found = paired_bootstrap(first, second, reduce_squad, resamples=500)["exact_match"]
        assert np.sign(found["difference"]) == sign
        low, high = found["ci95"]
        assert low * high > 0
        assert found["p_value"] == pytest.approx(1 / 501)


def test_pairs_share_their_draws() -> None:
    first = squad_columns()
    second = {name: values - 0.1 for name, values in first.items()}
    found = paired_bootstrap(first, second, reduce_squad, resamples=100)["f1"]
    assert found["ci95"] == pytest.approx([-10.0, -10.0])


def test_errors() -> None:
    with pytest.raises(DataError):
        bootstrap_ci({"em": np.array([]), "f1": np.array([])}, reduce_squad)
    with pytest.raises(DataError, match="3 and 2 rows"):
        paired_bootstrap(squad_columns(3), squad_columns(2), reduce_squad)
    with pytest.raises(ValueError, match="resamples"):
        bootstrap_ci(squad_columns(3), reduce_squad, resamples=0)
    with pytest.raises(ValueError, match="group ids"):
        bootstrap_ci(squad_columns(3), reduce_squad, groups=np.arange(2))
    with pytest.raises(ValueError, match="lengths"):
        bootstrap_ci({"em": np.ones(2), "f1": np.ones(3)}, reduce_squad)
