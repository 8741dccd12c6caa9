"""The human view of what lies behind scores, and of a comparison."""

from __future__ import annotations

from hfkit.report.analysis import analysis_text, comparison_text

CELL = {"ece": 0.1, "brier": 0.2, "nll": 0.3}


def test_every_part_is_shown() -> None:
    text = analysis_text(
        {
            "slices": {
                "question word": {
                    "who": {"rows": 1200, "metrics": {"exact_match": 50.0, "f1": 60.0}, "ci95": {"f1": [55.0, 65.0]}},
                    "why": {"rows": 3, "metrics": {"exact_match": 0.0, "f1": 0.0}, "ci95": {"f1": [0.0, 56.1]}},
                }
            },
            "confusion": {"labels": ["a", "b"], "counts": [[3, 1], [0, 4]]},
            "calibration": {
                **CELL,
                "reliability": [{"low": 0.5, "high": 0.6, "rows": 4, "confidence": 0.55, "right": 0.25}],
                "temperature": {"value": 1.5, "fitted_on_rows": 4, "rows": 4, "before": CELL, "after": CELL},
            },
            "thresholds": {
                "best_exact_match": 70.0,
                "best_exact_match_threshold": -1.5,
                "best_f1": 72.0,
                "best_f1_threshold": -1.25,
                "held_out": {
                    "threshold": -1.0, "fitted_on_rows": 10, "rows": 11, "exact_match": 68.0, "f1": 69.0,
                    "exact_match_as_predicted": 60.0, "f1_as_predicted": 61.0,
                },
            },
            "coverage": {"metric": "f1", "aurc": 0.2, "table": [{"coverage": 100, "threshold": 0.5, "score": 0.6}]},
            "mistakes": [{"id": "q\x1b1", "question": "Who?", "gold": ["Ada"], "prediction": "", "confidence": 9.5}],
        }
    )  # fmt: skip
    lines = [line.split() for line in text.splitlines()]
    assert ["question", "word", "who", "1,200", "50.00", "60.00", "55.00", "to", "65.00"] in lines
    assert "gold \\ predicted  a  b" in text and "0.5-0.6" in text and "temperature 1.5000" in text
    assert "null threshold -1 fitted on 10 rows, on the other 11: exact_match 68.00, f1 69.00" in text
    assert "AURC 0.2000" in text and "q\\x1b1" in text and "prediction: (no answer)" in text and "\x1b" not in text


def test_of_many_classes_the_most_confused_are_listed() -> None:
    labels = [f"c{n}" for n in range(20)]
    counts = [[0] * 20 for _ in labels]
    counts[3][4], counts[5][6], counts[7][7] = 9, 2, 50
    text = analysis_text({"confusion": {"labels": labels, "counts": counts}})
    assert text.splitlines()[1].split() == ["c3", "c4", "9"] and "c7" not in text


def test_a_comparison_of_seeds() -> None:
    side = {"name": "x", "metrics": {"f1": 50.0}}
    text = comparison_text(
        {
            "a": {**side, "seeds": 3, "spread": {"f1": 1.5}},
            "b": side,
            "differences": {"f1": 0.05},
            "ci95": {"f1": [-1.0, 1.0]},
            "p_value": {"f1": 0.5},
            "slices": {"has answer": {"yes": {"rows": 5, "differences": {"f1": 1.0}}}},
            "verdict": "this can be noise",
        }
    )
    assert "50.00 ± 1.5000 (3 seeds)" in text and "-1.00 to +1.00" in text and text.endswith("this can be noise")
    assert "has answer  yes    5     +1.00" in text
