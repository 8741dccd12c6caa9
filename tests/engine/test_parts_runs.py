"""Runs that train parts of a model: what stays, stays; adapters end in a plain model and resume bit-identically."""

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
ADAPTERS = ("lora.rank=4", "lora.dropout=0.1")
TEN: dict[str, Any] = {"max_steps": 10, "eval_steps": 5, "precision": "auto"}


def body(folder: Path) -> dict[str, torch.Tensor]:
    """The weights of a checkpoint without a head, by the names they have under one."""
    return {f"bert.{name}": value for name, value in load_file(folder / "model.safetensors").items()}


def interrupted(run: Path) -> None:
    """Make a finished run of ten steps look as if it had been killed after the fifth."""
    shutil.rmtree(run / "model")
    shutil.rmtree(run / "checkpoints" / "step-00000010")
    facts = json.loads((run / "run.json").read_text("utf-8"))
    facts.pop("result")
    (run / "run.json").write_text(json.dumps({**facts, "status": "running"}), encoding="utf-8")


def test_adapters_end_in_a_plain_model_and_resume_bit_identically(
    command: Command, small: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    code, result, err = helpers.call(command(run, *ADAPTERS, **TEN))
    assert code == 0, err
    assert "of them train" in err and "rank 4, scaled by 2, dropout 0.1, at all linear layers" in err
    assert "0.1, of attention 0.1" in err and "for each layer" not in err
    plain = load_file(run / "model" / "model.safetensors")
    before = body(small / "bert")
    assert not any("lora" in name or "base_layer" in name for name in plain)
    assert torch.equal(
        plain["bert.embeddings.word_embeddings.weight"], before["bert.embeddings.word_embeddings.weight"]
    )
    query = "bert.encoder.layer.0.attention.self.query.weight"
    change = plain[query] - before[query]
    assert change.any() and torch.linalg.matrix_rank(change) <= 4
    _, info = AutoModelForSequenceClassification.from_pretrained(run / "model", output_loading_info=True)
    assert not info["missing_keys"] and not info["unexpected_keys"]
    code, scored, err = helpers.call(
        ["eval", str(run), "--data", str(small / "validation.jsonl"), "--cpu", "train.precision=float32"]
    )
    assert code == 0, err
    assert scored["metrics"]["log_loss"] == pytest.approx(result["metrics"]["log_loss"], abs=0.01)
    weights, moments = helpers.weights(run / "model"), run / "checkpoints" / "step-00000010" / "optimizer.safetensors"
    digest = helpers.sha256(moments)
    assert all("lora_" in name or "classifier" in name or "pooler" in name for name in load_file(moments))
    interrupted(run)
    code, _, err = helpers.call(command(run, "--resume", *ADAPTERS, **TEN))
    assert code == 0, err
    assert "continuing at step 5 of 10" in err
    assert helpers.weights(run / "model") == weights
    assert helpers.sha256(moments) == digest


def test_the_plan_says_what_is_special(command: Command, tmp_path: Path) -> None:
    asked = ("attention_dropout=0", "train.layer_lr_decay=0.5", "train.gradient_checkpointing=true")
    parts = ("train.freeze_layers=1", "lora.rank=4", "lora.alpha=4", "lora.targets=[query, value]")
    code, result, err = helpers.call(command(tmp_path / "run", "--dry-run", *asked, *parts))
    assert code == 0, err
    plan = result["plan"]
    assert plan["dropout"] == "0.1, of attention 0"
    assert plan["adapters"] == "rank 4, scaled by 1, dropout 0, at query, value"
    assert plan["layers"] == "embeddings and the lowest 1 stay as they are, computed again in the backward pass"
    assert "x 0.5 for each layer further down" in plan["learning rate"]
    assert plan["batches"].startswith("8 examples") and "2 threads" not in plan["batches"]


def test_no_target_for_adapters_is_refused(command: Command, tmp_path: Path) -> None:
    code, _, err = helpers.call(command(tmp_path / "run", "lora.rank=4", "lora.targets=[]"))
    assert code == 2 and "lora.targets" in err and "Traceback" not in err


def test_adapters_do_not_go_on_beside_another_base(command: Command, small: Path, tmp_path: Path) -> None:
    base = shutil.copytree(small / "bert", tmp_path / "base")
    arguments = command(tmp_path / "run", *ADAPTERS, **TEN)
    arguments[arguments.index("--model") + 1] = str(base)
    assert helpers.call(arguments)[0] == 0
    interrupted(tmp_path / "run")
    helpers.checkpoint(base, initializer_range=0.03)
    code, result, _ = helpers.call([*arguments, "--resume"])
    assert code == 2 and "the model's weights changed" in result["error"]["message"]


def test_frozen_layers_stay(command: Command, small: Path, tmp_path: Path) -> None:
    code, _, err = helpers.call(
        command(tmp_path / "run", freeze_layers=1, layer_lr_decay=0.8, gradient_checkpointing=True, **TEN)
    )
    assert code == 0, err
    after = load_file(tmp_path / "run" / "model" / "model.safetensors")
    for name, value in body(small / "bert").items():
        lower = name.startswith(("bert.embeddings.", "bert.encoder.layer.0."))
        assert torch.equal(value, after[name]) == lower, name


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        (("train.freeze_layers=3",), "has 2 layers"),
        (("train.freeze_layers=0", "model=scratch:bert-mini"), "are fresh"),
        (("lora.rank=4", "model=scratch:bert-mini"), "are fresh"),
        (("lora.rank=4", "lora.targets=[queri]"), "no linear layer is called queri"),
        (("lora.r=4",), "did you mean 'lora.rank'?"),
        (("train.freeze_layer=1",), "did you mean 'train.freeze_layers'?"),
        (("train.layer_lr_decay=1.5",), "train.layer_lr_decay"),
        (("train.distributed=fsdp",), "there is one"),
        (("train.distributed=horovod",), "train.distributed"),
    ],
)
def test_what_does_not_fit_is_refused(command: Command, tmp_path: Path, keys: tuple[str, ...], message: str) -> None:
    helpers.refused(command, tmp_path / "run", keys, message)


def test_a_missing_peft_is_said_with_what_to_type(
    command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hfkit.verbs.finetune.parts.find_spec", lambda name: None)
    code, result, _ = helpers.call(command(tmp_path / "run", "lora.rank=4"))
    assert code == 2 and "peft" in result["error"]["message"]
    assert "hfkit[lora]" in result["error"]["hint"]


def test_adapter_settings_without_a_rank_are_said_to_do_nothing(command: Command, tmp_path: Path) -> None:
    code, _, err = helpers.call(command(tmp_path / "run", "lora.alpha=16", max_steps=1))
    assert code == 0
    assert "lora.alpha has no effect: lora.rank is null" in err
