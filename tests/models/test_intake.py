"""Damaged and foreign checkpoint files are named before transformers touches them; exit code 4, never a traceback."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import tiny_models as tiny

from hfkit.errors import ModelError
from hfkit.models import find, load_model, load_tokenizer


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.save("bert", tmp_path_factory.mktemp("good"), "AutoModelForQuestionAnswering")


@pytest.fixture
def folder(good: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(good, tmp_path / "model"))


def weights(change: Callable[[bytes], bytes]) -> Callable[[Path], None]:
    def damage(folder: Path) -> None:
        path = folder / "model.safetensors"
        path.write_bytes(change(path.read_bytes()))

    return damage


def config(**changes: object) -> Callable[[Path], None]:
    def damage(folder: Path) -> None:
        path = folder / "config.json"
        raw = {**json.loads(path.read_text(encoding="utf-8")), **changes}
        path.write_text(json.dumps({k: v for k, v in raw.items() if v is not None}), encoding="utf-8")

    return damage


def cut(name: str) -> Callable[[Path], None]:
    def damage(folder: Path) -> None:
        path = folder / name
        path.write_text(path.read_text(encoding="utf-8")[:100], encoding="utf-8")

    return damage


def without_tokenizer(folder: Path) -> None:
    for name in ("tokenizer.json", "vocab.txt"):
        (folder / name).unlink(missing_ok=True)


def escaping_index(folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    index = {"weight_map": {"a": "../outside.safetensors"}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index), encoding="utf-8")


POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n"
HUGE = (2**40).to_bytes(8, "little")
DAMAGES = {
    "empty": (weights(lambda raw: b""), "is empty"),
    "pointer": (weights(lambda raw: POINTER), "git-lfs pointer"),
    "cut payload": (weights(lambda raw: raw[:-10]), "cut short, 10 of"),
    "cut header": (weights(lambda raw: raw[:50]), "cut short inside the header"),
    "one byte more": (weights(lambda raw: raw + b"x"), "1 bytes more"),
    "garbage": (weights(lambda raw: bytes(range(256))), "not a safetensors file"),
    "huge header": (weights(lambda raw: HUGE + raw[8:]), "not a safetensors file"),
    "header not JSON": (weights(lambda raw: raw[:8] + b"x" + raw[9:]), "not JSON"),
    "no weights": (lambda folder: (folder / "model.safetensors").unlink(), "no weights"),
    "index escapes": (escaping_index, "outside its folder"),
    "config cut": (cut("config.json"), "config.json: not valid JSON, line"),
    "no model_type": (config(model_type=None), "no model_type"),
    "unknown model_type": (config(model_type="bret"), "knows no model_type 'bret'"),
    "remote code": (config(model_type="mystery", auto_map={"AutoModel": "m.M"}), "never runs"),
    "quantized": (config(quantization_config={"bits": 4}), "quantized"),
    "tokenizer cut": (cut("tokenizer.json"), "tokenizer.json: not valid JSON"),
    "no tokenizer": (without_tokenizer, "no tokenizer"),
    "adapter": (lambda folder: (folder / "adapter_config.json").write_text("{}", encoding="utf-8"), "adapter"),
    "hfkit.json cut": (lambda folder: (folder / "hfkit.json").write_text("{", encoding="utf-8"), "hfkit.json"),
}


@pytest.mark.parametrize("name", DAMAGES)
def test_damage_is_named(name: str, folder: Path) -> None:
    damage, words = DAMAGES[name]
    damage(folder)
    with pytest.raises(ModelError) as caught:
        find(str(folder))
    assert words in caught.value.message
    assert str(folder) in caught.value.message
    assert caught.value.hint


def test_code_beside_a_known_family_is_ignored_and_said(folder: Path) -> None:
    config(auto_map={"AutoModel": "evil.Model"}, _attn_implementation_internal="x/y", attn_implementation="x/y")(folder)
    (folder / "evil.py").write_text("raise SystemExit(9)", encoding="utf-8")
    found = find(str(folder))
    assert any("never run" in note for note in found.notes)
    assert not [key for key in found.config if key.startswith("_") or key in ("auto_map", "attn_implementation")]
    model, _ = load_model(found, "question-answering", model_config={}, fresh_head="refuse")
    assert type(model).__module__.startswith("transformers.models.bert")


def test_an_unverified_family_gives_one_line(folder: Path) -> None:
    config(model_type="megatron-bert")(folder)
    assert [note for note in find(str(folder)).notes if "not among the verified" in note]


def test_tokenizer_larger_than_the_model(folder: Path) -> None:
    config(vocab_size=50)(folder)
    with pytest.raises(ModelError, match="the model only 50 embeddings"):
        load_tokenizer(find(str(folder)))
    with pytest.raises(ModelError, match="asks for"):
        load_model(find(str(folder)), "question-answering", model_config={}, fresh_head="allow")


def test_config_of_wrong_types(folder: Path) -> None:
    config(hidden_size="wide")(folder)
    with pytest.raises(ModelError):
        load_model(find(str(folder)), "question-answering", model_config={}, fresh_head="allow")
