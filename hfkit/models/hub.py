"""Fetches a checkpoint from the Hub: what it has is asked within five seconds, only needed files are downloaded."""

from __future__ import annotations

import os
import re
import sys
import threading
from pathlib import Path
from typing import Any

from hfkit.errors import ModelError, NetworkError, ResourceError
from hfkit.files import sha256_of

PROBE_SECONDS = 5.0
STALL_SECONDS = 3
SHA256 = re.compile(r"[0-9a-f]{64}")
NAME = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+")
NEEDED = (
    "config.json",
    "generation_config.json",
    "hfkit.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.txt",
    "vocab.json",
    "merges.txt",
    "spiece.model",
    "sentencepiece.bpe.model",
    "spm.model",
    "tokenizer.model",
)
SAFETENSORS = re.compile(r"model(-\d+-of-\d+)?\.safetensors|model\.safetensors\.index\.json")
PICKLES = re.compile(r"pytorch_model(-\d+-of-\d+)?\.bin|pytorch_model\.bin\.index\.json")

# names people type without their owner
KNOWN = {
    "albert-base-v2": "albert/albert-base-v2",
    "bert-base-cased": "google-bert/bert-base-cased",
    "bert-base-chinese": "google-bert/bert-base-chinese",
    "bert-base-multilingual-cased": "google-bert/bert-base-multilingual-cased",
    "bert-base-uncased": "google-bert/bert-base-uncased",
    "bert-large-uncased": "google-bert/bert-large-uncased",
    "camembert-base": "almanach/camembert-base",
    "deberta-v3-base": "microsoft/deberta-v3-base",
    "distilbert-base-uncased": "distilbert/distilbert-base-uncased",
    "distilgpt2": "distilbert/distilgpt2",
    "distilroberta-base": "distilbert/distilroberta-base",
    "electra-base-discriminator": "google/electra-base-discriminator",
    "gpt2": "openai-community/gpt2",
    "gpt2-medium": "openai-community/gpt2-medium",
    "roberta-base": "FacebookAI/roberta-base",
    "roberta-large": "FacebookAI/roberta-large",
    "xlm-roberta-base": "FacebookAI/xlm-roberta-base",
}


def is_offline(offline: bool) -> bool:
    """Whether the Hub must not be asked: by flag or by Hugging Face's own environment variables."""
    return offline or any(
        os.environ.get(k, "").lower() in ("1", "true", "yes", "on") for k in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE")
    )


def fetch(name: str, revision: str | None, *, offline: bool, convert: bool) -> tuple[Path, list[str]]:
    """The local snapshot folder of a Hub model, and lines to show.

    Raises NetworkError when the Hub cannot be reached (or must not be) and the cache has no copy, ModelError when the
    Hub has no such model or revision or keeps it behind a gate.
    """
    if is_offline(offline):
        cached = _cached(name, revision)
        if cached is None:
            raise NetworkError(
                f"{_shown(name, revision)} is not in the cache, and offline mode forbids asking the Hub",
                "run once without `--offline` and HF_HUB_OFFLINE",
            )
        return cached, []
    try:
        info = _ask(name, revision)
    except NetworkError:
        cached = _cached(name, revision)
        if cached is None:
            raise
        return cached, [f"the Hub cannot be reached; {_shown(name, revision)} is taken from the cache"]
    return _download(name, info, _wanted(name, info, convert)), []


def _shown(name: str, revision: str | None) -> str:
    return f"{name}@{revision}" if revision else name


def _cached(name: str, revision: str | None) -> Path | None:
    """The newest snapshot in Hugging Face's cache that has a config; None without one."""
    from huggingface_hub import snapshot_download

    try:
        folder = Path(snapshot_download(name, revision=revision, local_files_only=True))
    except Exception:  # every failure here means the same: not cached
        return None
    return folder if (folder / "config.json").exists() else None


def _ask(name: str, revision: str | None) -> Any:
    """What the Hub says about a model. The thread bounds name resolution too, which no timeout of a client does."""
    from huggingface_hub import HfApi

    answer: list[Any] = []

    def call() -> None:
        try:
            answer.append(HfApi().model_info(name, revision=revision, timeout=PROBE_SECONDS))
        except Exception as error:  # handed to the waiting thread
            answer.append(error)

    thread = threading.Thread(target=call, daemon=True)
    thread.start()
    thread.join(PROBE_SECONDS)
    if not answer or isinstance(answer[0], Exception):
        raise _translated(name, revision, answer[0] if answer else None)
    return answer[0]


def _translated(name: str, revision: str | None, error: Exception | None) -> Exception:
    from difflib import get_close_matches

    from huggingface_hub.errors import GatedRepoError, RepositoryNotFoundError, RevisionNotFoundError

    if isinstance(error, GatedRepoError):
        return ModelError(
            f"{name} is behind a gate",
            f"ask for access at https://huggingface.co/{name} and log in with `hf auth login`",
        )
    if isinstance(error, RevisionNotFoundError):
        return ModelError(f"{name} has no revision '{revision}'", f"see https://huggingface.co/{name}/tree/main")
    if isinstance(error, RepositoryNotFoundError):
        near = get_close_matches(name, KNOWN.values(), n=3)
        return ModelError(
            f"the Hub has no model {name} (or it is private)",
            f"nearest known: {', '.join(near)}" if near else "check its spelling",
        )
    reason = type(error).__name__ if error is not None else f"no answer within {PROBE_SECONDS:g} s"
    return NetworkError(
        f"the Hub cannot be reached ({reason}), and {name} is not in the cache",
        "check the network, or give a local folder",
    )


def _wanted(name: str, info: Any, convert: bool) -> list[str]:
    """The files to download: config, tokenizer, and one form of the weights."""
    there = [sibling.rfilename for sibling in info.siblings or []]
    weights = [file for file in there if SAFETENSORS.fullmatch(file)]
    if "model.safetensors" in weights:
        weights = ["model.safetensors"]
    if not weights:
        weights = [file for file in there if PICKLES.fullmatch(file)]
        if not weights:
            raise ModelError(f"{name} has no PyTorch weights", f"files there: {', '.join(there[:8])}")
        if not convert:
            raise ModelError(f"{name} has only pickle weights, and convert=false", "allow it with `convert=true`")
    return [file for file in there if file in NEEDED] + weights


def _download(name: str, info: Any, files: list[str]) -> Path:
    from huggingface_hub import constants, snapshot_download
    from huggingface_hub.utils import disable_progress_bars

    if not sys.stderr.isatty():
        disable_progress_bars()
    if "HF_HUB_DOWNLOAD_TIMEOUT" not in os.environ:  # a transfer that stalls is tried six times
        constants.HF_HUB_DOWNLOAD_TIMEOUT = STALL_SECONDS
    blobs = Path(constants.HF_HUB_CACHE) / f"models--{name.replace('/', '--')}" / "blobs"
    before = {path.name for path in blobs.glob("*")}
    try:
        folder = Path(snapshot_download(name, revision=info.sha, allow_patterns=files))
        _check_new(folder, before)
        return folder
    except NetworkError:
        raise
    except OSError as error:
        if error.errno is not None and not isinstance(error, ConnectionError):
            raise ResourceError(
                f"{name} cannot be stored in the cache ({error.strerror})", "free some space, or set HF_HOME"
            ) from error
        raise NetworkError(
            f"the download of {name} broke off ({type(error).__name__})", "run it again: finished files are kept"
        ) from error
    except Exception as error:
        raise NetworkError(
            f"the download of {name} broke off ({type(error).__name__})", "run it again: finished files are kept"
        ) from error


def _check_new(folder: Path, before: set[str]) -> None:
    """Compare each new large file with the sha256 that the Hub named it by; one that differs is removed."""
    for path in folder.iterdir():
        blob = path.resolve()
        if SHA256.fullmatch(blob.name) and blob.name not in before and sha256_of(blob) != blob.name:
            blob.unlink()
            path.unlink()
            raise NetworkError(f"{path.name} arrived damaged: it differs from the Hub's sha256", "run it again")
