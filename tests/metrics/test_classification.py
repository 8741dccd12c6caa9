"""Classification and regression metrics against scikit-learn and scipy on random data with ties and gaps."""

import numpy as np
import pytest
from scipy import stats
from sklearn import metrics as sk

from hfkit.errors import DataError
from hfkit.metrics.classification import (
    average_ranks,
    permutation_accuracies,
    reduce_multi,
    reduce_regression,
    reduce_single,
)

close = pytest.approx


def single_columns(gold: np.ndarray, predicted: np.ndarray, probabilities: np.ndarray) -> dict[str, np.ndarray]:
    columns = {f"p_{number}": probabilities[:, number] for number in range(probabilities.shape[1])}
    return {"gold": gold.astype(float), "predicted": predicted.astype(float), **columns}


def wide_columns(**matrices: np.ndarray) -> dict[str, np.ndarray]:
    return {f"{name}_{i}": m[:, i].astype(float) for name, m in matrices.items() for i in range(m.shape[1])}


def random_probabilities(random: np.random.Generator, rows: int, classes: int) -> np.ndarray:
    """Rows that sum to 1, coarse so that scores tie; now and then a hard 0 or 1."""
    weights = random.integers(0, 4, size=(rows, classes)).astype(float)
    weights[weights.sum(axis=1) == 0] = 1
    return weights / weights.sum(axis=1, keepdims=True)


@pytest.mark.parametrize("classes", [2, 3, 5])
@pytest.mark.parametrize("seed", range(25))
def test_single_label_equals_scikit_learn(classes: int, seed: int) -> None:
    random = np.random.default_rng([classes, seed])
    rows = int(random.integers(2, 60))
    gold = random.integers(0, random.integers(1, classes + 1), size=rows)  # later classes are often absent
    predicted = np.where(random.random(rows) < 0.6, gold, random.integers(0, classes, size=rows))
    probabilities = random_probabilities(random, rows, classes)
    names = [str(number) for number in range(classes)]
    found = reduce_single(single_columns(gold, predicted, probabilities), names)

    assert found["accuracy"] == close(100 * sk.accuracy_score(gold, predicted), abs=1e-10)
    expected_f1 = sk.f1_score(gold, predicted, average="macro", zero_division=0)
    assert found["macro_f1"] == close(100 * expected_f1, abs=1e-10)
    assert found["mcc"] == close(sk.matthews_corrcoef(gold, predicted), abs=1e-12)
    expected_loss = sk.log_loss(gold, probabilities, labels=list(range(classes)))
    assert found["log_loss"] == close(expected_loss, abs=1e-12)

    if len(np.unique(gold)) < classes:
        assert "roc_auc" not in found
    elif classes == 2:
        assert found["roc_auc"] == close(sk.roc_auc_score(gold, probabilities[:, 1]), abs=1e-12)
    else:
        expected = sk.roc_auc_score(gold, probabilities, multi_class="ovr", average="macro")
        assert found["roc_auc"] == close(expected, abs=1e-12)

    if classes == 2 or len(np.unique(np.concatenate([gold, predicted]))) == 1:
        assert "qwk" not in found
    else:
        expected = sk.cohen_kappa_score(gold, predicted, weights="quadratic", labels=list(range(classes)))
        assert found["qwk"] == close(expected, abs=1e-12)


def test_a_constant_prediction_has_no_correlation_and_an_absent_class_does_not_lower_f1() -> None:
    gold, predicted = np.array([0, 1, 0, 1]), np.zeros(4)
    found = reduce_single({"gold": gold, "predicted": predicted}, ["no", "yes", "never seen"])
    assert found["mcc"] == 0.0
    assert found["macro_f1"] == close(100 * (2 / 3) / 2)
    assert set(found) == {"accuracy", "macro_f1", "mcc"}


def test_certain_and_wrong_costs_a_finite_log_loss() -> None:
    columns = single_columns(np.array([1]), np.array([0]), np.array([[1.0, 0.0]]))
    assert reduce_single(columns, ["a", "b"])["log_loss"] == close(-np.log(np.finfo(float).eps))


def test_qwk_orders_labels_by_value_and_needs_integers() -> None:
    gold, predicted = np.array([0, 1, 2, 2]), np.array([0, 2, 2, 1])
    columns = {"gold": gold, "predicted": predicted}
    values = np.array([3, 1, 2])
    expected = sk.cohen_kappa_score(values[gold], values[predicted], weights="quadratic")
    assert reduce_single(columns, ["3", "1", "2"])["qwk"] == close(expected, abs=1e-12)
    assert "qwk" not in reduce_single(columns, ["low", "mid", "high"])


@pytest.mark.parametrize("seed", range(40))
def test_multi_label_equals_scikit_learn(seed: int) -> None:
    random = np.random.default_rng(seed)
    rows, labels = int(random.integers(2, 50)), int(random.integers(2, 6))
    gold = (random.random((rows, labels)) < random.random(labels)).astype(int)
    predicted = np.where(random.random((rows, labels)) < 0.7, gold, 1 - gold)
    probabilities = random.integers(0, 6, size=(rows, labels)) / 5
    columns = wide_columns(gold=gold, predicted=predicted, p=probabilities)
    found = reduce_multi(columns, [str(label) for label in range(labels)])

    assert found["accuracy"] == close(100 * sk.accuracy_score(gold, predicted), abs=1e-10)
    for key, average in (("macro_f1", "macro"), ("micro_f1", "micro")):
        expected = sk.f1_score(gold, predicted, average=average, zero_division=0)
        assert found[key] == close(100 * expected, abs=1e-10)
    assert found["mcc"] == close(sk.matthews_corrcoef(gold.ravel(), predicted.ravel()), abs=1e-12)
    losses = [sk.log_loss(gold[:, i], probabilities[:, i], labels=[0, 1]) for i in range(labels)]
    assert found["log_loss"] == close(np.mean(losses), abs=1e-12)
    if any(len(np.unique(gold[:, i])) == 1 for i in range(labels)):
        assert "roc_auc" not in found
    else:
        assert found["roc_auc"] == close(sk.roc_auc_score(gold, probabilities, average="macro"), abs=1e-12)


@pytest.mark.parametrize("targets", [1, 3])
@pytest.mark.parametrize("seed", range(20))
def test_regression_equals_scikit_learn_and_scipy(targets: int, seed: int) -> None:
    random = np.random.default_rng([targets, seed])
    rows = int(random.integers(3, 60))
    gold = random.normal(size=(rows, targets)).round(1) * 10 + 1000
    predicted = gold + random.normal(size=(rows, targets)).round(1)
    found = reduce_regression(wide_columns(gold=gold, predicted=predicted), targets)
    assert ("rmse" in found, "mcrmse" in found) == (targets == 1, targets > 1)
    expected = sk.root_mean_squared_error(gold, predicted)
    assert found["rmse" if targets == 1 else "mcrmse"] == close(expected, abs=1e-12)
    linear = [stats.pearsonr(gold[:, i], predicted[:, i]).statistic for i in range(targets)]
    ranked = [stats.spearmanr(gold[:, i], predicted[:, i]).statistic for i in range(targets)]
    assert found["pearson"] == close(np.mean(linear), abs=1e-12)
    assert found["spearman"] == close(np.mean(ranked), abs=1e-12)


def test_a_constant_column_has_no_correlation() -> None:
    columns = {"gold_0": np.array([1.0, 2.0, 3.0]), "predicted_0": np.full(3, 0.1)}
    assert set(reduce_regression(columns)) == {"rmse"}


def test_average_ranks_share_ties() -> None:
    assert average_ranks(np.array([10.0, 20.0, 10.0, 5.0])).tolist() == [2.5, 4.0, 2.5, 1.0]


def test_permuted_label_orders_add_up() -> None:
    table = np.array([[300, 20, 10], [25, 280, 30], [5, 15, 315]])
    gold = np.repeat(np.arange(9) // 3, table.ravel())
    predicted = np.repeat(np.arange(9) % 3, table.ravel())
    found = permutation_accuracies(gold, predicted)
    cyclic = [found[0, 1, 2], found[1, 2, 0], found[2, 0, 1]]
    assert sorted(cyclic) == close([5.0, 5.5, 89.5])
    assert found[0, 1, 2] == close(89.5)
    assert sum(found.values()) - sum(cyclic) == close(100.0)


@pytest.mark.parametrize("gold", [[-1.0, 0.0], [0.0, 2.0], [0.0, float("nan")]])
def test_class_numbers_outside_the_labels_are_an_error(gold: list[float]) -> None:
    with pytest.raises(DataError, match="gold"):
        reduce_single({"gold": np.array(gold), "predicted": np.array([0.0, 1.0])}, ["a", "b"])


def test_missing_surplus_empty_and_not_finite_columns_are_errors() -> None:
    good = {"gold": np.array([0.0]), "predicted": np.array([0.0])}
    with pytest.raises(DataError, match="p_0 to p_1"):
        reduce_single({**good, "p_0": np.array([1.0])}, ["a", "b"])
    with pytest.raises(DataError, match="finite"):
        reduce_single({**good, "p_0": np.array([np.nan]), "p_1": np.array([0.0])}, ["a", "b"])
    with pytest.raises(DataError, match="finite"):
        reduce_regression({"gold_0": np.array([1.0]), "predicted_0": np.array([np.inf])})
    with pytest.raises(DataError, match="no rows"):
        reduce_single({"gold": np.array([]), "predicted": np.array([])}, ["a", "b"])
    with pytest.raises(DataError, match="gold_0 to gold_1"):
        reduce_regression({"gold_0": np.array([1.0]), "predicted_0": np.array([1.0])}, 2)
