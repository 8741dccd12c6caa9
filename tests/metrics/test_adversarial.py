"""AddSent scoring: the worst variant of each original question."""

import numpy as np

from hfkit.metrics.adversarial import worst_variants
from hfkit.metrics.squad import reduce_squad


def test_the_worst_variant_replaces_its_original() -> None:
    columns = {"em": np.array([1.0, 0.0, 0.0]), "f1": np.array([1.0, 0.4, 0.9])}
    worst = worst_variants(["q1", "q1-turk0", "q1-turk1"], columns)
    assert reduce_squad(worst) == {"exact_match": 0.0, "f1": 40.0}


def test_an_original_without_variants_stands_for_itself() -> None:
    worst = worst_variants(["q1"], {"em": np.array([1.0]), "f1": np.array([1.0])})
    assert reduce_squad(worst) == {"exact_match": 100.0, "f1": 100.0}


def test_em_comes_from_the_first_of_equally_bad_variants_in_any_row_order() -> None:
    columns = {"em": np.array([0.0, 1.0, 1.0, 1.0]), "f1": np.array([0.5, 0.5, 1.0, 1.0])}
    worst = worst_variants(["q1-a", "q1-b", "q1", "q2"], columns)
    assert worst["em"].tolist() == [0.0, 1.0]
    assert worst["f1"].tolist() == [0.5, 1.0]


def test_a_dash_in_an_ordinary_id_is_not_a_variant() -> None:
    columns = {"em": np.array([1.0, 0.0]), "f1": np.array([1.0, 0.0])}
    assert worst_variants(["ab-1", "ab-2"], columns)["f1"].tolist() == [1.0, 0.0]
