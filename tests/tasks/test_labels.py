"""Labels by meaning: tables of what is understood, what is refused, and that the line to type really works."""

import shlex

import pytest

from hfkit.errors import DataError, ModelError
from hfkit.recipe.overrides import split_override
from hfkit.tasks.labels import (
    THREE_WAY,
    in_order,
    label_text,
    match_data_labels,
    match_model_labels,
    meaning,
    settings_line,
)
from hfkit.tasks.nli.settings import NLISettings


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("entailment", "entailment"), ("ENTAILMENT", "entailment"), ("Entails", "entailment"), ("e", "entailment"),
        ("neutral", "neutral"), ("N", "neutral"), ("contradiction", "contradiction"), ("c", "contradiction"),
        ("contradictory", "contradiction"), ("not_entailment", "non-entailment"), ("non-entailment", "non-entailment"),
        ("Not Entailment", "non-entailment"), ("蕴含", "entailment"), ("中立", "neutral"), ("中性", "neutral"),
        ("矛盾", "contradiction"), ("不相关", None), ("unrelated", None), ("LABEL_0", None), ("0", None), ("", None),
    ],
)  # fmt: skip
def test_meaning(word: str, expected: str | None) -> None:
    assert meaning(word) == expected


@pytest.mark.parametrize(
    ("value", "text"),
    [(1, "1"), (1.0, "1"), (-1, "-1"), (None, ""), ("007", "007"), (2.5, "2.5"), (True, "True"), (10**30, str(10**30))],
)
def test_label_text(value: object, text: str) -> None:
    assert label_text(value) == text


def test_in_order() -> None:
    assert in_order(["10", "9", "-1"]) == ["-1", "9", "10"]
    assert in_order(["b", "a", "10", "9", "B"]) == ["10", "9", "B", "a", "b"]


def test_exactly_0_1_2_are_the_three_classes() -> None:
    counts = {"0": 3, "1": 2, "2": 1, "-1": 4}
    assert match_data_labels(counts, {}) == {"0": "entailment", "1": "neutral", "2": "contradiction", "-1": None}


@pytest.mark.parametrize(
    "values",
    [("0", "1"), ("0", "2"), ("1", "2", "3"), ("0", "1", "2", "3"), ("蕴含", "矛盾", "不相关"), ("nan", "e"),
     ("yes", "no", "maybe"), ("true", "false")],
)  # fmt: skip
def test_what_is_not_known_is_refused_with_a_line_that_works(values: tuple[str, ...]) -> None:
    counts = dict.fromkeys(values, 5)
    with pytest.raises(DataError) as raised:
        match_data_labels(counts, {})
    line = shlex.split((raised.value.hint or "").partition(": ")[2])[0]
    key, given = split_override(line)
    assert key == "nli.labels"
    settings = NLISettings(labels=given)
    matched = match_data_labels(counts, settings.labels or {})
    assert all(matched.values()) and "entailment" in matched.values()


def test_words_mixed_with_numbers_are_refused_with_counts() -> None:
    with pytest.raises(DataError, match=r"mix words and numbers: entailment 7, 0 2"):
        match_data_labels({"entailment": 7, "0": 2}, {})


def test_what_is_given_goes_first_and_the_rest_keeps_its_meaning() -> None:
    given = NLISettings(labels={"不相关": "neutral", 0: "contradiction", "x": None}).labels or {}
    matched = match_data_labels({"蕴含": 1, "不相关": 1, "0": 1, "x": 1, "-": 1}, given)
    assert matched == {"蕴含": "entailment", "不相关": "neutral", "0": "contradiction", "x": None, "-": None}


def test_settings_refuse_what_is_no_class() -> None:
    with pytest.raises(ValueError, match="not one of entailment"):
        NLISettings(labels={"0": "positive"})


def test_model_labels_keep_their_order() -> None:
    assert match_model_labels(["CONTRADICTION", "Neutral", "entailment"], None) == [
        "contradiction",
        "neutral",
        "entailment",
    ]
    assert match_model_labels(["entailment", "not_entailment"], None) == ["entailment", "non-entailment"]


@pytest.mark.parametrize("given", [{"LABEL_0": "c", "LABEL_1": "e", "LABEL_2": "n"}, {0: "c", 1: "e", 2: "n"}])
def test_nameless_model_labels_are_named_by_the_key(given: dict[object, str]) -> None:
    names = ["LABEL_0", "LABEL_1", "LABEL_2"]
    settings = NLISettings(model_labels=given)
    assert match_model_labels(names, settings.model_labels) == ["contradiction", "entailment", "neutral"]


@pytest.mark.parametrize(
    "names",
    [["LABEL_0", "LABEL_1", "LABEL_2"], ["LABEL_0", "LABEL_1"], ["neg", "neutral", "pos"], ["entailment", "e", "c"]],
)
def test_nameless_model_labels_are_refused(names: list[str]) -> None:
    with pytest.raises(ModelError) as raised:
        match_model_labels(names, None)
    assert "nli.model_labels=" in (raised.value.hint or "")


def test_a_settings_line_comes_back_as_it_was() -> None:
    mapping = dict(
        zip(["a b", "007", "true", "x:y", "不相关", "-1", "1", "null", "it's", '"'], THREE_WAY * 4, strict=False)
    )
    key, value = split_override(shlex.split(settings_line("nli.labels", mapping))[0])
    assert key == "nli.labels"
    assert {label_text(label): name for label, name in value.items()} == mapping


def test_large_numbers_are_labels_too() -> None:
    assert label_text(10**400) == "1" + "0" * 400
    assert label_text(2**60 + 1) == str(2**60 + 1)
    assert in_order(["9" * 5000, "1"]) == ["1", "9" * 5000]
