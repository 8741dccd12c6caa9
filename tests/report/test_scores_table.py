"""The table of scores: alone, with intervals, and beside those from before training; a row's gold below its answer."""

from __future__ import annotations

from hfkit.report.human import answer_text
from hfkit.report.text import scores_table


def test_values_alone() -> None:
    assert scores_table({"f1": 71.234}, {}).splitlines() == ["metric  value", "f1      71.23"]


def test_intervals_stand_beside_their_values() -> None:
    table = scores_table({"f1": 71.234, "mcc": 0.5}, {"f1": [70.1, 72.3]}).splitlines()
    assert table[0].split("  ")[-1].strip() == "95 % interval"
    assert table[1].endswith("70.10 to 72.30")
    assert table[2].split() == ["mcc", "0.5000"]


def test_scores_from_before_training_stand_first() -> None:
    before = {"metrics": {"f1": 12.0}, "ci95": {"f1": [10.0, 14.0]}}
    table = scores_table({"f1": 71.0}, {"f1": [70.0, 72.0]}, before).splitlines()
    assert table[0].split() == ["metric", "before", "95", "%", "interval", "after", "95", "%", "interval"]
    assert table[1].split() == ["f1", "12.00", "10.00", "to", "14.00", "71.00", "70.00", "to", "72.00"]


def test_a_metric_that_was_not_there_before_is_left_blank() -> None:
    table = scores_table({"f1": 71.0, "average": 60.0}, {}, {"metrics": {"f1": 12.0}}).splitlines()
    assert table[2].split() == ["average", "60.00"]


def test_gold_stands_below_the_answer() -> None:
    gold = [{"text": "Ada", "start": 7}, {"text": "Ada", "start": 20}, {"text": "Ada L.", "start": 7}]
    item = {"id": "a", "question": "Who?", "prediction": "Ada", "score": 3.0, "gold answers": gold}
    shown = answer_text(item, many=False).splitlines()
    assert shown == ["question: Who?", "answer: Ada  (score 3.00)", "gold answers: Ada | Ada L."]
    assert answer_text({**item, "gold answers": []}, many=False).endswith("gold answers: (no answer)")
