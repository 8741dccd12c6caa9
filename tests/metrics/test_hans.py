"""HANS accuracies from synthetic rows with the counts of published runs."""

import numpy as np
import pytest

from hfkit.errors import DataError
from hfkit.metrics.hans import HEURISTICS, entails, measure_hans, reduce_hans


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
    measured = [measure_hans("entailment", "entailment", name) for name in HEURISTICS]
    measured += [measure_hans("neutral", "non-entailment", name) for name in HEURISTICS]
    measured += [measure_hans("entailment", "non-entailment", "subsequence")] * 3
    columns = {name: np.array([row[name] for row in measured]) for name in measured[0]}
    metrics = reduce_hans(columns)
    assert metrics["subsequence_non_entailment"] == 25.0
    assert metrics["overall"] == pytest.approx((5 * 100 + 25) / 6)
    assert metrics["accuracy"] == pytest.approx(100 * 6 / 9)


def test_always_entailment_is_fifty() -> None:
    golds = ["entailment", "non-entailment"]
    measured = [measure_hans("entailment", gold, name) for gold in golds for name in HEURISTICS]
    metrics = reduce_hans({name: np.array([row[name] for row in measured]) for name in measured[0]})
    assert metrics["overall"] == 50.0
    assert [metrics[f"{name}_entailment"] for name in HEURISTICS] == [100.0] * 3
    assert [metrics[f"{name}_non_entailment"] for name in HEURISTICS] == [0.0] * 3


def test_neutral_and_contradiction_both_mean_non_entailment() -> None:
    for predicted in ("neutral", "contradiction", "non-entailment"):
        assert measure_hans(predicted, "non-entailment", "constituent")["correct"] == 1.0
        assert measure_hans(predicted, "entailment", "constituent")["correct"] == 0.0


def test_argmax_first_differs_from_adding_up() -> None:
    probabilities = {"entailment": 0.4, "neutral": 0.35, "contradiction": 0.25}
    assert entails(probabilities)
    assert not entails(probabilities, "sum")


def test_a_missing_cell_leaves_overall_out() -> None:
    row = measure_hans("entailment", "entailment", "constituent")
    metrics = reduce_hans({name: np.array([value]) for name, value in row.items()})
    assert metrics == {"accuracy": 100.0, "constituent_entailment": 100.0}


def test_unknown_heuristic_label_and_no_rows_are_errors() -> None:
    with pytest.raises(DataError):
        measure_hans("entailment", "entailment", "lexical")
    with pytest.raises(DataError):
        measure_hans("entailment", "yes", "constituent")
    with pytest.raises(DataError):
        reduce_hans({name: np.array([]) for name in ("correct", "entailed", "heuristic")})
