"""Going on with a run: what must not go on is refused by name. What kills lead to, the drills FD02 to FD04 show."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import engine_helpers as helpers
import pytest
import torch

from hfkit.engine.checkpoint import read_state
from hfkit.engine.train import Training
from hfkit.files import write_json
from hfkit.lock import Hold
from hfkit.models.manifest import write_manifest
from hfkit.run import Run
from hfkit.verbs.finetune.fit import Fit
from hfkit.verbs.finetune.validation import Validation

Command = Callable[..., list[str]]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the first test leaves a run for the others."""
    return tmp_path_factory.mktemp("trained") / "run"


@pytest.fixture
def finished(command: Command, tmp_path: Path, trained: Path) -> Path:
    """An uninterrupted run of 12 steps."""
    if not trained.exists():
        code, result, err = helpers.call(command(trained, max_steps=12, eval_steps=4))
        assert code == 0, err
        assert result["best"]["step"] in (4, 8, 12)
    return Path(shutil.copytree(trained, tmp_path / "run"))


def test_a_finished_run_says_the_same_again(command: Command, finished: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in finished.rglob("*") if path.is_file()}
    first = json.loads((finished / "run.json").read_text("utf-8"))["result"]
    code, result, err = helpers.call(command(finished, "--resume", max_steps=12, eval_steps=4))
    assert code == 0
    assert result == {"command": "finetune", "ok": True, **first}
    assert "is done" in err
    assert before == {path: path.stat().st_mtime_ns for path in finished.rglob("*") if path.is_file()}


def interrupted(run: Path, *, after: int) -> None:
    """Make a finished run look as if it had been killed after a step."""
    shutil.rmtree(run / "model")
    for path in (run / "checkpoints").iterdir():
        if int(path.name[-8:]) > after:
            shutil.rmtree(path)
    facts = json.loads((run / "run.json").read_text("utf-8"))
    facts.pop("result")
    (run / "run.json").write_text(json.dumps({**facts, "status": "running"}), encoding="utf-8")


def test_a_changed_recipe_is_refused_by_key(command: Command, finished: Path) -> None:
    interrupted(finished, after=8)
    code, result, _ = helpers.call(command(finished, "--resume", max_steps=12, eval_steps=4, lr=0.01))
    assert code == 2
    assert "train.lr: 0.001 -> 0.01" in result["error"]["message"]
    assert "train.seed" not in result["error"]["message"]
    code, _, _ = helpers.call(
        command(finished, "--resume", max_steps=12, eval_steps=4, save_minutes=3, keep_checkpoints=5)
    )
    assert code == 0  # when to save is no part of what is computed


def test_changed_data_is_refused(command: Command, small: Path, tmp_path: Path, finished: Path) -> None:
    interrupted(finished, after=8)
    other = helpers.write_rows(tmp_path / "train.jsonl", 61)
    arguments = [
        str(other) if argument == str(small / "train.jsonl") else argument
        for argument in command(finished, max_steps=12, eval_steps=4)
    ]
    code, result, _ = helpers.call([*arguments, "--resume"])
    assert code == 2 and "data.train" in result["error"]["message"]
    facts = json.loads((finished / "run.json").read_text("utf-8"))
    facts["data"]["train"]["fingerprint"] = "0" * 64
    (finished / "run.json").write_text(json.dumps(facts), encoding="utf-8")
    code, result, _ = helpers.call(command(finished, "--resume", max_steps=12, eval_steps=4))
    assert code == 2 and "train data changed" in result["error"]["message"]


@pytest.mark.parametrize(
    ("key", "value", "named"),
    [
        ("tokenizer_sha256", "0" * 64, "the tokenizer changed"),
        ("model_sha256", "0" * 64, "the model's weights changed"),
        ("settings", {"labels": ["salt", "bread"]}, "classify.labels: ['salt', 'bread'] -> ['bread', 'salt']"),
        ("settings", {"max_length": 5}, "classify.max_length: 5 -> "),
    ],
)
def test_what_changed_beneath_is_named(command: Command, finished: Path, key: str, value: Any, named: str) -> None:
    interrupted(finished, after=8)
    facts = json.loads((finished / "run.json").read_text("utf-8"))
    facts[key] = {**facts[key], **value} if isinstance(value, dict) else value
    (finished / "run.json").write_text(json.dumps(facts), encoding="utf-8")
    code, result, _ = helpers.call(command(finished, "--resume", max_steps=12, eval_steps=4))
    assert code == 2 and named in result["error"]["message"]


def test_what_may_change_on_the_way(command: Command, finished: Path) -> None:
    weights = helpers.weights(finished / "checkpoints/step-00000012")
    interrupted(finished, after=8)
    facts = json.loads((finished / "run.json").read_text("utf-8"))
    (finished / "run.json").write_text(json.dumps({**facts, "world": 4}), encoding="utf-8")
    code, _, err = helpers.call(command(finished, "--resume", max_steps=12, eval_steps=3, save_steps=1))
    assert code == 0
    assert "train.eval_steps: 4 -> 3" in err and "the number of processes was 4 when the run began and is 1 now" in err
    assert helpers.weights(finished / "checkpoints/step-00000012") == weights
    assert "eval_steps: 3" in (finished / "recipe.yaml").read_text("utf-8")
    assert json.loads((finished / "run.json").read_text("utf-8"))["world"] == 1


def test_one_thread_for_want_of_memory_stays_one(
    command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two threads add gradients up in another order than one, so a resumed run that took two again would be another."""
    honest, threads = Training._pass, []

    def scarce(self: Training, step: int, *others: Any, **named: Any) -> torch.Tensor:
        threads.append(self.threads)
        if step == 0 and self.threads == 2:
            raise MemoryError
        return honest(self, step, *others, **named)

    monkeypatch.setattr(Training, "_pass", scarce)
    run = tmp_path / "run"
    given = {"max_steps": 6, "eval_steps": 3, "micro_batch_size": 1, "keep_checkpoints": 9}
    torch.set_num_threads(2)  # the fixture of all these tests sets back to one
    code, _, err = helpers.call(command(run, **given))
    assert code == 0 and "repeated on one" in err and threads == [2] + [1] * 6
    (last,) = (run / "checkpoints").glob("*06")
    whole = helpers.weights(last)
    interrupted(run, after=3)
    code, _, err = helpers.call(command(run, "--resume", **given))
    assert code == 0, err
    assert threads[7:] == [1] * 3 and helpers.weights(last) == whole


def test_losses_are_measured_by_the_first_of_all(command: Command, finished: Path) -> None:
    steps = [event for event in Run(finished).events() if event["kind"] == "step"]
    interrupted(finished, after=8)
    assert helpers.call(command(finished, "--resume", max_steps=12, eval_steps=4))[0] == 0
    last = read_state(finished / "checkpoints" / "step-00000012")
    assert steps[0]["step"] == 1 and last["outcomes"]["first_loss"] == steps[0]["fields"]["loss"]


def test_a_checkpoint_without_the_first_loss_is_resumed(command: Command, finished: Path) -> None:
    interrupted(finished, after=8)
    path = finished / "checkpoints" / "step-00000008"
    write_json(path / "state.json", {key: value for key, value in read_state(path).items() if key != "outcomes"})
    (path / "manifest.json").unlink()
    write_manifest(path, {"step": 8})
    code, _, err = helpers.call(command(finished, "--resume", max_steps=12, eval_steps=4))
    assert code == 0 and "continuing at step 8" in err


def test_a_damaged_checkpoint_is_passed_over_by_name(command: Command, finished: Path) -> None:
    weights = helpers.weights(finished / "model")
    interrupted(finished, after=12)
    steps = sorted((finished / "checkpoints").iterdir())
    assert len(steps) >= 2
    (steps[-1] / "optimizer.safetensors").unlink()
    code, _, err = helpers.call(command(finished, "--resume", max_steps=12, eval_steps=4))
    assert code == 0
    assert "step-00000012: optimizer.safetensors is missing" in err
    assert helpers.weights(finished / "model") == weights


def test_no_valid_checkpoint_is_an_error_and_nothing_is_deleted(command: Command, finished: Path) -> None:
    interrupted(finished, after=12)
    for path in (finished / "checkpoints").iterdir():
        (path / "model.safetensors").write_bytes(b"")
    before = sorted(finished.rglob("*"))
    code, result, _ = helpers.call(command(finished, "--resume", max_steps=12, eval_steps=4))
    assert code == 4 and "no checkpoint is valid" in result["error"]["message"]
    assert sorted(finished.rglob("*")) == before


def test_nothing_to_resume_starts(command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    code, result, err = helpers.call(command(tmp_path / "new", "--resume", max_steps=2))
    assert code == 0 and result["steps"] == 2
    monkeypatch.setenv("HFKIT_RUNS", str(tmp_path / "runs"))
    code, first, err = helpers.call(command(None, "--resume", max_steps=2))
    assert code == 0, err
    code, again, err = helpers.call(command(None, "--resume", max_steps=2))
    assert code == 0 and again["run"] == first["run"] and "is done" in err
    code, other, err = helpers.call(command(None, "--resume", max_steps=3))
    assert code == 0 and other["run"] != first["run"]


def test_a_run_killed_in_its_first_moment_starts_again(command: Command, tmp_path: Path) -> None:
    run = tmp_path / "run"
    run.mkdir()
    (run / ".probe").write_text("x", encoding="utf-8")
    (run / ".run.json.0123abcd.tmp").write_text("{", encoding="utf-8")
    assert helpers.call(command(run, "--resume", max_steps=1))[0] == 0
    interrupted(run, after=0)
    (run / "recipe.yaml").unlink()
    (run / "events.jsonl").write_text('{"kind": "note"}\n{"kind": "no', encoding="utf-8")
    assert helpers.call(command(run, "--resume", max_steps=1))[0] == 0
    assert (run / "recipe.yaml").exists()
    lines = (run / "events.jsonl").read_text("utf-8").splitlines()
    assert json.loads(lines[0])["kind"] == "note"


def test_a_folder_that_is_taken(command: Command, tmp_path: Path) -> None:
    folder = tmp_path / "mine"
    folder.mkdir()
    (folder / "thesis.txt").write_text("precious", encoding="utf-8")
    assert helpers.call(command(folder))[0] == 2
    assert helpers.call(command(folder, "--resume"))[0] == 2
    assert helpers.call(command(folder, "--overwrite"))[0] == 2
    assert [path.name for path in folder.iterdir()] == ["thesis.txt"]


def test_a_folder_in_use_is_refused(command: Command, tmp_path: Path, finished: Path) -> None:
    interrupted(finished, after=8)
    before = {path: path.stat().st_mtime_ns for path in finished.rglob("*") if path.is_file()}
    with Hold() as hold:
        hold.take(finished)
        for flag in ("--resume", "--overwrite"):
            code, result, _ = helpers.call(command(finished, flag, max_steps=12, eval_steps=4))
            assert code == 2 and "in use by process" in result["error"]["message"]
        (tmp_path / "new").mkdir()
        other = Hold()
        other.take(tmp_path / "new")
        assert helpers.call(command(tmp_path / "new", "--resume", max_steps=1))[0] == 2
        other.__exit__()
        (finished / ".lock").unlink()
    assert {path: path.stat().st_mtime_ns for path in finished.rglob("*") if path.is_file()} == before


def test_a_killed_run_does_not_stay_running(
    command: Command, tmp_path: Path, finished: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HFKIT_RUNS", str(finished.parent))

    def status() -> str:
        return helpers.call(["runs", "list"])[1]["runs"][0]["status"]

    assert status() == "done"
    interrupted(finished, after=8)
    assert status() == "interrupted"
    with Hold() as hold:
        hold.take(finished)
        assert status() == "running"


def test_the_evaluation_that_stays_is_that_of_the_model(
    command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed behind a better evaluation and before its checkpoint, and never evaluated at that step again."""
    run = tmp_path / "run"
    folder, better, save = run / "eval" / "validation", [True, True, False], Fit._save
    seen: dict[int, dict[str, bytes]] = {}

    def killed_at_4(fit: Fit, of: Run) -> Any:
        seen[fit.step] = {path.name: path.read_bytes() for path in folder.iterdir()}
        if fit.step == 4:
            raise KeyboardInterrupt
        return save(fit, of)

    monkeypatch.setattr(Validation, "_is_better", lambda *_: better.pop(0))
    with monkeypatch.context() as patch:
        patch.setattr(Fit, "_save", killed_at_4)
        assert helpers.call(command(run, max_steps=6, eval_steps=2))[0] == 130
    assert sorted(seen[2]) == ["columns.json", "metrics.json", "predictions.jsonl"]
    assert json.loads((folder / "metrics.json").read_text("utf-8"))["step"] == 4
    code, result, err = helpers.call(command(run, "--resume", max_steps=6, eval_steps=6))
    assert code == 0 and result["best"]["step"] == 2 and not better, err
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == seen[2]
    assert seen[4]["predictions.jsonl"] != seen[2]["predictions.jsonl"]
    assert helpers.weights(run / "model") == helpers.weights(run / "checkpoints/step-00000002")


def test_an_evaluation_that_is_lost_leaves_no_other_in_its_place(tmp_path: Path) -> None:
    """Of checkpoints that were written before they held any."""
    run, validation = Run(tmp_path), Validation(None, None)  # type: ignore[arg-type]
    validation.best = {"step": 2, "metrics": {"accuracy": 50.0}, "ci95": (40.0, 60.0)}
    write_json(tmp_path / "eval/validation/metrics.json", validation.best)
    assert list(validation.settle(run)) == [] and (tmp_path / "eval/validation").exists()
    validation.best = {**validation.best, "step": 4}
    (event,) = validation.settle(run)
    assert event.kind == "warning" and "predictions of step 4 are lost" in event.fields["text"]
    assert not (tmp_path / "eval/validation").exists()
