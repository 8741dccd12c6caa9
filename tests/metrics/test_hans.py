"""HANS accuracies from synthetic rows with the counts of published runs."""

import numpy as np
import pytest

from hfkit.errors import DataError
from hfkit.metrics.hans import HEURISTICS, reduce_hans


def rows_with(entailed: list[float], not_entailed: list[float], each: int = 5000) -> dict[str, np.ndarray]:
    """Columns with `each` rows per cell, the given share of which is right; cells in the order of HEURISTICS."""
    cells = [(1, number, share) for number, share in enumerate(entailed)]
    cells += [(0, number, share) for number, share in enumerate(not_entailed)]
    return {
        "correct": np.concatenate([(np.arange(each) < round(share * each)).astype(float) for _, _, share in cells]),
        "entailed": np.repeat([float(label) for label, _, _ in cells], each),
        "heuristic": np.repeat([float(number) for _, number, _ in cells], each),
    }


def test_counts_of_the_papers_bert() -> None:
    columns = rows_with([0.9464, 0.9932, 0.9844], [0.164, 0.0386, 0.1612])
    said_entailment = np.sum(columns["correct"] == columns["entailed"])
    assert said_entailment == 27801
    metrics = reduce_hans(columns)
    assert metrics["overall"] == pytest.approx(54.797, abs=5e-4)
    assert metrics["lexical_overlap_non_entailment"] == pytest.approx(16.4)
    assert metrics["constituent_entailment"] == pytest.approx(98.44)


def test_overall_is_the_mean_of_six_cells() -> None:
    metrics = reduce_hans(rows_with([0.9614, 0.9946, 0.9932], [0.39, 0.049, 0.0814]))
    assert metrics["overall"] == pytest.approx(57.8267, abs=5e-5)
    assert metrics["accuracy"] == pytest.approx(metrics["overall"])


def test_overall_weighs_cells_equally_when_their_sizes_differ() -> None:
    columns = {
        "correct": np.array([1.0] * 6 + [0.0] * 3),
        "entailed": np.array([1.0] * 3 + [0.0] * 6),
        "heuristic": np.array([0.0, 1.0, 2.0] * 2 + [1.0] * 3),
    }
    metrics = reduce_hans(columns)
    assert metrics["subsequence_non_entailment"] == 25.0
    assert metrics["overall"] == pytest.approx((5 * 100 + 25) / 6)
    assert metrics["accuracy"] == pytest.approx(100 * 6 / 9)


def test_always_entailment_is_fifty() -> None:
    metrics = reduce_hans(rows_with([1.0] * 3, [0.0] * 3, each=1))
    assert metrics["overall"] == 50.0
    assert [metrics[f"{name}_entailment"] for name in HEURISTICS] == [100.0] * 3
    assert [metrics[f"{name}_non_entailment"] for name in HEURISTICS] == [0.0] * 3


def test_a_missing_cell_leaves_overall_out() -> None:
    metrics = reduce_hans({"correct": np.ones(1), "entailed": np.ones(1), "heuristic": np.array([2.0])})
    assert metrics == {"accuracy": 100.0, "constituent_entailment": 100.0}


def test_no_rows_are_an_error() -> None:
    with pytest.raises(DataError):
        reduce_hans({name: np.array([]) for name in ("correct", "entailed", "heuristic")})
