"""SQuAD v1.1 and v2.0 scorers against the official scripts' published and known numbers."""

import json
import re
import string
from pathlib import Path

import numpy as np
import pytest

from hfkit.errors import DataError
from hfkit.metrics.squad import (
    best_threshold,
    exact_match,
    f1_v1,
    f1_v2,
    measure_squad,
    measure_squad2,
    normalize_answer,
    reduce_squad,
    reduce_squad2,
)

GOLDS = [["Paris"], [], ["blue whale", "whale"], []]


def as_columns(measured: list[dict[str, float]]) -> dict[str, np.ndarray]:
    return {name: np.array([row[name] for row in measured]) for name in measured[0]}


def squad2_columns(predictions: list[str], golds: list[list[str]] = GOLDS) -> dict[str, np.ndarray]:
    return as_columns([measure_squad2(text, gold) for text, gold in zip(predictions, golds, strict=True)])


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("The  Cat's-paw!", "catspaw"),
        ("An apple, the pear", "apple pear"),
        ("U.S.", "us"),
        ("10,000", "10000"),
        ("AN", ""),
        ("A.N.", ""),
        ("theatre a", "theatre"),
        ("Beyoncé", "beyoncé"),
        ("“Quoted”", "“quoted”"),
        ("the\u00a0dog", "dog"),
        ("３", "３"),
        ("", ""),
    ],
)
def test_normalization(text: str, expected: str) -> None:
    assert normalize_answer(text) == expected


@pytest.mark.parametrize(
    ("prediction", "gold", "expected"),
    [
        ("the cat sat", "cat sat down", 0.8),
        ("the the cat", "cat cat", 2 / 3),
        ("Denver Broncos", "The Denver Broncos defeated", 0.8),
        ("to be or not to be", "to be", 0.5),
        ("dog", "cat", 0.0),
    ],
)
def test_f1_counts_words_as_a_multiset(prediction: str, gold: str, expected: float) -> None:
    assert f1_v1(prediction, gold) == pytest.approx(expected, abs=1e-12)
    assert f1_v2(prediction, gold) == pytest.approx(expected, abs=1e-12)
    assert exact_match(prediction, gold) == 0.0


def test_texts_that_normalize_to_nothing_differ_between_v1_and_v2() -> None:
    assert (exact_match("the", "a"), f1_v1("the", "a"), f1_v2("the", "a")) == (1.0, 0.0, 1.0)
    assert (f1_v2("the", "cat"), f1_v2("cat", "the")) == (0.0, 0.0)
    golds = [["a"], ["cat"]]
    v1 = reduce_squad(as_columns([measure_squad(gold[0], gold) for gold in golds]))
    assert v1 == {"exact_match": 100.0, "f1": 50.0}
    v2 = reduce_squad2(squad2_columns(["a", "cat"], golds))
    assert (v2["exact_match"], v2["f1"]) == (100.0, 100.0)


def test_v2_drops_golds_that_normalize_to_nothing() -> None:
    assert measure_squad2("", ["the", "Paris"]) == {"em": 0.0, "f1": 0.0, "has_answer": 1.0}
    assert measure_squad2("", ["the"]) == {"em": 1.0, "f1": 1.0, "has_answer": 1.0}
    assert measure_squad2("Paris", []) == {"em": 0.0, "f1": 0.0, "has_answer": 0.0}


def test_v1_counts_a_missing_prediction_as_zero() -> None:
    columns = as_columns([measure_squad("Paris", ["Paris"]), measure_squad(None, ["London"])])
    assert reduce_squad(columns) == {"exact_match": 50.0, "f1": 50.0}
    assert measure_squad(None, ["the"]) == {"em": 0.0, "f1": 0.0}


@pytest.mark.parametrize(
    ("pairs", "percent"),
    [
        ([("1976", ["1976"])], 100.0),
        ([("1999", ["1976"])], 0.0),
        (
            [
                ("1976", ["1976"]),
                ("Beyonce", ["Beyoncé and Bruno Mars"]),
                ("climate change", ["climate change"]),
            ],
            200 / 3,
        ),
    ],
)
def test_published_examples(pairs: list[tuple[str, list[str]]], percent: float) -> None:
    v1 = reduce_squad(as_columns([measure_squad(*pair) for pair in pairs]))
    v2 = reduce_squad2(as_columns([measure_squad2(*pair) for pair in pairs]))
    for metrics in (v1, v2):
        assert metrics["exact_match"] == pytest.approx(percent)
        assert metrics["f1"] == pytest.approx(percent)


def test_v2_with_real_null_gaps() -> None:
    predictions = ["Paris", "London", "the whale", ""]
    gaps = np.array([-5.0, 1.0, -2.0, 3.0])
    columns = squad2_columns(predictions)
    assert reduce_squad2(columns) == {
        "exact_match": 75.0,
        "f1": 75.0,
        "has_answer_exact_match": 100.0,
        "has_answer_f1": 100.0,
        "no_answer_exact_match": 50.0,
    }
    non_empty = np.array([bool(text) for text in predictions])
    assert best_threshold(columns["em"], gaps, columns["has_answer"], non_empty) == (100.0, -2.0)
    applied = ["" if gap > 0.5 else text for text, gap in zip(predictions, gaps, strict=True)]
    assert reduce_squad2(squad2_columns(applied))["exact_match"] == 100.0


def test_v2_constant_null_gaps_give_the_known_artefact() -> None:
    predictions = ["Paris", "London", "the blue", ""]
    columns, gaps = squad2_columns(predictions), np.zeros(4)
    metrics = reduce_squad2(columns)
    assert metrics["exact_match"] == 50.0
    assert metrics["f1"] == pytest.approx(66.66667, abs=1e-5)
    assert metrics["has_answer_f1"] == pytest.approx(83.33333, abs=1e-5)
    non_empty = np.array([bool(text) for text in predictions])
    assert best_threshold(columns["em"], gaps, columns["has_answer"], non_empty) == (75.0, 0.0)
    best_f1, threshold = best_threshold(columns["f1"], gaps, columns["has_answer"], non_empty)
    # Walked in file order: 2 unanswerable + Paris = 3 of 4 is reached before London costs one.
    assert (best_f1, threshold) == (75.0, 0.0)

    nothing = squad2_columns([""] * 4)
    assert reduce_squad2(nothing)["exact_match"] == reduce_squad2(nothing)["f1"] == 50.0
    assert best_threshold(nothing["em"], gaps, nothing["has_answer"], np.zeros(4, dtype=bool)) == (50.0, 0.0)


def test_best_threshold_equals_a_literal_walk_and_is_never_below_the_raw_score() -> None:
    random = np.random.default_rng(0)
    for _ in range(200):
        count = int(random.integers(1, 30))
        has_answer = random.random(count) < 0.5
        non_empty = random.random(count) < 0.8
        scores = np.where(has_answer, np.where(non_empty, random.random(count).round(2), 0.0), ~non_empty)
        gaps = random.normal(size=count).round(1)
        best = current = float(np.sum(~has_answer))
        threshold = 0.0
        for row in sorted(range(count), key=lambda row: gaps[row]):
            current += scores[row] if has_answer[row] else (-1 if non_empty[row] else 0)
            if current > best:
                best, threshold = current, gaps[row]
        found = best_threshold(scores, gaps, has_answer, non_empty)
        assert found == (100.0 * best / count, threshold)
        assert found[0] >= 100.0 * scores.mean() - 1e-9


def dev_columns(right_answers: int, right_empty: int) -> dict[str, np.ndarray]:
    """Columns of the v2.0 dev set's size: 5,928 answerable and 5,945 unanswerable questions."""
    em = np.concatenate([np.arange(5928) < right_answers, np.arange(5945) < right_empty]).astype(float)
    return {"em": em, "f1": em, "has_answer": (np.arange(11873) < 5928).astype(float)}


def test_always_empty_on_the_dev_set_is_50_07() -> None:
    metrics = reduce_squad2(dev_columns(0, 5945))
    assert round(metrics["exact_match"], 2) == round(metrics["f1"], 2) == 50.07
    assert metrics["has_answer_exact_match"] == metrics["has_answer_f1"] == 0.0
    assert metrics["no_answer_exact_match"] == 100.0


def test_subsets_add_up_to_the_whole() -> None:
    metrics = reduce_squad2(dev_columns(4783, 5240))
    assert round(metrics["has_answer_exact_match"], 4) == 80.6849
    assert round(metrics["no_answer_exact_match"], 4) == 88.1413
    assert round(metrics["exact_match"], 4) == 84.4184


def test_subset_keys_are_left_out_when_there_is_no_such_row() -> None:
    assert "no_answer_exact_match" not in reduce_squad2(squad2_columns(["x"], [["x"]]))
    assert "has_answer_f1" not in reduce_squad2(squad2_columns(["x"], [[]]))


def test_nothing_to_score_is_an_error() -> None:
    with pytest.raises(DataError):
        measure_squad("x", [])
    empty = {name: np.array([]) for name in ("em", "f1", "has_answer")}
    for reduce in (reduce_squad, reduce_squad2):
        with pytest.raises(DataError):
            reduce(empty)
    with pytest.raises(DataError):
        best_threshold(np.array([]), np.array([]), np.array([]), np.array([]))


def literal_words(text: str) -> list[str]:
    kept = "".join(char for char in text.lower() if char not in set(string.punctuation))
    return re.sub(r"\b(a|an|the)\b", " ", kept).split()


def literal_f1(prediction: str, gold: str) -> float:
    left, right = literal_words(prediction), literal_words(gold)
    rest, common = list(right), 0
    for word in left:
        if word in rest:
            rest.remove(word)
            common += 1
    return 2 * common / (len(left) + len(right)) if common else 0.0


@pytest.mark.shared_data
def test_squad_dev_agrees_with_a_literal_second_implementation(shared: Path) -> None:
    data = json.loads((shared / "squad" / "dev.json").read_text(encoding="utf-8"))["data"]
    questions = [
        (paragraph["context"], [answer["text"] for answer in question["answers"]])
        for article in data
        for paragraph in article["paragraphs"]
        for question in paragraph["qas"]
    ]
    assert len(questions) == 10570

    gold = reduce_squad(as_columns([measure_squad(golds[0], golds) for _, golds in questions]))
    not_empty = sum(bool(literal_words(golds[0])) for _, golds in questions)
    assert gold["exact_match"] == 100.0
    assert gold["f1"] == pytest.approx(100.0 * not_empty / len(questions), abs=1e-9)

    guesses = [golds[-1] + " " + " ".join(context.split()[:2]) for context, golds in questions]
    columns = as_columns([measure_squad(guess, golds) for guess, (_, golds) in zip(guesses, questions, strict=True)])
    literal = [
        max(literal_f1(guess, text) for text in golds) for guess, (_, golds) in zip(guesses, questions, strict=True)
    ]
    assert columns["f1"] == pytest.approx(literal, abs=1e-12)
    assert 0 < reduce_squad(columns)["f1"] < 100


@pytest.mark.shared_data
def test_squad2_always_empty_scores_the_share_of_unanswerable_questions(shared: Path) -> None:
    data = json.loads((shared / "squad2" / "dev-half.json").read_text(encoding="utf-8"))["data"]
    golds = [
        [answer["text"] for answer in question["answers"]]
        for article in data
        for paragraph in article["paragraphs"]
        for question in paragraph["qas"]
    ]
    assert (len(golds), sum(not texts for texts in golds)) == (6078, 3168)
    empty = reduce_squad2(squad2_columns([""] * len(golds), golds))
    assert empty["exact_match"] == pytest.approx(100 * 3168 / 6078)
    assert empty["no_answer_exact_match"] == 100.0
    right = reduce_squad2(squad2_columns([texts[0] if texts else "" for texts in golds], golds))
    assert set(right.values()) == {100.0}
