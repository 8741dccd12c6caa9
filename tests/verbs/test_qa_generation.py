"""qa-generation from end to end on a tiny T5: windows are merged to one answer a row, scored by the scripts of qa."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import engine_helpers as helpers
import pytest
import tiny_encoder_decoders as tiny

from hfkit.tasks.base import Prediction, Row, Written
from hfkit.tasks.seq2seq.qa import QAGeneration

CONTEXT = "the small river runs behind the old mill "
NUMBERS = {"max_source_length": 128, "max_question_length": 40, "stride": 16, "max_target_length": 8}
LENGTHS = [f"qa-generation.{key}={value}" for key, value in NUMBERS.items()]


def rows(gold: bool) -> list[dict[str, Any]]:
    """Three questions, the second with a context of many windows; an answer can be found in each."""
    found: list[dict[str, Any]] = []
    for name, times in (("b", 1), ("a", 15), ("c", 7)):
        found.append({"id": name, "question": "who built the mill", "context": CONTEXT * times})
        if gold:
            found[-1]["answers"] = {"text": ["old mill"], "answer_start": [CONTEXT.index("old")]}
    return found


def write(path: Path, *, gold: bool = True) -> str:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows(gold)), encoding="utf-8")
    return str(path)


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> dict[str, Sequence[Written]]:
    """What was written for each row's windows, by the row's id, as predictions are made."""
    found: dict[str, Sequence[Written]] = {}
    merge = QAGeneration.merge

    def recording(self: QAGeneration, row: Row, texts: Sequence[Written]) -> Prediction:
        found[row["id"]] = list(texts)
        return merge(self, row, texts)

    monkeypatch.setattr(QAGeneration, "merge", recording)
    monkeypatch.setattr("hfkit.tasks.scoring.RESAMPLES", helpers.RESAMPLES)
    return found


def test_finetune_eval_and_predict_give_one_answer_a_row(tmp_path: Path, reads: dict[str, Sequence[Written]]) -> None:
    data, run, target = write(tmp_path / "rows.jsonl"), tmp_path / "run", tmp_path / "predictions.jsonl"
    words = ["--train", data, "--validation", data, "--model", str(tiny.save("t5", tmp_path / "t5")), "--cpu"]
    keys = [*LENGTHS, "train.max_steps=2", "train.batch_size=4", "train.precision=float32"]
    code, trained, err = helpers.call(["finetune", "qa-generation", *words, *keys, "-o", str(run)])
    assert code == 0, err
    assert set(trained["metrics"]) == {"exact_match", "f1"} == set(trained["ci95"])
    code, evaluated, err = helpers.call(["eval", str(run), "--data", data, "--cpu"])
    assert code == 0, err
    assert evaluated["metrics"] == trained["metrics"] and evaluated["rows"] == 3
    asked = write(tmp_path / "asked.jsonl", gold=False)
    reads.clear()
    code, _, err = helpers.call(["predict", str(run), "--data", asked, "-o", str(target), "--cpu"])
    assert code == 0, err
    predictions = [json.loads(line) for line in target.read_text("utf-8").splitlines()]
    assert [row["id"] for row in predictions] == ["b", "a", "c"]
    assert len(reads["b"]) == 1 < len(reads["c"]) < len(reads["a"])
    for row in predictions:
        texts = [written for written in reads[row["id"]] if written.text.strip()]
        assert row["no_answer"] is not bool(texts)
        likeliest = max(texts or reads[row["id"]], key=lambda written: written.log_probability)
        assert (row["prediction"], row["score"]) == (likeliest.text.strip(), likeliest.log_probability)
    code, scored, err = helpers.call(["score", str(target), "--data", data, "--task", "qa-generation"])
    assert code == 0, err
    assert scored["metrics"] == evaluated["metrics"]
