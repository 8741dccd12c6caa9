"""The answer by expected F1: against a plain sum over all pairs, and through the task and its thresholds."""

from __future__ import annotations

import math
import random
from typing import Any

import pytest

from hfkit.metrics.squad import f1_v2
from hfkit.tasks.qa.choose import agreement, by_expected_f1
from hfkit.tasks.qa.scorers import SCORERS
from hfkit.tasks.qa.settings import QASettings
from hfkit.tasks.qa.spans import Span
from hfkit.tasks.qa.task import QA

CONTEXT = "The tower was built in the spring of 1889 by Gustave Eiffel and his engineers"
ROW: dict[str, Any] = {"id": "1", "question": "When?", "context": CONTEXT, "answers": [{"text": "1889", "start": 37}]}


def span(text: str, probability: float) -> Span:
    start = CONTEXT.index(text)
    return Span(start, start + len(text), math.log(probability))


# No end is sure; "spring of 1889" has most in common with all.
TORN = [span("1889", 0.35), span("spring of 1889", 0.33), span("the spring of 1889 by Gustave", 0.32)]


def task(**settings: Any) -> QA:
    return QA(QASettings(**settings))


def expected(one: Span, spans: list[Span]) -> float:
    said = CONTEXT[one.start : one.end]
    return sum(math.exp(other.score) * f1_v2(said, CONTEXT[other.start : other.end]) for other in spans)


def test_a_model_that_is_torn_answers_with_what_all_have_in_common() -> None:
    assert by_expected_f1(CONTEXT, TORN, "squad") == TORN[1]
    sure = [span("1889", 0.9), *TORN[1:]]
    assert by_expected_f1(CONTEXT, sure, "squad") == sure[0]


def test_it_is_the_highest_sum_over_all_pairs() -> None:
    draw = random.Random(1)
    words = CONTEXT.split()
    for _ in range(50):
        texts = set()
        while len(texts) < 6:
            first = draw.randrange(len(words))
            texts.add(" ".join(words[first : first + draw.randint(1, 5)]))
        weights = sorted((draw.uniform(0.01, 1) for _ in texts), reverse=True)
        spans = [span(text, weight) for text, weight in zip(sorted(texts), weights, strict=True)]
        chosen = by_expected_f1(CONTEXT, spans, "squad")
        assert expected(chosen, spans) == pytest.approx(max(expected(one, spans) for one in spans), abs=1e-12)


def test_ties_go_to_the_likelier_span() -> None:
    two = [span("tower", 0.5), span("Gustave", 0.5)]
    assert by_expected_f1(CONTEXT, two, "squad") == two[0]


@pytest.mark.parametrize("scorer", SCORERS)
def test_agreement_is_the_scorers_f1_of_each_pair(scorer: str) -> None:
    texts = ["the spring of 1889", "1889", "Spring, spring 1889!", "北京大学", "京大", "the", "。", "an", "the"]
    measure = SCORERS[scorer][0]
    found = agreement(texts, scorer)
    for one, said in enumerate(texts):
        for other, gold in enumerate(texts):
            expected = 1.0 if said == gold else measure(said, [gold])["f1"]
            if scorer != "cmrc" and {said, gold} == {"the", "an"}:
                expected = 1.0  # nothing is left of either
            assert found[one, other] == pytest.approx(expected, abs=1e-12), (said, gold)


def test_the_scorer_decides_what_has_something_in_common() -> None:
    context = "在北京大学里读书"
    spans = [Span(1, 3, math.log(0.4)), Span(1, 5, math.log(0.35)), Span(1, 8, math.log(0.25))]  # 北京 in all of them
    texts = [context[one.start : one.end] for one in spans]
    assert by_expected_f1(context, spans, "squad") == spans[0], texts  # words: nothing in common
    assert by_expected_f1(context, spans, "cmrc") == spans[1], texts  # characters


@pytest.mark.parametrize("scorer", SCORERS)
def test_an_answer_of_which_normalisation_leaves_nothing_can_be_said(scorer: str) -> None:
    context = "A lack of vitamin A causes night blindness" if scorer != "cmrc" else "他说。北京"
    sure, other = ((18, 19), (10, 19)) if scorer != "cmrc" else ((2, 3), (3, 5))
    spans = [Span(*sure, math.log(0.95)), Span(*other, math.log(0.05))]
    assert by_expected_f1(context, spans, scorer) == spans[0]


@pytest.mark.parametrize("scorer", SCORERS)
def test_the_task_answers_by_it_with_every_scorer(scorer: str) -> None:
    ways = ("score", "expected_f1")
    usual, asked = (task(scorer=scorer, answer_by=name, n_best_in_predictions=True) for name in ways)
    first, second = (one.answered(ROW, TORN, -20.0, None) for one in (usual, asked))
    assert first["prediction"] == "1889"
    assert second["prediction"] == CONTEXT[second["start"] : second["end"]] == "spring of 1889"
    rest = {key: value for key, value in first.items() if key not in ("prediction", "start", "end")}
    assert rest == {key: value for key, value in second.items() if key in rest}  # scores and thresholds stay


def test_what_is_held_back_is_what_it_would_have_answered() -> None:
    found = task(scorer="squad2", answer_by="expected_f1").answered(ROW, TORN, 5.0, None)
    assert (found["prediction"], found["no_answer"], found["best_span"]) == ("", True, "spring of 1889")
    assert found["score"] + found["null_gap"] == 5.0
    nothing = task(answer_by="expected_f1").answered(ROW, [], 5.0, None)
    assert (nothing["prediction"], nothing["score"]) == ("", None)
