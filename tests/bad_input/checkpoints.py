"""Checkpoints that are damaged in one way each, and the whole ones below them. Used by tests/test_bad_input.py."""

from __future__ import annotations

import json
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import tiny_models

from bad_input.case import LABELS


def sound(folder: Path) -> None:
    """The whole models: an encoder, one head of each task, a GPT-2."""
    tiny_models.save("bert", folder / "bert")
    tiny_models.save("gpt2", folder / "gpt2", "AutoModelForCausalLM")
    head = "AutoModelForSequenceClassification"
    labelled(folder / "nli", LABELS)
    labelled(folder / "two", ("bad", "good"))
    tiny_models.save("bert", folder / "nameless", head, num_labels=3)
    tiny_models.save("bert", folder / "qa", "AutoModelForQuestionAnswering")
    saved(folder / "qa", "qa", {"max_length": 64, "stride": 16, "max_question_length": 16, "max_answer_length": 8})
    tiny_models.save("gpt2", folder / "bytes", "AutoModelForQuestionAnswering")
    saved(folder / "bytes", "qa", {"max_length": 64, "stride": 16, "max_question_length": 16, "max_answer_length": 8})
    saved(folder / "nli", "nli", {})
    saved(folder / "two", "classify", {"target": "single"})


def labelled(folder: Path, names: tuple[str, ...]) -> None:
    tiny_models.save(
        "bert",
        folder,
        "AutoModelForSequenceClassification",
        num_labels=len(names),
        id2label=dict(enumerate(names)),
        label2id={name: place for place, name in enumerate(names)},
    )


def saved(folder: Path, task: str, settings: dict[str, Any]) -> None:
    content = {"hfkit": "0", "task": task, "settings": settings}
    (folder / "hfkit.json").write_text(json.dumps(content), encoding="utf-8")


def edit(path: Path, **changes: Any) -> None:
    """Change keys of a JSON file; None removes a key."""
    content = json.loads(path.read_text(encoding="utf-8")) | changes
    path.write_text(json.dumps({k: v for k, v in content.items() if v is not None}), encoding="utf-8")


class Touch:
    """Writes a canary when it is unpickled by a careless loader."""

    def __init__(self, canary: Path) -> None:
        self.canary = canary

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.canary,)


def _weights(change: Callable[[dict[str, Any]], dict[str, Any]]) -> Callable[[Path], None]:
    def damage(folder: Path) -> None:
        from safetensors.torch import load_file, save_file

        path = folder / "model.safetensors"
        save_file(change(load_file(path)), path, metadata={"format": "pt"})

    return damage


def _bytes(change: Callable[[bytes], bytes], name: str = "model.safetensors") -> Callable[[Path], None]:
    def damage(folder: Path) -> None:
        path = folder / name
        path.write_bytes(change(path.read_bytes()))

    return damage


def _not_finite(weights: dict[str, Any]) -> dict[str, Any]:
    name = next(name for name in weights if "query.weight" in name)
    weights[name][0, 0] = float("nan")
    return weights


def _no_layer(weights: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in weights.items() if ".layer.1." not in name}


def _no_tokenizer(folder: Path) -> None:
    for name in ("tokenizer.json", "tokenizer_config.json", "vocab.txt", "special_tokens_map.json"):
        (folder / name).unlink(missing_ok=True)


def _pickled(folder: Path) -> None:
    import torch
    from safetensors.torch import load_file

    torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()


def _malicious(folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    (folder / "pytorch_model.bin").write_bytes(pickle.dumps(Touch(folder.parent / "canary")))


def _no_length(folder: Path) -> None:
    """What transformers writes where a tokenizer does not say how long a text may be."""
    edit(folder / "tokenizer_config.json", model_max_length=10**30)


def _flipped(folder: Path) -> None:
    """One bit of the last weight, which stays a finite number; the digest is that of the whole file."""
    from hfkit.files import sha256_of

    path = folder / "model.safetensors"
    edit(folder / "hfkit.json", weights_sha256=sha256_of(path))
    raw = bytearray(path.read_bytes())
    raw[-4] ^= 1
    path.write_bytes(raw)


def _fewer_entries(folder: Path) -> None:
    from safetensors.torch import load_file, save_file

    path, name = folder / "model.safetensors", "bert.embeddings.word_embeddings.weight"
    weights = load_file(path)
    weights[name] = weights[name].repeat(2, 1).contiguous()
    save_file(weights, path, metadata={"format": "pt"})
    edit(folder / "config.json", vocab_size=len(weights[name]))


def _more_entries(folder: Path) -> None:
    content = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))
    vocabulary = content["model"]["vocab"]
    vocabulary |= {f"word{number}": len(vocabulary) + number for number in range(9)}
    (folder / "tokenizer.json").write_text(json.dumps(content), encoding="utf-8")


POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"0" * 64 + b"\nsize 437955512\n"

# name -> (the sound model, what is done to it)
DAMAGE: dict[str, tuple[str, Callable[[Path], None]]] = {
    "cut": ("qa", _bytes(lambda raw: raw[: len(raw) // 2])),
    "cut_header": ("qa", _bytes(lambda raw: raw[:100])),
    "zero": ("qa", _bytes(lambda raw: b"")),
    "pointer": ("qa", _bytes(lambda raw: POINTER)),
    "garbage": ("qa", _bytes(lambda raw: b"\xff" * 1000)),
    "extra": ("qa", _bytes(lambda raw: raw + b"\0")),
    "nan": ("qa", _weights(_not_finite)),
    "no_layer": ("qa", _weights(_no_layer)),
    "no_weights": ("qa", lambda folder: (folder / "model.safetensors").unlink()),
    "config_cut": ("qa", _bytes(lambda raw: raw[: len(raw) // 2], "config.json")),
    "config_list": ("qa", _bytes(lambda raw: b"[]", "config.json")),
    "config_size": ("qa", lambda folder: edit(folder / "config.json", hidden_size=24)),
    "config_type": ("qa", lambda folder: edit(folder / "config.json", hidden_size="large")),
    "no_type": ("qa", lambda folder: edit(folder / "config.json", model_type=None)),
    "unknown_type": ("qa", lambda folder: edit(folder / "config.json", model_type="bertt")),
    "own_code": (
        "qa",
        lambda folder: edit(
            folder / "config.json",
            model_type="weird",
            auto_map={"AutoConfig": "code.Config", "AutoModel": "code.Model"},
        ),
    ),
    "no_tokenizer": ("qa", _no_tokenizer),
    "tokenizer_cut": ("qa", _bytes(lambda raw: raw[: len(raw) // 2], "tokenizer.json")),
    "more_entries": ("qa", _more_entries),
    "fewer_entries": ("qa", _fewer_entries),
    "endless": ("two", _no_length),
    "flipped": ("qa", _flipped),
    "pickled": ("qa", _pickled),
    "malicious": ("qa", _malicious),
    "saved_cut": ("qa", _bytes(lambda raw: raw[:10], "hfkit.json")),
    "saved_keys": ("qa", lambda folder: saved(folder, "qa", {"max_length": "wide"})),
    "saved_task": ("qa", lambda folder: saved(folder, "translate", {})),
    "adapter": ("qa", lambda folder: (folder / "adapter_config.json").write_text("{}", encoding="utf-8")),
    "only_folder": ("qa", lambda folder: (folder / "config.json").unlink()),
}


def damaged(name: str, sound_models: Path, target: Path) -> Path:
    """A copy of a sound model, damaged as `name` says."""
    source, damage = DAMAGE[name]
    shutil.copytree(sound_models / source, target)
    damage(target)
    return target
