"""Runs with another head: kept in the model, resumed bit-identically, equal on two threads, refused where wrong."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import engine_helpers as helpers
import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForSequenceClassification

Command = Callable[..., list[str]]
KEYS = ("tricks.pooling=mean", "tricks.multi_dropout=3", "tricks.reinit_layers=1", "train.head_lr=0.01")
TEN: dict[str, Any] = {"max_steps": 10, "eval_steps": 5}


def scored(model: Path, data: Path) -> dict[str, float]:
    code, result, err = helpers.call(
        ["eval", str(model), "--data", str(data), "--cpu", "--overwrite", "train.precision=float32"]
    )
    assert code == 0, err
    return result["metrics"]


def test_a_pooled_model_scores_the_same_anywhere_and_resumes_bit_identically(
    command: Command, small: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HFKIT_RUNS", str(tmp_path / "runs"))
    run = tmp_path / "run"
    code, result, err = helpers.call(command(run, *KEYS, **TEN))
    assert code == 0, err
    assert "fresh weights in the top layers, 1 of them" in err and "0.01 for the head" in err
    assert "right in hfkit alone" in (run / "README.md").read_text("utf-8")
    copied = shutil.copytree(run / "model", tmp_path / "copied")
    data = small / "validation.jsonl"
    metrics = scored(copied, data)
    assert metrics["log_loss"] == pytest.approx(result["metrics"]["log_loss"], abs=1e-5)
    config = json.loads((copied / "config.json").read_text("utf-8"))
    assert config.pop("hfkit_pooling") == "mean"
    (copied / "config.json").write_text(json.dumps(config), "utf-8")
    assert scored(copied, data)["log_loss"] != pytest.approx(metrics["log_loss"], abs=1e-4)
    _, info = AutoModelForSequenceClassification.from_pretrained(run / "model", output_loading_info=True)
    assert not info["missing_keys"] and not info["unexpected_keys"]

    weights = helpers.weights(run / "model")
    shutil.rmtree(run / "model")
    shutil.rmtree(run / "checkpoints" / "step-00000010")
    facts = json.loads((run / "run.json").read_text("utf-8"))
    facts.pop("result")
    (run / "run.json").write_text(json.dumps({**facts, "status": "running"}), "utf-8")
    code, result, err = helpers.call(command(run, "--resume", *KEYS[:2], "tricks.reinit_layers=2", KEYS[3], **TEN))
    assert code == 2 and "tricks.reinit_layers: 1 -> 2" in result["error"]["message"]
    code, _, err = helpers.call(command(run, "--resume", *KEYS, **TEN))
    assert code == 0 and "continuing at step 5 of 10" in err and "fresh weights" not in err
    assert helpers.weights(run / "model") == weights

    onward = command(tmp_path / "onward", max_steps=1)
    onward[onward.index("--model") + 1] = str(run)
    assert helpers.call(onward)[0] == 0  # pooling=auto: as the checkpoint is
    kept = json.loads((tmp_path / "onward" / "model" / "config.json").read_text("utf-8"))
    assert kept["hfkit_pooling"] == "mean"


def test_two_threads_take_the_steps_of_one(command: Command, tmp_path: Path) -> None:
    found = []
    for threads in (1, 2):
        torch.set_num_threads(threads)
        code, _, err = helpers.call(command(tmp_path / f"{threads}", *KEYS, max_steps=4, micro_batch_size=4))
        assert code == 0, err
        found.append(load_file(tmp_path / f"{threads}" / "model" / "model.safetensors"))
    for name, value in found[0].items():
        torch.testing.assert_close(found[1][name], value, rtol=1e-3, atol=2e-5)


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        (("tricks.reinit_layers=3",), "has 2 layers"),
        (("tricks.reinit_layers=2", "train.freeze_layers=1"), "has 2 layers, of which 1 are frozen"),
        (("tricks.reinit_layers=1", "lora.rank=4"), "fresh ones would stay random"),
        (("tricks.reinit_layers=1", "model=scratch:bert-mini"), "are fresh"),
        (("tricks.multi_dropout=2", "dropout=0"), "all masks are the same"),
        (("tricks.multi_dropout=0",), "tricks.multi_dropout"),
        (("tricks.pooling=median",), "tricks.pooling"),
        (("train.head_lr=0",), "train.head_lr"),
    ],
)
def test_what_does_not_fit_is_refused(command: Command, tmp_path: Path, keys: tuple[str, ...], message: str) -> None:
    helpers.refused(command, tmp_path / "run", keys, message)
