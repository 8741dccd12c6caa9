"""Which of a row's best spans is its answer: the one with the highest score, or the one that F1 can expect most of."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from hfkit.tasks.qa.spans import Span

Measure = Callable[[str, Sequence[str]], dict[str, float]]
LEAST = 1e-3  # of the likeliest span's probability: less likely spans can hardly move an expectation, and cost as much


def by_expected_f1(context: str, spans: Sequence[Span], measure: Measure) -> Span:
    """The span whose mean F1 with all of them, each weighed by its probability, is highest; ties go to the likelier.

    Minimum Bayes risk (Kumar & Byrne 2004, for translation): the best answer if the gold one were a draw from the
    model's own belief, the softmax of the spans' scores. Where a model is torn between spans that overlap, that is the
    one which has most in common with all of them. `spans` best first, at least one; `measure` gives the scorer's `f1`
    of a text and its gold texts.
    """
    weights = [math.exp(span.score - spans[0].score) for span in spans]
    likely = [(context[span.start : span.end], weight) for span, weight in zip(spans, weights, strict=True)]
    likely = [(text, weight) for text, weight in likely if weight >= LEAST]
    expected = [sum(weight * measure(text, [gold])["f1"] for gold, weight in likely) for text, _ in likely]
    return spans[max(range(len(likely)), key=expected.__getitem__)]
