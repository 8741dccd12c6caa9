"""SQuAD v1.1 and v2.0 scoring as the official scripts do it; pure functions that tasks/qa and the score verb call.

Sources: evaluate-v1.1.py (Rajpurkar et al. 2016) and evaluate-v2.0.py (Rajpurkar, Jia & Liang 2018). Both average a
score per question, the maximum over its gold answers. They disagree in corners, kept apart here on purpose:

- Two texts of which nothing is left after normalisation ("the" and "a"): both count an exact match, but F1 is 0 in
  v1.1 and 1 in v2.0.
- v2.0 leaves out gold answers of which nothing is left, and compares with "" when there are no others.
- In v1.1 a question without a prediction counts 0; it stays in the denominator.

MRQA 2019 scores its questions with the v1.1 functions.
"""

import re
import string
from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np

from hfkit.errors import DataError
from hfkit.metrics.weights import mean

_WITHOUT_PUNCTUATION = str.maketrans("", "", string.punctuation)
_ARTICLES = re.compile(r"\b(?:a|an|the)\b")


def normalize_answer(text: str) -> str:
    """Lower-case, drop ASCII punctuation, blank out a/an/the, collapse white space: in this order, which matters.

    Accents, curly quotes and full-width digits stay. Removing punctuation first joins "Cat's-paw" into one word and
    turns "A.N." into the article "an", which then goes.
    """
    bare = text.lower().translate(_WITHOUT_PUNCTUATION)
    return " ".join(_ARTICLES.sub(" ", bare).split())


def exact_match(prediction: str, gold: str) -> float:
    """1.0 if both texts normalise to the same string, else 0.0 (v1.1 and v2.0 agree)."""
    return float(normalize_answer(prediction) == normalize_answer(gold))


def f1_v1(prediction: str, gold: str) -> float:
    """Word F1 (0-1) of v1.1: words as a multiset; 0 without a common word, also when both sides are empty."""
    return _overlap_f1(normalize_answer(prediction).split(), normalize_answer(gold).split())


def f1_v2(prediction: str, gold: str) -> float:
    """Word F1 (0-1) of v2.0: as v1.1, but when either side is empty it is 1 if both are, else 0."""
    predicted_words, gold_words = normalize_answer(prediction).split(), normalize_answer(gold).split()
    if not predicted_words or not gold_words:
        return float(predicted_words == gold_words)
    return _overlap_f1(predicted_words, gold_words)


def pairwise_f1(texts: Sequence[str]) -> np.ndarray:
    """(texts, texts) float64: `f1_v2` of each with each, all at once."""
    words = [normalize_answer(text).split() for text in texts]
    place = {word: number for number, word in enumerate({word: None for each in words for word in each})}
    counts = np.zeros((len(texts), len(place)), dtype=np.int32)
    for row, each in zip(counts, words, strict=True):
        for word in each:
            row[place[word]] += 1
    common = np.minimum(counts[:, None], counts[None]).sum(axis=2)
    sizes = counts.sum(axis=1)
    both = sizes[:, None] + sizes[None]
    return np.where(both == 0, 1.0, 2 * common / np.maximum(1, both))


def measure_squad(prediction: str | None, golds: Sequence[str]) -> dict[str, float]:
    """`em` and `f1` (0-1) of one question by v1.1: each the maximum over `golds`.

    `prediction` None means that there is none: both are 0. Raises DataError when `golds` is empty.
    """
    if not golds:
        raise DataError(
            "a question without gold answers cannot be scored by squad",
            hint="for unanswerable questions set qa.scorer=squad2",
        )
    if prediction is None:
        return {"em": 0.0, "f1": 0.0}
    said, known = normalize_answer(prediction), {normalize_answer(gold) for gold in golds}
    words = said.split()
    return {"em": float(said in known), "f1": max(_overlap_f1(words, gold.split()) for gold in known)}


def measure_squad2(prediction: str, golds: Sequence[str]) -> dict[str, float]:
    """`em`, `f1` (0-1) and `has_answer` (0 or 1) of one question by v2.0; no golds mean that it is unanswerable.

    `has_answer` says whether there are golds at all, before those of which normalisation leaves nothing are dropped.
    """
    said, known = normalize_answer(prediction), {normalize_answer(gold) for gold in golds} - {""} or {""}
    words = said.split()
    overlap = float("" in known) if not words else max(_overlap_f1(words, gold.split()) for gold in known)
    return {"em": float(said in known), "f1": overlap, "has_answer": float(bool(golds))}


def reduce_squad(columns: Mapping[str, np.ndarray]) -> dict[str, float]:
    """`exact_match` and `f1` in percent from the columns `em` and `f1` (0-1). Raises DataError without rows."""
    return {"exact_match": _percent(columns, "em"), "f1": _percent(columns, "f1")}


def reduce_squad2(columns: Mapping[str, np.ndarray]) -> dict[str, float]:
    """The v1.1 keys over all rows, and `has_answer_exact_match`, `has_answer_f1`, `no_answer_exact_match`, in percent.

    Columns: `em`, `f1`, `has_answer`. A key over a kind of question that does not occur is left out (the official
    script does the same). There is no `no_answer_f1`: for unanswerable questions F1 equals the exact match.
    """
    metrics = reduce_squad(columns)
    answerable = np.asarray(columns["has_answer"]) > 0.5
    parts = {
        "has_answer_exact_match": mean(columns, columns["em"], answerable),
        "has_answer_f1": mean(columns, columns["f1"], answerable),
        "no_answer_exact_match": mean(columns, columns["em"], ~answerable),
    }
    return metrics | {name: 100.0 * value for name, value in parts.items() if value is not None}


def best_threshold(
    scores: np.ndarray, null_gaps: np.ndarray, has_answer: np.ndarray, non_empty: np.ndarray
) -> tuple[float, float]:
    """The best corpus score in percent and its null threshold, as `find_best_thresh` of evaluate-v2.0.py finds them.

    All arguments have one entry per question: `scores` the em or f1 (0-1) of the text predicted before any threshold,
    `null_gaps` the null score minus the best span's (or a probability of no answer), `has_answer` whether there are
    golds, `non_empty` whether the predicted text is not "". The threshold t means: answer "" where the gap is above t.

    Kept from the official script: it starts at "every answer empty" with threshold 0.0 (so 0.0 is returned, wrongly
    for logit gaps, when that is best), only a strictly better score moves it, and equal gaps are walked one by one,
    which makes a constant column of gaps give a score that no threshold reaches. Choose a threshold on other rows
    than those it is reported on.
    """
    if len(scores) == 0:
        raise DataError("there are no rows to choose a null threshold on")
    answerable = np.asarray(has_answer) > 0.5
    gains = np.where(answerable, scores, -np.asarray(non_empty, dtype=float))
    order = np.argsort(null_gaps, kind="stable")
    start = float(np.count_nonzero(~answerable))
    totals = np.cumsum(np.concatenate([[start], gains[order]]))
    best = int(np.argmax(totals))
    threshold = float(null_gaps[order[best - 1]]) if best > 0 else 0.0
    return 100.0 * float(totals[best]) / len(scores), threshold


def decided(
    scores: np.ndarray, null_gaps: np.ndarray, has_answer: np.ndarray, non_empty: np.ndarray, threshold: float
) -> float:
    """The corpus score in percent when "" is answered where the gap is above `threshold`; arguments as above."""
    silent = (np.asarray(null_gaps) > threshold) | (np.asarray(non_empty) < 0.5)
    answerable = np.asarray(has_answer) > 0.5
    return 100.0 * float(np.mean(np.where(answerable, np.where(silent, 0.0, scores), silent.astype(float))))


def _overlap_f1(predicted: list[str], gold: list[str]) -> float:
    common = sum((Counter(predicted) & Counter(gold)).values())
    if common == 0:
        return 0.0
    precision, recall = common / len(predicted), common / len(gold)
    return 2 * precision * recall / (precision + recall)


def _percent(columns: Mapping[str, np.ndarray], name: str) -> float:
    value = mean(columns, np.asarray(columns[name]))
    if value is None:
        raise DataError("there are no rows to score")
    return 100.0 * value
