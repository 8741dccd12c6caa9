"""Bootstrap intervals, paired comparison and Wilson's interval."""

import time

import numpy as np
import pytest

from hfkit.errors import DataError
from hfkit.metrics.perplexity import reduce_perplexity
from hfkit.metrics.squad import reduce_squad, reduce_squad2
from hfkit.metrics.statistics import bootstrap_ci, grouped_wilson, mcnemar, paired_bootstrap, wilson


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
    for drawn in seen[-50:]:
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
    found = paired_bootstrap([columns], [columns], reduce_squad, resamples=200)["f1"]
    assert found == {"difference": 0.0, "ci95": [0.0, 0.0], "p_value": 1.0}


def test_a_clear_difference_is_found_in_both_directions() -> None:
    worse, better = squad_columns(), squad_columns()
    better["em"] = np.maximum(better["em"], np.random.default_rng(5).random(1000) < 0.4)
    for first, second, sign in ((worse, better, 1), (better, worse, -1)):
        found = paired_bootstrap([first], [second], reduce_squad, resamples=500)["exact_match"]
        assert np.sign(found["difference"]) == sign
        low, high = found["ci95"]
        assert low * high > 0
        assert found["p_value"] == pytest.approx(1 / 501)


def test_pairs_share_their_draws() -> None:
    first = squad_columns()
    second = {name: values - 0.1 for name, values in first.items()}
    found = paired_bootstrap([first], [second], reduce_squad, resamples=100)["f1"]
    assert found["ci95"] == pytest.approx([-10.0, -10.0])


def test_errors() -> None:
    with pytest.raises(DataError):
        bootstrap_ci({"em": np.array([]), "f1": np.array([])}, reduce_squad)
    with pytest.raises(DataError, match="3 and 2 rows"):
        paired_bootstrap([squad_columns(3)], [squad_columns(2)], reduce_squad)
    with pytest.raises(ValueError, match="resamples"):
        bootstrap_ci(squad_columns(3), reduce_squad, resamples=0)
    with pytest.raises(ValueError, match="group ids"):
        bootstrap_ci(squad_columns(3), reduce_squad, groups=np.arange(2))
    with pytest.raises(ValueError, match="lengths"):
        bootstrap_ci({"em": np.ones(2), "f1": np.ones(3)}, reduce_squad)


def test_mcnemar_is_the_exact_binomial() -> None:
    first = np.array([1.0] * 10 + [0.0] * 25 + [1.0] * 50)
    second = np.array([0.0] * 10 + [1.0] * 25 + [1.0] * 50)
    found = mcnemar(first, second)
    assert (found["first_only"], found["second_only"]) == (10, 25)
    assert found["p_value"] == pytest.approx(0.01667, abs=5e-6)
    assert mcnemar(first, first)["p_value"] == 1.0
    with pytest.raises(DataError):
        mcnemar(first, second[1:])


@pytest.mark.parametrize(("one", "two"), [(0, 1), (3, 4), (5, 5), (0, 30), (200, 260), (2000, 1890)])
def test_mcnemar_equals_scipy(one: int, two: int) -> None:
    stats = pytest.importorskip("scipy.stats")
    first, second = np.repeat([1.0, 0.0], [one, two]), np.repeat([0.0, 1.0], [one, two])
    wanted = stats.binomtest(one, one + two, 0.5).pvalue
    assert mcnemar(first, second)["p_value"] == pytest.approx(wanted, rel=1e-9)


def test_wilson_and_the_bootstrap_agree_with_scipy() -> None:
    stats = pytest.importorskip("scipy.stats")
    wanted = stats.binomtest(84, 100).proportion_ci(method="wilson")
    assert wilson(84, 100) == pytest.approx((wanted.low, wanted.high), abs=1e-12)
    columns = squad_columns(800, seed=5)
    columns["f1"] = np.random.default_rng(6).random(800)
    theirs = stats.bootstrap((columns["f1"],), np.mean, method="percentile", n_resamples=4000, rng=1)
    ours = bootstrap_ci(columns, reduce_squad, resamples=4000)["f1"]
    interval = theirs.confidence_interval
    assert ours == pytest.approx([100 * interval.low, 100 * interval.high], abs=0.15)


def test_rows_with_a_weight_are_drawn_as_rows_are() -> None:
    """A reduce that reads `weight` and one that is given the rows: the same distribution, grouped or not."""
    columns = squad_columns(600, seed=2)
    groups = np.arange(600) // 3

    def of_rows(drawn: dict[str, np.ndarray]) -> dict[str, float]:
        return {"exact_match": 100.0 * float(np.mean(drawn["em"]))}

    for by in (None, groups):
        fast = bootstrap_ci(columns, reduce_squad, groups=by, resamples=4000, keys=["exact_match"])
        slow = bootstrap_ci(columns, of_rows, groups=by, resamples=4000)
        assert fast["exact_match"] == pytest.approx(slow["exact_match"], abs=0.25)


def test_wilson_at_the_effective_number_of_rows() -> None:
    right = squad_columns(900, seed=3)["em"]
    plain = wilson(int(right.sum()), 900)
    assert grouped_wilson(right) == pytest.approx(plain, abs=2e-4)
    copies = grouped_wilson(np.repeat(right, 4), np.repeat(np.arange(900), 4))
    assert copies == pytest.approx(plain, abs=2e-4)  # four copies of a row tell no more than the row
    assert grouped_wilson(np.ones(5))[0] == pytest.approx(wilson(5, 5)[0])
    assert grouped_wilson(np.ones(6), np.array([0, 0, 0, 1, 1, 1]))[0] == pytest.approx(wilson(2, 2)[0])
    assert grouped_wilson(np.array([])) == (0.0, 1.0)


def test_seeds_of_a_system_are_averaged() -> None:
    seeds = [squad_columns(300, seed=seed) for seed in range(3)]
    found = paired_bootstrap([seeds[0]], seeds, reduce_squad, resamples=100)["exact_match"]
    wanted = np.mean([reduce_squad(seed)["exact_match"] for seed in seeds]) - reduce_squad(seeds[0])["exact_match"]
    assert found["difference"] == pytest.approx(wanted)


def test_a_resample_without_a_scored_token_is_left_out() -> None:
    """Blocks of one token have none that is scored."""
    columns = {"nll": np.array([0.0, 0.0, 6.0, 4.0]), "tokens": np.array([0.0, 0.0, 3.0, 2.0])}
    assert bootstrap_ci(columns, reduce_perplexity, resamples=200) == {
        "perplexity": pytest.approx([np.e**2] * 2),
        "loss": pytest.approx([2.0] * 2),
    }
    alone = {name: values[[0, 1, 1, 1, 3]] for name, values in columns.items()}
    assert set(paired_bootstrap([alone], [alone], reduce_perplexity, resamples=200)) == {"perplexity", "loss"}
