"""Pickle weights -> safetensors, in a child process that may only compute: no network, no commands, weights_only."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

from hfkit.errors import ModelError, ResourceError
from hfkit.files import atomic_folder, cache_folder
from hfkit.models.checkpoint import Checkpoint
from hfkit.models.intake import PICKLE, PICKLE_INDEX, check_weights, listing, shard_names

REFUSED = 3  # exit code of the child: the pickle asks for more than tensors
CHILD = Path(__file__).with_name("unpickle.py")
WEIGHT_SUFFIXES = (".bin", ".safetensors", ".h5", ".msgpack", ".onnx", ".pt", ".pth", ".ckpt", ".gguf")


def converted(found: Checkpoint, *, allowed: bool) -> Checkpoint:
    """`found` with safetensors weights: a copy in hfkit's cache, made once.

    Raises ModelError when not `allowed`, or when the pickle holds more than weights.
    """
    assert found.folder is not None
    if not allowed:
        raise ModelError(
            f"{found.folder}: only pickle weights, and convert=false",
            "allow it with `convert=true`, or run `hfkit convert M -o DIR`",
        )
    target = cache_folder() / "converted" / f"{found.folder.name}-{_fingerprint(found.folder)}"
    notes = list(found.notes)
    if not target.is_dir():
        try:
            convert_folder(found.folder, target)
        except ResourceError:
            if not target.is_dir():  # else another process was first, which is as good
                raise
        notes.append(f"pickle weights were converted to safetensors, once: {target}")
    check_weights(target)
    return replace(found, folder=target, notes=notes)


def convert_folder(source: Path, target: Path) -> None:
    """Write `source`'s weights as safetensors, with its config and tokenizer, to the new folder `target`.

    Raises ModelError when the pickle holds more than weights or cannot be read, ResourceError when the disk is full.
    """
    files = shard_names(source / PICKLE_INDEX) if (source / PICKLE_INDEX).exists() else [PICKLE]
    if missing := [name for name in files if not (source / name).exists()]:
        raise ModelError(
            f"{source / missing[0]}: missing; there: {listing(source)}", "download or copy the checkpoint again"
        )
    target.parent.mkdir(parents=True, exist_ok=True)
    with atomic_folder(target) as temporary:
        for path in sorted(source.iterdir()):
            if path.is_file() and path.suffix not in WEIGHT_SUFFIXES and not path.name.endswith(".index.json"):
                shutil.copyfile(path, temporary / path.name)
        _run_child([source / name for name in files], temporary)
        check_weights(temporary)


def _run_child(files: list[Path], target: Path) -> None:
    kept = {
        k: v for k, v in os.environ.items() if k in ("PATH", "HOME", "TMPDIR", "LD_LIBRARY_PATH", "SYSTEMROOT", "TEMP")
    }
    command = [sys.executable, "-I", "-B", str(CHILD), str(target), *map(str, files)]
    done = subprocess.run(
        command,
        env={**kept, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        encoding="utf-8",
        errors="replace",
        check=False,
    )
    if done.returncode == REFUSED:
        raise ModelError(
            f"{files[0]}: the pickle holds more than weights; it could run code, so it was not read",
            "do not use this checkpoint",
        )
    if done.returncode != 0:
        last = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1][:160]
        raise ModelError(f"{files[0]}: the weights cannot be read ({last})", "download or copy the checkpoint again")


def _fingerprint(folder: Path) -> str:
    """16 hex digits that change when a weight file does: its real path, size and time."""
    digest = hashlib.sha256()
    for path in [*sorted(folder.glob("pytorch_model*")), folder / "config.json"]:
        real = path.resolve()
        digest.update(f"{real}\0{real.stat().st_size}\0{real.stat().st_mtime_ns}\n".encode())
    return digest.hexdigest()[:16]
