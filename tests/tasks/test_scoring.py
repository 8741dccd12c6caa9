"""Scores of measured rows: intervals, definitions, rows without gold, statistics that only some rows have."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from hfkit.errors import DataError
from hfkit.metrics.statistics import wilson
from hfkit.tasks import task_class
from hfkit.tasks.scoring import measured, score_columns, score_fields


def task(name: str, **settings: Any) -> Any:
    kind = task_class(name)
    return kind(kind.Settings(**settings))


def nli(count: int) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Predictions, the first half right, and rows."""
    rows = [{"id": str(n), "label": "neutral"} for n in range(count)]
    made = [{"id": str(n), "prediction": "neutral" if n < count // 2 else "entailment"} for n in range(count)]
    for item in made:
        item["probabilities"] = {"entailment": 0.25, "neutral": 0.5, "contradiction": 0.25}
    return made, rows


def test_metrics_have_intervals_and_definitions():
    made, rows = nli(40)
    scores = score_columns(task("nli"), measured(task("nli"), made, rows))
    assert scores.metrics["accuracy"] == 50 and scores.rows == 40 and scores.unscored == 0
    low, high = scores.ci95["accuracy"]
    assert 30 < low < 50 < high < 70
    assert set(scores.ci95) <= set(scores.metrics) and "log_loss" not in scores.ci95
    assert scores.metrics["log_loss"] == pytest.approx(-np.log(0.5))
    assert set(scores.definitions) <= set(scores.metrics) and "accuracy" in scores.definitions
    fields = score_fields(scores)
    assert set(fields) == {"rows", "metrics", "ci95", "ci95_method", "definitions"}


def test_the_same_rows_have_the_same_intervals():
    made, rows = nli(30)
    first, again = (score_columns(task("nli"), measured(task("nli"), made, rows)) for _ in range(2))
    assert first == again
    bare = score_columns(task("nli"), measured(task("nli"), made, rows), intervals=False)
    assert bare.metrics == first.metrics and bare.ci95 == {}


def test_rows_without_gold_are_counted_and_not_scored():
    made, rows = nli(10)
    rows[0]["label"] = "-"
    found = measured(task("nli"), made, rows)
    assert found.unscored == 1 and len(found.columns["gold"]) == len(found) == 9
    with pytest.raises(DataError, match="no row has an answer"):
        score_columns(task("nli"), measured(task("nli"), made, [dict(row, label="-") for row in rows]))


def test_probabilities_of_some_rows_only_make_no_metric():
    made, rows = nli(10)
    del made[3]["probabilities"]
    scores = score_columns(task("nli"), measured(task("nli"), made, rows))
    assert scores.metrics["accuracy"] == 50 and "log_loss" not in scores.metrics


def test_as_many_predictions_as_rows():
    made, rows = nli(10)
    with pytest.raises(ValueError, match=r"longer|shorter"):
        measured(task("nli"), made[:9], rows)


def test_blocks_of_text_say_how_many_tokens_were_scored():
    blocks = [{"id": str(n), "prediction": 2.0, "nll": 700.0, "tokens": 1000, "bytes": 4000} for n in range(3)]
    scores = score_columns(task("lm"), measured(task("lm"), blocks, blocks))
    assert scores.metrics["perplexity"] == pytest.approx(np.exp(0.7))
    assert all(text.endswith("; 3,000 tokens scored") for text in scores.definitions.values())


def test_a_cell_that_is_all_right_has_an_interval():
    """Each resample of it is all right too; Wilson's interval of as many rows as there are premises says more."""
    made = task("nli")
    rows = [
        {"id": f"{n}", "premise": f"p{n % 40}", "hypothesis": "h", "label": ("entailment", "non-entailment")[n % 2],
         "heuristic": ("lexical_overlap", "subsequence")[n % 4 < 2]}
        for n in range(160)
    ]  # fmt: skip
    said = [
        {"id": row["id"], "prediction": row["label"] if row["heuristic"] == "subsequence" or n % 3 else "entailment"}
        for n, row in enumerate(rows)
    ]
    scores = score_columns(made, measured(made, said, rows))
    assert scores.metrics["subsequence_entailment"] == scores.metrics["lexical_overlap_entailment"] == 100.0
    low, high = scores.ci95["subsequence_entailment"]
    assert high == 100.0 and low == pytest.approx(100 * wilson(10, 10)[0])
    assert scores.methods["subsequence_entailment"] == "Wilson over 10 premises"
    assert scores.methods["lexical_overlap_non_entailment"].startswith("bootstrap over 40 premises")
    assert scores.methods["accuracy"].startswith("bootstrap")
