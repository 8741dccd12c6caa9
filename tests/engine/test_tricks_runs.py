"""Runs with the tricks of the loop: resumed to the bit, scored as they are kept, refused where they do not go."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import engine_helpers as helpers
import pytest
import torch
from safetensors.torch import load_file
from test_parts_runs import interrupted
from test_scale_out import equal, ranks

from hfkit.errors import UsageError
from hfkit.recipe.load import build
from hfkit.tasks import task_class
from hfkit.verbs.finetune.ready import without_effect
from hfkit.verbs.finetune.tricks import check_tricks, tricks_text

Command = Callable[..., list[str]]
TEN: dict[str, Any] = {"max_steps": 10, "eval_steps": 5, "precision": "auto"}
LOOP = ("tricks.adversarial=fgm", "tricks.r_drop=1", "tricks.average=ema", "tricks.ema_decay=0.5")
ADAPTED = ("tricks.adversarial=awp", "tricks.average=swa", "tricks.swa_start=0.3", "lora.rank=4")


@pytest.mark.parametrize("tricks", [LOOP, ADAPTED], ids=["all", "adapters"])
def test_a_run_is_scored_as_it_is_kept_and_resumes_to_the_bit(
    command: Command, small: Path, tmp_path: Path, tricks: tuple[str, ...]
) -> None:
    run = tmp_path / "run"
    code, result, err = helpers.call(command(run, *tricks, **TEN))
    assert code == 0, err
    assert "tricks.adversarial_epsilon" in err
    fifth, tenth = (run / "checkpoints" / f"step-{step:08d}" for step in (5, 10))
    names = ("model.safetensors", "latest.safetensors", "optimizer.safetensors")
    before = [helpers.sha256(tenth / name) for name in names]
    best = run / "checkpoints" / f"step-{result['best']['step']:08d}"
    assert helpers.weights(run / "model") == helpers.weights(best)
    kept, latest = load_file(tenth / "model.safetensors"), load_file(tenth / "latest.safetensors")
    assert not torch.equal(kept["classifier.weight"], latest["classifier.weight"])
    assert json.loads((fifth / "state.json").read_text("utf-8"))["averaged"] == (5 if tricks is LOOP else 2)
    if tricks is LOOP:
        code, scored, err = helpers.call(["eval", str(run), "--data", str(small / "validation.jsonl"), "--cpu"])
        assert code == 0, err
        assert scored["metrics"]["log_loss"] == pytest.approx(result["metrics"]["log_loss"], abs=0.01)
    interrupted(run)
    code, _, err = helpers.call(command(run, "--resume", *tricks, **TEN))
    assert code == 0, err
    assert "continuing at step 5 of 10" in err
    assert [helpers.sha256(tenth / name) for name in names] == before


def test_two_processes_do_what_one_does(command: Command, tmp_path: Path) -> None:
    """Weights move by the gradients of both; dropout is on, since its masks do not depend on the processes."""
    five = {"max_steps": 5, "eval_steps": 5, "micro_batch_size": 3}
    tricks = ("tricks.adversarial=awp", "tricks.adversarial_lr=0.1", "tricks.r_drop=1", "tricks.average=ema")
    assert helpers.call(command(tmp_path / "one", *tricks, **five))[0] == 0
    ranks(command(tmp_path / "two", *tricks, **five), tmp_path)
    equal(tmp_path / "two", tmp_path / "one", within=1e-4)


def test_a_dry_run_measures_steps_with_all_that_begins_late(command: Command, tmp_path: Path) -> None:
    late = ("tricks.adversarial=awp", "tricks.adversarial_start=0.9", "tricks.average=swa")
    code, result, err = helpers.call(command(tmp_path / "run", "--dry-run", *late))
    assert code == 0, err
    said = "awp (epsilon 0.01) from 90% of the steps on, mean of the weights from 50% of the steps on"
    assert result["plan"]["tricks"] == said and result["measured"]["seconds"] > 0


def recipe(task: str, **sections: Any) -> Any:
    return build({"task": task, **sections})


@pytest.mark.parametrize(
    ("task", "sections", "message"),
    [
        ("lm", {"tricks": {"r_drop": 1}}, "which lm does not have"),
        ("classify", {"tricks": {"r_drop": 1}, "classify": {"target": "regression"}}, "classify of numbers"),
        ("qa", {"tricks": {"adversarial": "fgm"}, "lora": {"rank": 4}}, "with lora.rank they have none"),
        ("qa", {"tricks": {"adversarial": "fgm"}, "train": {"freeze_layers": 0}}, "with train.freeze_layers"),
        ("nli", {"tricks": {"average": "ema"}, "train": {"distributed": "fsdp"}}, "train.distributed=fsdp"),
    ],
)
def test_what_does_not_go_together_is_refused(task: str, sections: dict[str, Any], message: str) -> None:
    made = recipe(task, **sections)
    with pytest.raises(UsageError, match=message):
        check_tricks(made, task_class(task)(made.settings))


def test_labels_that_turn_out_to_be_numbers_are_refused(command: Command, small: Path, tmp_path: Path) -> None:
    rows = [{**row, "label": number / 7} for number, row in enumerate(helpers.rows(40))]
    data = tmp_path / "numbers.jsonl"
    data.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    arguments = [str(data) if a == str(small / "train.jsonl") else a for a in command(tmp_path / "run")]
    arguments = [str(data) if a == str(small / "validation.jsonl") else a for a in arguments]
    code, result, _ = helpers.call([*arguments, "tricks.r_drop=1"])
    assert code == 2 and "classify of numbers" in result["error"]["message"]


def test_what_is_set_and_does_nothing_is_said() -> None:
    def idle(**values: Any) -> list[str]:
        made = recipe("classify", tricks=values, dropout=0.0, attention_dropout=0.0)
        return [line.partition(" ")[0] for line in without_effect(made, task_class("classify")(made.settings))]

    assert idle(ema_decay=0.9, swa_start=0.1, adversarial_start=0.5) == [
        "tricks.adversarial_start",
        "tricks.ema_decay",
        "tricks.swa_start",
    ]
    assert idle(adversarial="fgm", adversarial_lr=0.1, average="ema", ema_decay=0.9) == ["tricks.adversarial_lr"]
    assert idle(r_drop=0.5) == ["tricks.r_drop"]
    off = recipe("classify")
    assert tricks_text(off.tricks, 0.0) == "" and without_effect(off, task_class("classify")(off.settings)) == []
