"""chrF, BLEU and ROUGE-L by row add up to what the libraries say of the corpus."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from hfkit.errors import DataError, UsageError
from hfkit.metrics import overlap
from hfkit.metrics.statistics import bootstrap_ci

SAID = ["the cat sat on the mat today", "a dog", "it rains in the old town and nobody minds", "", "same text here"]
GOLD = [
    ["the cat sat on a mat today", "a cat was on the mat"],
    ["the dogs run", "a dog runs"],
    ["it rains in the town, and nobody cares", "in the old town it rains"],
    ["something", "else"],
    ["same text here", "other"],
]


@pytest.fixture
def columns() -> dict[str, np.ndarray]:
    pytest.importorskip("sacrebleu")
    pytest.importorskip("rouge_score")
    rows = [overlap.measure_overlap(said, gold) for said, gold in zip(SAID, GOLD, strict=True)]
    return {name: np.array([row[name] for row in rows]) for name in rows[0]}


def test_corpus_scores_are_the_libraries_own(columns: dict[str, np.ndarray]) -> None:
    from sacrebleu.metrics import BLEU, CHRF

    streams = [list(texts) for texts in zip(*GOLD, strict=True)]
    found = overlap.reduce_overlap(columns)
    assert found["bleu"] == pytest.approx(BLEU().corpus_score(SAID, streams).score, abs=1e-9)
    assert found["chrf"] == pytest.approx(CHRF().corpus_score(SAID, streams).score, abs=1e-9)
    assert found["exact_match"] == 20 and 20 < found["rouge_l"] < 100


def test_rows_may_count_more_than_once(columns: dict[str, np.ndarray]) -> None:
    weight = np.array([2.0, 0.0, 1.0, 1.0, 3.0])
    repeated = {name: np.repeat(values, weight.astype(int)) for name, values in columns.items()}
    assert overlap.reduce_overlap({**columns, "weight": weight}) == pytest.approx(overlap.reduce_overlap(repeated))
    assert set(bootstrap_ci(columns, overlap.reduce_overlap, resamples=20)) == {
        "chrf",
        "bleu",
        "rouge_l",
        "exact_match",
    }


def test_what_is_missing_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(DataError):
        overlap.measure_overlap("x", [])
    overlap._libraries.cache_clear()
    monkeypatch.setitem(sys.modules, "sacrebleu", None)
    monkeypatch.setitem(sys.modules, "sacrebleu.metrics", None)
    monkeypatch.setitem(sys.modules, "rouge_score", None)
    monkeypatch.setitem(sys.modules, "rouge_score.rouge_scorer", None)
    with pytest.raises(UsageError, match="not installed") as refused:
        overlap.measure_overlap("x", ["x"])
    assert "hfkit[texts]" in str(refused.value.hint)
