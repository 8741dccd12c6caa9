"""Which of a row's best spans is its answer: the one with the highest score, or the one that F1 can expect most of."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from hfkit.metrics import cmrc, squad
from hfkit.tasks.qa.spans import Span


def by_expected_f1(context: str, spans: Sequence[Span], scorer: str) -> Span:
    """The span whose mean F1 with all of them, each weighed by its probability, is highest; ties go to the likelier.

    Minimum Bayes risk (Kumar & Byrne 2004, for translation): the best answer if the gold one were a draw from the
    model's own belief, the softmax of the spans' scores. `spans` best first, at least one; F1 is that of `scorer`.

    Start and end are scored each for itself, so that a span from one likely answer to the end of another seems likely
    too, and has most in common with both: without a length penalty long spans win where a model is unsure.
    """
    scores = np.array([span.score for span in spans])
    expected = agreement([context[span.start : span.end] for span in spans], scorer) @ np.exp(scores - scores[0])
    return spans[int(np.argmax(expected.round(12)))]  # rounded: a tie must not hang on the order of a sum


def agreement(texts: Sequence[str], scorer: str) -> np.ndarray:
    """(texts, texts) float64: F1 (0-1) of each with each as the gold one; 1 for a text with itself.

    Most scorers give a text of which normalisation leaves nothing (the vitamin "A") no F1 with itself, so that nobody
    would answer with it; it is an exact match.
    """
    found = cmrc.pairwise_f1(texts) if scorer == "cmrc" else squad.pairwise_f1(texts)
    alike = np.array(texts)[:, None] == np.array(texts)[None]
    return np.where(alike, 1.0, found)
