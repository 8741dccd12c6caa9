"""Pickle weights become safetensors in a child process; a pickle that would run code is refused in our own words."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest
import tiny_models as tiny
import torch
from safetensors.torch import load_file

from hfkit.errors import ModelError, UsageError
from hfkit.models import find, load_model, load_tokenizer
from hfkit.verbs.convert import convert


def to_pickle(folder: Path) -> dict[str, torch.Tensor]:
    state = load_file(folder / "model.safetensors")
    torch.save(state, folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()
    return state


@pytest.fixture
def pickled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, dict[str, torch.Tensor]]:
    monkeypatch.setenv("HFKIT_CACHE", str(tmp_path / "cache"))
    folder = tiny.save("bert", tmp_path / "old", "AutoModelForQuestionAnswering")
    return folder, to_pickle(folder)


def test_converted_once_into_the_cache(pickled: tuple[Path, dict[str, torch.Tensor]]) -> None:
    folder, state = pickled
    with pytest.raises(ModelError, match="only pickle weights"):
        find(str(folder), convert=False)
    found = find(str(folder))
    assert found.folder is not None and found.folder != folder and len(found.notes) == 1
    loaded = load_file(found.folder / "model.safetensors")
    assert loaded.keys() == state.keys() and all(torch.equal(loaded[k], state[k]) for k in state)
    assert load_model(found, "question-answering", model_config={}, fresh_head="refuse")[1] == []
    assert load_tokenizer(found)("the river")["input_ids"]
    again = find(str(folder))
    assert again.folder == found.folder and again.notes == []


def test_the_verb(pickled: tuple[Path, dict[str, torch.Tensor]], tmp_path: Path) -> None:
    folder, state = pickled
    events = list(convert(str(folder), tmp_path / "new"))
    assert events[-1].kind == "result" and "model.safetensors" in events[-1].fields["files"]
    assert load_file(tmp_path / "new" / "model.safetensors").keys() == state.keys()
    assert not (tmp_path / "new" / "pytorch_model.bin").exists()
    with pytest.raises(UsageError, match="not empty"):
        list(convert(str(folder), tmp_path / "new"))
    with pytest.raises(UsageError, match="safetensors already"):
        list(convert(str(tmp_path / "new"), tmp_path / "newer"))


def test_tied_and_sharded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import json

    monkeypatch.setenv("HFKIT_CACHE", str(tmp_path / "cache"))
    folder = tiny.save("gpt2", tmp_path / "old", "AutoModelForCausalLM")
    state = to_pickle(folder)
    (folder / "pytorch_model.bin").unlink()
    state["lm_head.weight"] = state["transformer.wte.weight"]  # one storage, two names
    names = sorted(state)
    shards = {"pytorch_model-00001-of-00002.bin": names[:5], "pytorch_model-00002-of-00002.bin": names[5:]}
    for file, part in shards.items():
        torch.save({name: state[name] for name in part}, folder / file)
    index = {"weight_map": {name: file for file, part in shards.items() for name in part}}
    (folder / "pytorch_model.bin.index.json").write_text(json.dumps(index), encoding="utf-8")
    model, notes = load_model(find(str(folder)), "causal-lm", model_config={}, fresh_head="refuse")
    assert notes == []
    assert all(torch.equal(model.state_dict()[name], state[name]) for name in names)


class Evil:
    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[object, tuple[object, ...]]:
        return (Path.touch, (self.target,))


@pytest.mark.parametrize("how", ["zip", "plain"])
def test_a_malicious_pickle(how: str, pickled: tuple[Path, dict[str, torch.Tensor]], tmp_path: Path) -> None:
    folder, _ = pickled
    content = {"weight": Evil(tmp_path / "owned")}
    if how == "zip":
        torch.save(content, folder / "pytorch_model.bin")
    else:
        (folder / "pytorch_model.bin").write_bytes(pickle.dumps(content))
    with pytest.raises(ModelError) as caught:
        find(str(folder))
    text = f"{caught.value.message} {caught.value.hint}"
    assert "more than weights" in text and "weights_only" not in text and len(text.splitlines()) == 1
    assert not (tmp_path / "owned").exists()
    assert not list((tmp_path / "cache").rglob("*.safetensors"))


def test_garbage(pickled: tuple[Path, dict[str, torch.Tensor]]) -> None:
    folder, _ = pickled
    (folder / "pytorch_model.bin").write_bytes(b"PK\x03\x04 not a zip after all")
    with pytest.raises(ModelError, match=r"cannot be read|more than weights"):
        find(str(folder))


def test_the_child_may_not_reach_out() -> None:
    from hfkit.models.unpickle import _forbid

    for event in ("socket.connect", "subprocess.Popen", "os.system", "os.exec"):
        with pytest.raises(PermissionError):
            _forbid(event, ())
    _forbid("open", ())
