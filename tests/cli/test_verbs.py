"""The verbs that only look: recipes, runs, doctor and help, through the command line."""

from __future__ import annotations

import json
import re
import socket
import threading
import time
import tomllib
from pathlib import Path

import pytest

from hfkit.cli import main
from hfkit.verbs import doctor, guide

ROOT = Path(__file__).resolve().parents[2]
RECIPE = "# hfkit finetune mine\n# Answers to our questions.\ntask: qa\ntrain: {lr: 0.0002}\n"


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("RANK", "SLURM_NTASKS", "HFKIT_RUNS", "HF_ENDPOINT", "CUDA_VISIBLE_DEVICES", *doctor.OFFLINE):
        monkeypatch.setenv(name, "")  # so that what --offline sets is undone too
        monkeypatch.delenv(name)


def run(capsys, *arguments: str) -> tuple[int, str, str]:
    code = main(list(arguments))
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def run_json(capsys, *arguments: str) -> dict:
    code, out, _ = run(capsys, *arguments, "--json")
    shown = json.loads(out)
    assert code == (0 if shown["ok"] else shown["error"]["code"])
    return shown


# ---- recipes


@pytest.fixture
def mine(tmp_path):
    path = tmp_path / "recipes" / "mine.yaml"
    path.parent.mkdir()
    path.write_text(RECIPE, encoding="utf-8")
    return path


def test_recipes_list_shows_those_here_and_the_shipped_ones(mine, capsys):
    (mine.parent / "broken.yaml").write_text("task: [", encoding="utf-8")
    code, out, err = run(capsys, "recipes", "list")
    assert code == 0
    assert re.search(r"^mine +qa +starter +Answers to our questions\.$", out, re.MULTILINE)
    assert "broken.yaml: not a recipe" in err
    listed = run_json(capsys, "recipes", "list")["recipes"]
    assert [recipe["name"] for recipe in listed] == sorted(recipe["name"] for recipe in listed)
    assert {"name", "task", "model", "about", "path"} == set(listed[0])


def test_recipes_show_prints_the_file(mine, capsys):
    assert run(capsys, "recipes", "show", "mine")[1] == RECIPE
    assert run_json(capsys, "recipes", "show", "mine")["recipe"]["train"]["lr"] == 0.0002


def test_recipes_show_keys_has_every_key_with_value_and_help(mine, capsys):
    keys = {key["key"]: key for key in run_json(capsys, "recipes", "show", "mine", "--keys")["keys"]}
    assert keys["train.lr"]["value"] == 0.0002
    assert keys["train.lr"]["default"] == "auto"
    assert keys["qa.stride"]["value"] == 128
    assert {"task", "model", "data.train", "generate.top_p", "scratch.vocab_size"} <= set(keys)
    assert all(key["help"] for key in keys.values())
    out = run(capsys, "recipes", "show", "mine", "--keys", "--set", "qa.stride=64")[1]
    assert re.search(r"^qa\.stride = 64 +int, >= 0; default 128\n    \S", out, re.MULTILINE)
    assert max(map(len, out.splitlines())) <= 80


@pytest.mark.parametrize(
    ("key", "kind", "limits"),
    [
        ("train.lr", "auto | float", "> 0"),
        ("train.max_steps", "int | null", "> 0"),
        ("train.schedule", "linear | cosine | constant", None),
        ("train.eval_steps", "auto | int | null", "> 0"),
        ("data.validation_share", "float", "> 0, < 1"),
        ("data.folds", "int | null", ">= 2"),
        ("data.columns", "dict[str, str | list[str]]", None),
        ("generate.top_p", "auto | float", "> 0, <= 1"),
        ("tricks.average", "ema | swa | null", None),
    ],
)
def test_recipes_show_keys_has_types_and_ranges(mine, capsys, key, kind, limits):
    found = next(k for k in run_json(capsys, "recipes", "show", "mine", "--keys")["keys"] if k["key"] == key)
    assert (found["type"], found["range"], found["required"]) == (kind, limits, False)


def test_recipes_copy_writes_once(mine, tmp_path, capsys):
    code, _, err = run(capsys, "recipes", "copy", "mine", "own.yaml")
    assert code == 0
    assert (tmp_path / "own.yaml").read_text(encoding="utf-8") == RECIPE
    assert "hfkit finetune own.yaml" in err
    code, _, err = run(capsys, "recipes", "copy", "mine", "own.yaml")
    assert code == 2
    assert "own.yaml is there already" in err
    assert run(capsys, "recipes", "copy", "mine", "own.txt")[0] == 2


# ---- runs


def make_run(folder: Path, name: str, **facts) -> Path:
    path = folder / name
    (path / "eval" / "dev-1a2b").mkdir(parents=True)
    best = {"step": 200, "metrics": {"f1": 71.25, "exact_match": 59.5}}
    content = {
        "status": "done",
        "task": "qa",
        "model": "starter",
        "started": 1.7e9,
        "attempt": 1,
        "best": best,
        **facts,
    }
    (path / "run.json").write_text(json.dumps(content), encoding="utf-8")
    events = [
        {"kind": "resolved", "fields": {"key": "train.lr", "value": 0.0001, "why": "small"}},
        {"kind": "warning", "fields": {"text": "3 left out"}},
        {"kind": "scored", "step": 200, "fields": {"name": "validation", "metrics": {"f1": 71.25}}},
    ]
    lines = "".join(json.dumps(event) + "\n" for event in events)
    (path / "events.jsonl").write_text(lines + '{"kind": "st', encoding="utf-8")
    (path / "eval" / "dev-1a2b" / "metrics.json").write_text('{"metrics": {"f1": 70.5}, "rows": 10}', encoding="utf-8")
    return path


def test_runs_list_is_newest_first(tmp_path, capsys):
    make_run(tmp_path / "runs", "20260101-100000-qa-x-00000001")
    make_run(tmp_path / "runs", "20260102-100000-nli-x-00000002", task="nli", status="failed", best=None)
    (tmp_path / "runs" / "other").mkdir()
    out = run(capsys, "runs", "list")[1].splitlines()
    assert [line.split()[:3] for line in out[1:]] == [
        ["20260102-100000-nli-x-00000002", "failed", "nli"],
        ["20260101-100000-qa-x-00000001", "done", "qa"],
    ]
    assert re.search(r"f1 +71\.25", out[2])
    assert len(run_json(capsys, "runs", "list")["runs"]) == 2


@pytest.mark.parametrize("name", ["last:qa", "00000001", "qa-x", "runs/20260101-100000-qa-x-00000001"])
def test_runs_show_finds_a_run(name, tmp_path, capsys):
    make_run(tmp_path / "runs", "20260101-100000-qa-x-00000001", started=2.0)
    make_run(tmp_path / "runs", "20260102-100000-nli-x-00000002", task="nli", started=3.0)
    shown = run_json(capsys, "runs", "show", name)["run"]
    assert shown["name"] == "20260101-100000-qa-x-00000001"
    assert shown["resolved"] == {"train.lr": 0.0001}
    assert shown["warnings"] == ["3 left out"]
    assert shown["attempts"] == 2
    assert shown["evaluations"][0]["metrics"] == {"f1": 70.5}
    out = run(capsys, "runs", "show", name)[1]
    assert "f1 71.25" in out
    assert "dev-1a2b: f1 70.50" in out


def test_runs_show_names_what_does_not_fit(tmp_path, capsys):
    make_run(tmp_path / "runs", "a-1")
    make_run(tmp_path / "runs", "a-2")
    code, _, err = run(capsys, "runs", "show", "a-")
    assert code == 2
    assert "a-1" in err
    assert run(capsys, "runs", "show", "b")[0] == 2
    assert run(capsys, "runs", "show", "last:nli")[0] == 2
    (tmp_path / "runs" / "a-1" / "run.json").write_text("{", encoding="utf-8")
    code, _, err = run(capsys, "runs", "show", "a-1")
    assert code == 2
    assert "run.json" in err


# ---- help


def test_guides_are_listed_and_shown(tmp_path, monkeypatch, capsys):
    (tmp_path / "memory.md").write_text("# Out of memory\n\nTry less.\n", encoding="utf-8")
    monkeypatch.setattr(guide, "FOLDER", tmp_path)
    assert re.search(r"^memory +Out of memory$", run(capsys, "help")[1], re.MULTILINE)
    assert run(capsys, "help", "memory")[1] == "# Out of memory\n\nTry less.\n"
    code, _, err = run(capsys, "help", "memry")
    assert code == 2
    assert "`hfkit help memory`" in err
    assert "Usage: hfkit eval" in run(capsys, "help", "eval")[1]
    assert "Usage: hfkit eval" in run_json(capsys, "help", "eval")["text"]


# ---- doctor


def test_doctor_says_all_is_well_here(monkeypatch, capsys):
    monkeypatch.setattr(doctor, "probe", lambda endpoint: None)
    shown = run_json(capsys, "doctor")
    names = [check["name"] for check in shown["checks"]]
    assert {"python", "torch", "transformers", "datasets", "accelerate", "cpu", "runs", "cache", "hub"} <= set(names)
    assert all(set(check) == {"name", "status", "found", "hint"} for check in shown["checks"])
    code, out, _ = run(capsys, "doctor")
    assert code == 0
    assert re.search(r"^ok +torch +\d", out, re.MULTILINE)


def test_doctor_fails_when_hfkit_cannot_run(monkeypatch, capsys):
    monkeypatch.setattr(doctor, "probe", lambda endpoint: None)
    monkeypatch.setitem(doctor.FLOORS, "typer", "99.0")
    monkeypatch.setitem(doctor.FLOORS, "nosuchpackage", "1.0")
    shown = run_json(capsys, "doctor")
    assert shown["ok"] is False
    assert shown["error"]["code"] == 2
    failures = {check["name"]: check for check in shown["checks"] if check["status"] == "failure"}
    assert set(failures) == {"typer", "nosuchpackage"}
    assert failures["nosuchpackage"]["hint"] == "pip install 'nosuchpackage>=1.0'"


def test_floors_are_those_of_the_package():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    wanted = dict(re.match(r"([a-z]+)>=([0-9.]+)", text).groups() for text in project["dependencies"])
    assert wanted == doctor.FLOORS
    assert set(doctor.EXTRAS) == set(project["optional-dependencies"]) - {"test"}


def test_versions_compare_as_numbers():
    assert doctor.numbers("2.13.0+cpu") == (2, 13) > doctor.numbers("2.9.1")


def test_the_hub_is_not_asked_offline(monkeypatch, capsys):
    monkeypatch.setattr(doctor, "probe", lambda endpoint: pytest.fail("asked"))
    hub = run_json(capsys, "doctor", "--offline")["checks"][-1]
    assert hub["found"] == "not asked: --offline"
    monkeypatch.delenv("HF_DATASETS_OFFLINE", raising=False)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    [found] = doctor.network(False)
    assert "HF_HUB_OFFLINE=1" in found.found
    monkeypatch.setenv("HF_HUB_OFFLINE", "0")  # which the libraries take for no
    monkeypatch.setattr(doctor, "probe", lambda endpoint: None)
    assert doctor.network(offline=False)[0].found.endswith("answers")


def test_a_hub_that_does_not_answer_names_a_mirror(monkeypatch):
    monkeypatch.setattr(doctor, "probe", lambda endpoint: "does not answer within 5 s")
    [found] = doctor.network(False)
    assert found.status == "warning"
    assert doctor.MIRROR in found.hint
    monkeypatch.setenv("HF_ENDPOINT", "http://localhost:1")
    [found] = doctor.network(False)
    assert "HF_ENDPOINT" in found.hint


def test_a_probe_ends_in_time_when_nothing_comes_back():
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        started = time.monotonic()
        said = doctor.probe(f"http://127.0.0.1:{server.getsockname()[1]}", seconds=0.3)
        assert time.monotonic() - started < 3
    assert "does not answer" in said


def test_a_probe_takes_any_answer():
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()

        def answer():
            connection, _ = server.accept()
            connection.recv(4096)
            connection.sendall(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")
            connection.close()

        thread = threading.Thread(target=answer)
        thread.start()
        assert doctor.probe(f"http://127.0.0.1:{server.getsockname()[1]}") is None
        thread.join()


def test_a_missing_gpu_is_explained(monkeypatch):
    import torch

    if torch.cuda.is_available() or torch.backends.mps.is_available():
        pytest.skip("there is a GPU here")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    [found] = doctor.gpu()
    assert found.hint == "unset CUDA_VISIBLE_DEVICES"
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
    assert doctor.gpu()[0].found.startswith(("none", "there is a driver"))


def test_a_place_that_cannot_be_written_or_is_full_is_named(tmp_path, monkeypatch):
    taken = tmp_path / "file"
    taken.write_text("x", encoding="utf-8")
    found = doctor.place_check("cache", taken / "below", "HFKIT_CACHE")
    assert (found.status, found.hint) == ("warning", "set HFKIT_CACHE to a folder you may write to")
    monkeypatch.setattr(doctor, "LOW_DISK", float("inf"))
    assert doctor.place_check("cache", tmp_path / "new", "HFKIT_CACHE").status == "warning"
