"""Checks on the raw files of a checkpoint folder before transformers touches them: config, weights, tokenizer."""

from __future__ import annotations

import difflib
import hashlib
import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from hfkit.errors import ModelError
from hfkit.files import sha256_of
from hfkit.models.families import POOLED, POOLING_KEY, POOLINGS, VERIFIED, unverified_note
from hfkit.models.safetensors_file import AGAIN, check_safetensors

Weights = Literal["safetensors", "pickle", "none"]

SINGLE, INDEX = "model.safetensors", "model.safetensors.index.json"
PICKLE, PICKLE_INDEX = "pytorch_model.bin", "pytorch_model.bin.index.json"
# a tokenizer is there when all files of one of these groups are
TOKENIZERS = (
    ("tokenizer.json",),
    ("vocab.txt",),
    ("vocab.json", "merges.txt"),
    ("spiece.model",),
    ("source.spm", "target.spm", "vocab.json"),
    ("sentencepiece.bpe.model",),
    ("spm.model",),
    ("tokenizer.model",),
)
JSON_FILES = ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json", "vocab.json")
# settings that make transformers fetch kernels or pick another implementation than its default
PRIVATE = ("attn_implementation", "experts_implementation", "use_kernels", "auto_map", "custom_pipelines")

LABEL_MAPS = ("id2label", "label2id")  # their keys are the data's, whatever they begin with
DIGEST = "weights_sha256"  # key of hfkit.json


def read_json(path: Path) -> Any:
    """The content of a JSON file. Raises ModelError naming the file when it is missing, cut, or not text."""
    try:
        with open(path, encoding="utf-8") as handle:
            return json.load(handle)
    except FileNotFoundError as error:
        raise ModelError(f"{path}: missing", f"files there: {listing(path.parent)}") from error
    except (ValueError, RecursionError) as error:
        where = f", line {error.lineno}" if isinstance(error, json.JSONDecodeError) else ""
        raise ModelError(f"{path}: not valid JSON{where}; is it cut short?", AGAIN) from error
    except OSError as error:
        raise ModelError(f"{path}: cannot be read ({error.strerror})", "check its permissions and the disk") from error


def listing(folder: Path) -> str:
    """Up to eight file names of a folder, for messages."""
    names = sorted(p.name for p in folder.iterdir()) if folder.is_dir() else []
    return ", ".join(names[:8]) + (f" and {len(names) - 8} more" if len(names) > 8 else "") if names else "none"


def read_config(folder: Path) -> tuple[dict[str, Any], list[str]]:
    """config.json without private keys, and lines to show. Raises ModelError when transformers ships no such model."""
    path = folder / "config.json"
    raw = read_json(path)
    if not isinstance(raw, dict):
        raise ModelError(f"{path}: not an object", AGAIN)
    kind = raw.get("model_type")
    if not isinstance(kind, str) or not kind:
        raise ModelError(f"{path}: no model_type", f"add the family's name, one of {', '.join(VERIFIED)}")
    _check_known(path, raw, kind)
    if raw.get("quantization_config"):
        raise ModelError(
            f"{path}: quantized weights cannot be fine-tuned here", "use the checkpoint they were made from"
        )
    if POOLING_KEY in raw and not (raw[POOLING_KEY] in POOLINGS and kind in POOLED):
        raise ModelError(
            f"{path}: {POOLING_KEY} is {raw[POOLING_KEY]!r}, which hfkit does not do for a {kind}",
            f"it does {', '.join(POOLINGS)} for {', '.join(POOLED)}; take a newer hfkit if that wrote it",
        )
    notes = (
        ["the checkpoint brings code of its own; it is never run, transformers' own is used"]
        if raw.get("auto_map")
        else []
    )
    if (line := unverified_note(kind)) is not None:
        notes.append(line)
    return _public(raw), notes


def _public(value: Any) -> Any:
    """A config without its private keys, in parts of it as well: a model inside a model has a config of its own."""
    if isinstance(value, dict):
        kept = {key: part for key, part in value.items() if not key.startswith("_") and key not in PRIVATE}
        return {key: part if key in LABEL_MAPS else _public(part) for key, part in kept.items()}
    return [_public(part) for part in value] if isinstance(value, list) else value


def _check_known(path: Path, raw: dict[str, Any], kind: str) -> None:
    try:
        from transformers.models.auto.auto_mappings import CONFIG_MAPPING_NAMES  # the bare table, without torch
    except ImportError:
        from transformers.models.auto.configuration_auto import CONFIG_MAPPING_NAMES

    if kind in CONFIG_MAPPING_NAMES:
        return
    if raw.get("auto_map"):
        raise ModelError(
            f"{path}: '{kind}' needs code that comes with the checkpoint, which hfkit never runs",
            f"choose a model of a family that transformers ships, such as {', '.join(VERIFIED)}",
        )
    near = difflib.get_close_matches(kind, [*VERIFIED, *CONFIG_MAPPING_NAMES], n=3)
    raise ModelError(
        f"{path}: transformers knows no model_type '{kind}'",
        f"nearest: {', '.join(dict.fromkeys(near))}" if near else f"verified families: {', '.join(VERIFIED)}",
    )


def check_weights(folder: Path) -> Weights:
    """Which weights a folder holds; safetensors files are checked by header. Raises ModelError for damaged ones."""
    if (folder / "adapter_config.json").exists():
        raise ModelError(f"{folder}: an adapter, not a whole model", "merge it into its base model first")
    if (folder / SINGLE).exists():
        check_safetensors(folder / SINGLE)
        return "safetensors"
    if (folder / INDEX).exists():
        for name in shard_names(folder / INDEX):
            if not (folder / name).exists():
                raise ModelError(f"{folder / name}: missing, though {INDEX} names it", AGAIN)
            check_safetensors(folder / name)
        return "safetensors"
    return "pickle" if (folder / PICKLE).exists() or (folder / PICKLE_INDEX).exists() else "none"


def weights_sha256(folder: Path | None) -> str | None:
    """The sha256 of the safetensors weights: of the file, or of the shards' own digests in order; None without any."""
    if folder is None or not ((folder / SINGLE).exists() or (folder / INDEX).exists()):
        return None
    if (folder / SINGLE).exists():
        return sha256_of(folder / SINGLE)
    digests = "".join(sha256_of(folder / name) for name in shard_names(folder / INDEX))
    return hashlib.sha256(digests.encode()).hexdigest()


def parameter_count(folder: Path) -> int | None:
    """How many floating-point numbers the safetensors weights hold, by their headers; None without weights.

    Raises ModelError for damaged files.
    """
    if (folder / SINGLE).exists():
        files = [SINGLE]
    elif (folder / INDEX).exists():
        files = shard_names(folder / INDEX)
    else:
        return None
    tensors = (tensor for name in files for tensor in check_safetensors(folder / name).values())
    return sum(math.prod(tensor["shape"]) for tensor in tensors if str(tensor["dtype"]).startswith(("F", "BF")))


def check_unchanged(folder: Path, saved: Mapping[str, Any] | None) -> None:
    """Raises ModelError when hfkit.json knows the weights' sha256 and it is another: a flipped bit is no NaN."""
    known = (saved or {}).get(DIGEST)
    if known is not None and weights_sha256(folder) != known:
        raise ModelError(
            f"{folder / SINGLE}: differs from what was saved (its sha256 is not the one in hfkit.json)",
            f"copy the model again; if the weights were changed on purpose, take {DIGEST} out of hfkit.json",
        )


def shard_names(index: Path) -> list[str]:
    """The files that a weight index names, each inside the index's own folder. Raises ModelError otherwise."""
    content = read_json(index)
    weight_map = content.get("weight_map") if isinstance(content, dict) else None
    if not isinstance(weight_map, dict) or not weight_map:
        raise ModelError(f"{index}: no weight_map", AGAIN)
    names = sorted(set(map(str, weight_map.values())))
    for name in names:
        if "/" in name or "\\" in name or name in ("", ".", ".."):
            raise ModelError(f"{index}: names '{name}', which is outside its folder", "do not use this checkpoint")
    return names


def check_tokenizer(folder: Path) -> None:
    """Raises ModelError unless readable tokenizer files are there: transformers would make an empty one and go on."""
    if not any(all((folder / name).exists() for name in group) for group in TOKENIZERS):
        choices = "; or ".join(" and ".join(group) for group in TOKENIZERS[:3])
        raise ModelError(
            f"{folder}: no tokenizer; needed: {choices}; there: {listing(folder)}",
            "copy the tokenizer's files beside the weights",
        )
    for name in JSON_FILES:
        if (folder / name).exists():
            content = read_json(folder / name)
            if not isinstance(content, dict):
                raise ModelError(f"{folder / name}: not an object", AGAIN)
            if name == "tokenizer.json" and not isinstance(content.get("model"), dict):
                raise ModelError(f"{folder / name}: no model in it", AGAIN)


def read_saved(folder: Path) -> dict[str, Any] | None:
    """hfkit.json beside the weights; None when there is none."""
    path = folder / "hfkit.json"
    if not path.exists():
        return None
    saved = read_json(path)
    if not isinstance(saved, dict):
        raise ModelError(f"{path}: not an object", AGAIN)
    return saved
