"""Task choice by the verbs: a language model as it is, with examples from training data; scored again; trained."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from hfkit.errors import UsageError
from hfkit.recipe.load import build
from hfkit.verbs.evaluate import evaluate
from hfkit.verbs.finetune import finetune
from hfkit.verbs.predict import predict
from hfkit.verbs.score import score

KEYS = [
    "choice.template='{premise} Question: {hypothesis} Answer:'",
    "choice.choices={0: ' yes', 1: ' maybe', 2: ' no'}",
]


def test_a_language_model_chooses_with_examples(runs: Path, write: Any, pairs: Any, finish: Any) -> None:
    data, train = str(write("dev.jsonl", pairs)), str(write("train.jsonl", [*pairs, *pairs]))
    shots = ["choice.shots=2", f"choice.shots_data={train}", "choice.separator=' '"]
    result, events = finish(evaluate("7-lm", data, task="choice", cpu=True, overrides=[*KEYS, *shots]))
    assert any("prompts fill all 128 tokens: their beginning is not read" in str(event.fields) for event in events)
    assert set(result["metrics"]) == {"accuracy", "accuracy_norm", "macro_f1"} and result["unscored"] == 1
    assert f"examples: 2 of {train}, seed 0" in result["definitions"]["accuracy"]
    path = Path(result["output"]) / "predictions.jsonl"
    said = [json.loads(line) for line in path.open(encoding="utf-8")]
    assert [item["id"] for item in said] == [row["id"] for row in pairs]
    assert all(item["choices"] == ["0", "1", "2"] and item["prediction"] in item["choices"] for item in said)
    assert any(item["trimmed"] for item in said)  # its positions are few
    again, _ = finish(score(path, data=data, task="choice", overrides=KEYS))
    assert again["metrics"] == result["metrics"]


def test_one_row_is_answered_and_missing_keys_are_asked_for(runs: Path, finish: Any) -> None:
    fields = {"premise": "the mill stands still", "hypothesis": "it runs"}
    result, _ = finish(predict("7-lm", fields=fields, task="choice", cpu=True, overrides=KEYS))
    (item,) = result["predictions"]
    assert item["prediction"] in ("0", "1", "2") and len(item["log_likelihoods"]) == 3
    with pytest.raises(UsageError, match=r"choice\.template is missing"):
        finish(predict("7-lm", fields=fields, task="choice", cpu=True))
    with pytest.raises(UsageError, match="premise, hypothesis"):
        finish(predict("7-lm", fields={"premise": "x"}, task="choice", cpu=True, overrides=KEYS))


def test_a_trained_run_keeps_its_template(runs: Path, write: Any, pairs: Any, finish: Any, tmp_path: Path) -> None:
    data = str(write("train.jsonl", pairs))
    keys = [*KEYS, "train.max_steps=1", f"data.train={data}", f"data.validation={data}"]
    recipe = build({"task": "choice", "model": str(runs / "7-lm" / "model")}, keys)
    result, events = finish(finetune(recipe, output=tmp_path / "run", cpu=True))
    assert set(result["metrics"]) == {"accuracy", "accuracy_norm", "macro_f1"}
    plan = next(event for event in events if event.kind == "plan").fields["items"]
    assert "5 examples" in plan["train"]  # the gold choice of each row that has gold; validation reads all choices
    assert "18 examples" in plan["validation"]
    card = (tmp_path / "run" / "README.md").read_text(encoding="utf-8")
    assert "hfkit predict RUN premise='...' hypothesis='...'" in card
    answered, _ = finish(predict(str(tmp_path / "run"), fields={"premise": "a", "hypothesis": "b"}, cpu=True))
    assert answered["task"] == "choice"
    with pytest.raises(UsageError, match="not for training"):
        finish(finetune(build({"task": "choice", "model": str(runs / "7-lm" / "model")},
                              [*keys, "choice.shots=1", f"choice.shots_data={data}"]), cpu=True))  # fmt: skip
