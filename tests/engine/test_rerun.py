"""Runs repeated and compared: the same bits from run.json and recipe.yaml, and every difference said."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import engine_helpers as helpers
import pytest

Command = Callable[..., list[str]]


@pytest.fixture
def runs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setenv("HFKIT_RUNS", str(tmp_path / "runs"))
    return tmp_path / "runs"


def test_a_run_is_repeated_to_the_bit(command: Command, runs: Path) -> None:
    code, _, err = helpers.call(command(runs / "a", eval_steps=4))
    assert code == 0, err
    code, again, err = helpers.call(["runs", "rerun", "a"])
    assert code == 0, err
    assert again["same"] == {"weights": True, "metrics": True} and again["changed"] == {}
    assert again["rerun_of"] == str(runs / "a") and Path(again["run"]).parent == runs
    assert "weights are equal bit by bit, scores are equal" in err
    assert all(pair["difference"] == 0 for pair in again["metrics_beside"].values())
    assert helpers.weights(Path(again["run"]) / "model") == helpers.weights(runs / "a" / "model")
    code, same, _ = helpers.call(["runs", "diff", "a", again["run"]])
    assert code == 0 and all(same[part] == {} for part in ("recipe", "resolved", "versions", "facts", "data"))
    assert same["evaluations"]["validation"]["verdict"].startswith("a and b do not differ")
    code, refused, _ = helpers.call(["runs", "rerun", "a", "-o", str(runs / "a"), "--overwrite"])
    assert code == 2 and "the run to be repeated" in refused["error"]["message"]


def test_what_is_not_as_it_was_is_said(command: Command, runs: Path, small: Path, tmp_path: Path) -> None:
    data = Path(shutil.copy(small / "train.jsonl", tmp_path / "own.jsonl"))
    arguments = command(runs / "a", max_steps=2)
    arguments[arguments.index("--train") + 1] = str(data)
    code, _, err = helpers.call(arguments)
    assert code == 0, err
    helpers.write_rows(data, 40)
    facts = json.loads((runs / "a" / "run.json").read_text("utf-8"))
    (runs / "a" / "run.json").write_text(json.dumps({**facts, "versions": {**facts["versions"], "torch": "2.0"}}))
    code, again, err = helpers.call(["runs", "rerun", "a", "-o", str(runs / "b")])
    assert code == 0, err
    assert set(again["changed"]) == {"version of torch", "train data"}
    assert "warning: version of torch was 2.0 and is" in err
    assert again["same"]["weights"] is False and "weights are not equal" in err


def test_two_runs_beside_each_other(command: Command, runs: Path, small: Path, capsys) -> None:
    assert helpers.call(command(runs / "a", max_steps=4))[0] == 0
    assert helpers.call(command(runs / "b", max_steps=4, lr=0.003))[0] == 0
    code, found, err = helpers.call(["runs", "diff", "a", "b"])
    assert code == 0, err
    assert found["recipe"] == {"train.lr": [0.001, 0.003]} and found["data"] == found["versions"] == {}
    compared = found["evaluations"]["validation"]
    metrics = found["metrics"]["accuracy"]
    assert compared["differences"]["accuracy"] == pytest.approx(metrics["b"] - metrics["a"])
    assert compared["slices"]
    other = command(runs / "c", max_steps=4)
    other[other.index("--validation") + 1] = str(small / "train.jsonl")
    assert helpers.call(other)[0] == 0
    code, found, err = helpers.call(["runs", "diff", "a", "c"])
    assert code == 0, err
    assert "not compared row by row" in err and "validation.fingerprint" in found["data"]
    parts = next(iter(found["evaluations"]["validation"]["slices"].values()))
    assert all(len(part["rows"]) == 2 and set(part["metrics"]) == {"accuracy"} for part in parts.values())
    from hfkit.report.runs import diff_text

    text = diff_text(found)
    assert "validation.fingerprint" in text and "evaluation validation\nslice" in text
