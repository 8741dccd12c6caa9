"""AddSent scoring: the worst variant of each original question."""

import numpy as np

from hfkit.metrics.adversarial import worst_variants
from hfkit.metrics.squad import reduce_squad


def worst(ids: list[str], em: list[float], f1: list[float]) -> dict[str, np.ndarray]:
    kept = worst_variants(ids, np.array(f1))
    return {"em": np.array(em)[kept], "f1": np.array(f1)[kept]}


def test_the_worst_variant_replaces_its_original() -> None:
    found = worst(["q1", "q1-turk0", "q1-turk1"], [1.0, 0.0, 0.0], [1.0, 0.4, 0.9])
    assert reduce_squad(found) == {"exact_match": 0.0, "f1": 40.0}


def test_an_original_without_variants_stands_for_itself() -> None:
    assert reduce_squad(worst(["q1"], [1.0], [1.0])) == {"exact_match": 100.0, "f1": 100.0}


def test_em_comes_from_the_first_of_equally_bad_variants_in_any_row_order() -> None:
    found = worst(["q1-a", "q1-b", "q1", "q2"], [0.0, 1.0, 1.0, 1.0], [0.5, 0.5, 1.0, 1.0])
    assert found["em"].tolist() == [0.0, 1.0]
    assert found["f1"].tolist() == [0.5, 1.0]


def test_a_dash_in_an_ordinary_id_is_not_a_variant() -> None:
    assert worst(["ab-1", "ab-2"], [1.0, 0.0], [1.0, 0.0])["f1"].tolist() == [1.0, 0.0]
