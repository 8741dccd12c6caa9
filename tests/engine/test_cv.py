"""Cross-validation on a tiny model: killed and resumed it is the same to the bit; out-of-fold rows exactly once."""

from __future__ import annotations

import importlib
import json
import os
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import engine_helpers as helpers
import pytest

from hfkit.engine.processes import jobs
from hfkit.errors import Stopped, UsageError


@pytest.fixture
def crossing(small: Path, tmp_path: Path) -> Callable[..., list[str]]:
    """Arguments of a cross-validation of two folds: crossing(output, flag, ..., key=value, ...)."""

    def arguments(output: Path, *extra: str, rows: Path | None = None, **train: object) -> list[str]:
        keys = {"max_steps": 4, "batch_size": 8, "lr": 0.001, "precision": "float32", "eval_steps": 2, **train}
        words = [f"train.{key}={value}" for key, value in keys.items()]
        data = ["--train", str(rows or small / "train.jsonl"), "--model", str(small / "bert")]
        start = ["cv", str(helpers.recipe_file(tmp_path)), "--folds", "2", "-o", str(output), "--cpu"]
        return [*start, *data, *words, *extra]

    return arguments


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


def test_killed_and_resumed_it_equals_the_uninterrupted_one(
    crossing: Callable[..., list[str]], small: Path, tmp_path: Path
) -> None:
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    code, expected, err = helpers.call(crossing(whole, save_steps=1))
    assert code == 0, err
    process = helpers.start(crossing(cut, save_steps=1), tmp_path / "log")
    reached = cut / "fold-1-seed-42" / "checkpoints" / "step-00000002" / "manifest.json"
    deadline = time.monotonic() + 300
    while not reached.exists() and process.is_alive() and time.monotonic() < deadline:
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    assert reached.exists() and not (cut / "cv.json").exists(), (tmp_path / "log.err").read_text("utf-8")
    finished = (cut / "fold-0-seed-42" / "model" / "model.safetensors").stat().st_mtime_ns

    code, result, err = helpers.call(crossing(cut, "--resume", save_steps=1))
    assert code == 0, err
    assert (cut / "oof.jsonl").read_bytes() == (whole / "oof.jsonl").read_bytes()
    for name in ("fold-0-seed-42", "fold-1-seed-42"):
        assert helpers.weights(cut / name / "model") == helpers.weights(whole / name / "model")
    assert (cut / "fold-0-seed-42" / "model" / "model.safetensors").stat().st_mtime_ns == finished
    for name in ("metrics", "ci95", "mean", "spread", "of_seeds"):
        assert result[name] == expected[name], name

    found = lines(whole / "oof.jsonl")
    assert [item["id"] for item in found] == [str(number) for number in range(61)]
    for fold in (0, 1):
        held = {item["id"] for item in lines(whole / f"fold-{fold}-seed-42/eval/validation/predictions.jsonl")}
        assert held == {item["id"] for item in found if item["fold"] == fold}
    right = sum(
        item["prediction"] == row["label"] for item, row in zip(found, lines(small / "train.jsonl"), strict=True)
    )
    assert result["metrics"]["accuracy"] == pytest.approx(100 * right / 61)
    code, listed, _ = helpers.call(["compare", str(whole), str(cut)])
    assert code == 0 and listed["differences"]["accuracy"] == 0


def test_a_dry_run_shows_folds_and_time_and_leaves_nothing(crossing: Callable[..., list[str]], tmp_path: Path) -> None:
    folder = tmp_path / "cv"
    code, one, err = helpers.call(crossing(folder, "--dry-run"))
    assert code == 0 and not folder.exists(), err
    code, three, err = helpers.call(crossing(folder, "--dry-run", "--seeds", "3"))
    assert code == 0 and not folder.exists(), err
    assert one["fold_rows"] == three["fold_rows"] and sorted(one["fold_rows"]) == [30, 31]
    assert (one["runs"], three["runs"], one["at_once"]) == (2, 6, 1)
    assert one["seconds"] == 2 * one["measured"]["seconds"] and three["seconds"] == 6 * three["measured"]["seconds"]
    assert "fold 0" in err and "31 rows held out of 61" in err and "for 6 runs like fold" in err
    assert one["plan"]["steps"] == "4 of 8 examples (1 epoch)"


def test_seeds_are_averaged_and_rows_without_gold_left_out(
    crossing: Callable[..., list[str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As processes of their own would do it: their commands run here, one by one."""
    rows = helpers.rows(30)
    for number in (3, 17):
        rows[number] = {**rows[number], "label": "-1"}
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")

    def here(work: list[jobs.Job], slots: list[jobs.Slot]) -> Any:
        assert len(slots) == 2
        for job in reversed(work):
            code, answer, err = helpers.call([word for word in job.arguments if word != "--json"])
            assert code == 0, err
            yield job, answer

    monkeypatch.setattr(jobs, "run_jobs", here)
    out = tmp_path / "out"
    words = ["--seeds", "2", "--processes", "2", "classify.labels=[salt, bread]"]
    arguments = crossing(out, *words, rows=path, max_steps=1, eval_steps=1)
    code, result, err = helpers.call(arguments)
    assert code == 0, err
    assert result["unscored"] == 2 and result["rows"] == 28 and "2 rows of 30 have no gold label" in err
    assert [(run["seed"], run["fold"]) for run in result["folds"]] == [(42, 0), (42, 1), (43, 0), (43, 1)]
    assert set(result["spread"]) == {"folds", "seeds"} and result["seeds"] == [42, 43]
    mean, first, second = (lines(out / name) for name in ("oof.jsonl", "oof-seed-42.jsonl", "oof-seed-43.jsonl"))
    assert [item["id"] for item in mean] == [str(n) for n in range(30) if n not in (3, 17)]
    for item, one, other in zip(mean, first, second, strict=True):
        assert list(item["probabilities"]) == ["salt", "bread"]
        for name, value in item["probabilities"].items():
            assert value == pytest.approx((one["probabilities"][name] + other["probabilities"][name]) / 2)

    damaged = out / "fold-1-seed-43" / "eval" / "validation" / "predictions.jsonl"
    kept = lines(damaged)
    damaged.write_text("".join(json.dumps(item) + "\n" for item in kept[1:]), encoding="utf-8")
    monkeypatch.setattr(jobs, "run_jobs", here)
    code, result, _ = helpers.call([*arguments, "--resume"])
    assert code == 3 and "1 ids are not those of fold 1" in result["error"]["message"]
    facts = json.loads((out / "run.json").read_text("utf-8"))
    assert facts["status"] == "failed" and facts["exit_code"] == 3


def test_a_folder_found_by_its_name_goes_on_with_all_its_seeds(
    crossing: Callable[..., list[str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun: list[list[str]] = []

    def stopping(cells: Any, *given: Any, **how: Any) -> Any:
        begun.append([cell.name for cell in cells])
        raise Stopped("stopped by SIGTERM", code=143)
        yield

    monkeypatch.setattr(importlib.import_module("hfkit.verbs.cv"), "trained", stopping)
    monkeypatch.setenv("HFKIT_RUNS", str(tmp_path / "runs"))
    words = crossing(tmp_path / "out")
    place = words.index("-o")
    words = [*words[:place], *words[place + 2 :]]
    assert helpers.call([*words, "--seeds", "2"])[0] == 143
    assert helpers.call([*words, "--resume"])[0] == 143
    assert begun[0] == begun[1] == [f"fold-{fold}-seed-{seed}" for seed in (42, 43) for fold in (0, 1)]
    (folder,) = (tmp_path / "runs").iterdir()
    assert json.loads((folder / "run.json").read_text("utf-8"))["seeds"] == [42, 43]


def job(*arguments: str) -> jobs.Job:
    return jobs.Job(arguments[0], [*arguments, "--json"])


def test_jobs_take_turns_on_the_slots() -> None:
    work = [job("recipes", "list"), job("help", "qa"), job("recipes", "show", "qa")]
    answers = {one.arguments[1]: answer for one, answer in jobs.run_jobs(work, [{}, {"HFKIT_RUNS": "x"}])}
    assert set(answers) == {"list", "qa", "show"}
    assert all(answer["ok"] for answer in answers.values())


def test_the_error_of_a_job_is_raised_and_ends_the_others(tmp_path: Path) -> None:
    work = [job("recipes", "show", "nothing"), job("help", "qa"), job("recipes", "list")]
    with pytest.raises(UsageError, match="no recipe named 'nothing'"):
        list(jobs.run_jobs(work, [{}]))


def test_a_request_to_stop_is_handed_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jobs, "asked", lambda: "SIGTERM")
    with pytest.raises(Stopped) as caught:
        list(jobs.run_jobs([job("recipes", "list")], [{}]))
    assert caught.value.code == 143


def test_a_signal_that_comes_while_a_process_is_started_reaches_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is no child yet when the handler looks for children, and too young to say that it was stopped."""
    started: list[Any] = []
    popen = jobs.subprocess.Popen

    def asked_meanwhile(command: list[str], **given: Any) -> Any:
        started.append(popen([*command[:1], "-c", "import time; time.sleep(60)"], **given))
        os.kill(os.getpid(), signal.SIGTERM)
        return started[-1]

    monkeypatch.setattr(jobs.subprocess, "Popen", asked_meanwhile)
    begun = time.monotonic()
    with pytest.raises(Stopped, match="stopped by SIGTERM and saved") as caught:
        list(jobs.run_jobs([job("recipes", "list"), job("help", "qa")], [{}]))
    assert caught.value.code == 143 and len(started) == 1, "no other was started"
    assert started[0].returncode == -signal.SIGTERM and time.monotonic() - begun < 40


def test_slots(monkeypatch: pytest.MonkeyPatch) -> None:
    assert jobs.slots_for(cpu=True, processes=None) == [{}]  # the threads are set already
    monkeypatch.delenv("OMP_NUM_THREADS")
    monkeypatch.setattr(jobs, "cpus", lambda: 8)
    assert jobs.slots_for(cpu=True, processes=4) == [{"OMP_NUM_THREADS": "2"}] * 4
    monkeypatch.setattr(jobs.torch.cuda, "device_count", lambda: 2)
    assert jobs.slots_for(cpu=False, processes=None) == [{"CUDA_VISIBLE_DEVICES": "0"}, {"CUDA_VISIBLE_DEVICES": "1"}]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "5,7")
    assert jobs.slots_for(cpu=False, processes=1) == [{"CUDA_VISIBLE_DEVICES": "5"}]
    with pytest.raises(UsageError, match="this machine has 2 GPUs"):
        jobs.slots_for(cpu=False, processes=3)


def test_a_process_without_a_word_counts_as_stopped_when_all_were_asked_to() -> None:
    """A second Ctrl-C ends a child at once, before it prints anything."""
    process = jobs.subprocess.Popen([sys.executable, "-c", "raise SystemExit(130)"])
    process.wait()
    with tempfile.TemporaryFile() as out:
        one = jobs._Running(job("help", "qa"), {}, process, out)
        assert one.answer("SIGINT")["error"]["code"] == 130
        assert one.answer(None)["error"]["code"] == 5
