"""What finetune says last: little data, one row answered, a text to continue."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from hfkit.run import Run
from hfkit.tasks import task_class
from hfkit.verbs.finetune.closing import closing, example, little_data, opening

ROWS = [
    {"id": "a", "question": "Who?", "context": "It was Ada.", "answers": [{"text": "Ada", "start": 7}]},
    {"id": "b", "question": "Where?", "context": "In Rome.", "answers": []},
]


def ready(task: str, *, rows: int, tokens: int, validation: Any = ROWS) -> Any:
    kind = task_class(task)
    train = SimpleNamespace(lengths=np.array([tokens]))
    return SimpleNamespace(task=kind(kind.Settings()), train=train, train_rows=range(rows), validation_rows=validation)


@pytest.fixture()
def run(tmp_path: Path) -> Run:
    folder = tmp_path / "eval" / "validation"
    folder.mkdir(parents=True)
    lines = [{"id": "a", "prediction": "Ada", "score": 3.5}, {"id": "b", "prediction": "Rome", "score": 1.0}]
    (folder / "predictions.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    return Run(tmp_path)


def test_the_first_validation_row_is_shown_with_its_gold_and_what_was_predicted(run: Run) -> None:
    item = example(ready("qa", rows=2, tokens=20).task, ROWS, run)
    assert (item["question"], item["prediction"], item["gold answers"]) == ("Who?", "Ada", ROWS[0]["answers"])


def test_a_run_without_predictions_shows_no_row(tmp_path: Path) -> None:
    assert example(ready("qa", rows=2, tokens=20).task, ROWS, Run(tmp_path)) == {}


@pytest.mark.parametrize(
    ("task", "rows", "tokens", "said"),
    [
        ("qa", 276, 48_463, "trained on 276 rows"),
        ("qa", 1_000, 48_463, ""),
        ("lm", 1, 10_368, "trained on 10,368 tokens"),
        ("lm", 1, 2_000_000, ""),
    ],
)
def test_little_data_is_called_little(task: str, rows: int, tokens: int, said: str) -> None:
    text = little_data(ready(task, rows=rows, tokens=tokens))
    assert text.startswith(said)
    assert bool(text) == bool(said)


def test_scores_come_first_with_those_before_training_then_a_row_then_the_warning(run: Run) -> None:
    before = {"metrics": {"f1": 2.0}, "ci95": {"f1": [0.5, 4.0]}}
    result = {"metrics": {"f1": 16.0}, "ci95": {"f1": [8.0, 25.0]}, "rows": 2, "before": before}
    events = list(closing(ready("qa", rows=2, tokens=20), run, result))
    assert [event.kind for event in events] == ["scored", "answered", "warning"]
    assert events[0].fields["before"] == before
    assert events[0].step is None
    assert "weak model" in events[2].fields["text"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("\n\n《静夜思》 李白\n床前明月光", "《静夜思》 李白"),
        ("It was a bright cold day in April, and", "It was a bright cold"),
        ("", "Once upon a time"),
        ("一" * 40, "一" * 24),
    ],
)
def test_the_opening_is_a_line_cut_at_a_word(text: str, said: str) -> None:
    assert opening([{"text": text}]) == said
