"""How a name becomes a checkpoint: paths, runs, the starter, scratch shapes, and the Hub, which is never guessed at."""

from __future__ import annotations

import json
import os
import shutil
import socket
import threading
import time
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import ClassVar

import pytest
import tiny_models as tiny

from hfkit.errors import ModelError, NetworkError, UsageError
from hfkit.models import SHAPES, find, hub, load_tokenizer
from hfkit.models import starter as starter_module
from hfkit.models.find import run_named
from hfkit.models.manifest import write_manifest


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.save("bert", tmp_path_factory.mktemp("good"), "AutoModelForQuestionAnswering")


@pytest.fixture
def runs(good: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Three finished runs, oldest first, and one without a model."""
    folder = tmp_path / "runs"
    for number, (name, task) in enumerate([("1-qa-aaaa", "qa"), ("2-nli-bbbb", "nli"), ("0-nli-cccc", "nli")]):
        model = Path(shutil.copytree(good, folder / name / "model"))
        (model / "hfkit.json").write_text(json.dumps({"task": task}), encoding="utf-8")
        (folder / name / "run.json").write_text("{}", encoding="utf-8")
        os.utime(model / "config.json", (1000 + number, 1000 + number))
    (folder / "9-qa-dddd").mkdir()
    (folder / "9-qa-dddd" / "run.json").write_text("{}", encoding="utf-8")
    monkeypatch.setenv("HFKIT_RUNS", str(folder))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(hub, "fetch", lambda *a, **k: pytest.fail("the Hub was asked"))
    return folder


@pytest.mark.parametrize(
    ("name", "run"),
    [
        ("last", "0-nli-cccc"),
        ("last:qa", "1-qa-aaaa"),
        ("last:nli", "0-nli-cccc"),
        ("bbbb", "2-nli-bbbb"),
        ("2-nli-bbbb", "2-nli-bbbb"),
        ("runs/1-qa-aaaa", "1-qa-aaaa"),
        ("./runs/1-qa-aaaa/model", "1-qa-aaaa"),
    ],
)
def test_runs(name: str, run: str, runs: Path) -> None:
    found = find(name)
    assert found.run == runs / run and found.folder == runs / run / "model"
    assert found.saved is not None and found.saved["task"] in run


@pytest.mark.parametrize(
    ("name", "message", "hint"),
    [
        ("nli", "part of 2 run names", "more of the name"),
        ("last:lm", "no finished run of task lm", "`hfkit runs list`"),
        ("2-nli-bbbc", "no run, folder or model", "2-nli-bbbb"),
        ("runs/2-nli-bbbc", "no such folder", "2-nli-bbbb"),
        ("runs/xyz", "no such folder", "hub:runs/xyz"),
        ("./no_such_dir", "no such folder", "a model is"),
        ("a/b/c", "no such folder", "owner/name"),
        ("9-qa-dddd", "not finished", "run it again"),
        ("scratch:gpt2-nanno", "no scratch model", "scratch:gpt2-nano"),
        ("", "no model was named", "starter"),
        (".", "no config.json", "holds config.json"),
        ("runs/1-qa-aaaa/run.json", "is a file", "its folder"),
    ],
)
def test_what_is_not_there(name: str, message: str, hint: str, runs: Path) -> None:
    with pytest.raises(ModelError) as caught:
        find(name)
    assert message in caught.value.message
    assert hint in (caught.value.hint or "")


@pytest.mark.parametrize("model", ["starter", "scratch:gpt2-nano", "hub:owner/name", "./1-qa-aaaa", "owner/name"])
def test_a_name_that_means_something_else_is_no_part_of_a_run_name(model: str, runs: Path) -> None:
    for name in ("20260101-0000-qa-starter-0123abcd", "20260101-0000-lm-gpt2-nano-0123abcd"):
        shutil.copytree(runs / "1-qa-aaaa", runs / name)
    assert run_named(model) is None


def test_a_checkpoint_folder_of_a_run(good: Path, runs: Path) -> None:
    step = Path(shutil.copytree(good, runs / "9-qa-dddd" / "checkpoints" / "step-00000020"))
    for name in ("optimizer.safetensors", "state.json"):
        (step / name).write_bytes(b"{}")
    write_manifest(step, {"step": 20})
    assert find(str(step)).run == runs / "9-qa-dddd"
    (step / "manifest.json").write_text("{}", encoding="utf-8")
    with pytest.raises(ModelError, match="not finished") as caught:
        find("9-qa-dddd")
    assert "step-00000020" in (caught.value.hint or "")


def test_scratch_names_have_no_folder_yet() -> None:
    found = find("scratch:gpt2-nano")
    assert found.folder is None and found.scratch == "gpt2-nano" and found.config == SHAPES["gpt2-nano"]
    with pytest.raises(ModelError, match="no tokenizer yet"):
        load_tokenizer(found)


def test_a_revision_of_something_local(good: Path) -> None:
    with pytest.raises(UsageError, match="not a Hub model"):
        find(str(good), revision="main")
    with pytest.raises(UsageError, match="two revisions"):
        find("owner/name@one", revision="two")


def test_starter() -> None:
    pytest.importorskip(starter_module.PACKAGE)
    found = find("starter")
    assert found.config["hidden_size"] == 384 and "22.7 M" in found.notes[0]
    tokenizer = load_tokenizer(found)
    # its tokenizer.json asks for 128 tokens, cut and padded
    assert len(tokenizer("word " * 300)["input_ids"]) == 302 and len(tokenizer("word")["input_ids"]) == 3
    assert tokenizer.model_max_length == 512


def test_starter_with_other_weights(tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").write_bytes(b"other")
    with pytest.raises(ModelError, match="sha256"):
        starter_module.verify_starter(tmp_path)


def test_starter_without_its_package(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(starter_module, "PACKAGE", "no_such_package")
    monkeypatch.setattr(hub, "_cached", lambda *a: None)
    with pytest.raises(UsageError) as caught:
        find("starter", offline=True)
    assert caught.value.hint == '`pip install "hfkit[starter]"`'


def test_offline_and_not_cached(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub, "_cached", lambda *a: None)
    with pytest.raises(NetworkError, match="not in the cache"):
        find("owner/name", offline=True)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(NetworkError, match="not in the cache"):
        find("owner/name@main")


@pytest.fixture
def online(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE", "HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)


@pytest.mark.usefixtures("online")
def test_a_hub_that_never_answers_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", f"http://127.0.0.1:{silent.getsockname()[1]}")
        monkeypatch.setattr(hub, "PROBE_SECONDS", 0.3)
        monkeypatch.setattr(hub, "_cached", lambda *a: None)
        import huggingface_hub  # noqa: F401  (its import is not what is timed)

        start = time.monotonic()
        with pytest.raises(NetworkError, match="no answer within"):
            find("owner/name")
        assert time.monotonic() - start < 5


@pytest.mark.usefixtures("online")
def test_an_unreachable_hub_leaves_the_cached_copy(monkeypatch: pytest.MonkeyPatch, good: Path) -> None:
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setattr(hub, "_cached", lambda *a: good)
    found = find("owner/name")
    assert found.folder == good and found.hub and "taken from the cache" in found.notes[0]


@pytest.mark.usefixtures("online")
def test_a_model_the_hub_does_not_have(monkeypatch: pytest.MonkeyPatch) -> None:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(404)
            self.send_header("X-Error-Code", "RepoNotFound")
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, format: str, *arguments: object) -> None:
            return

    server = HTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", f"http://127.0.0.1:{server.server_port}")
    try:
        with pytest.raises(ModelError, match="the Hub has no model") as caught:
            find("FacebookAI/robreta-base")
        assert "FacebookAI/roberta-base" in (caught.value.hint or "")
    finally:
        server.shutdown()


def test_only_needed_files_are_downloaded() -> None:
    class Info:
        siblings: ClassVar = [
            type("File", (), {"rfilename": name}) for name in ("config.json", "tf_model.h5", "pytorch_model.bin")
        ]

    assert hub._wanted("a/b", Info, True) == ["config.json", "pytorch_model.bin"]
    with pytest.raises(ModelError, match="only pickle"):
        hub._wanted("a/b", Info, False)
    Info.siblings.append(type("File", (), {"rfilename": "model.safetensors"}))
    assert hub._wanted("a/b", Info, False) == ["config.json", "model.safetensors"]
