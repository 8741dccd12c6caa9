"""Checkpoints: a folder that is whole or absent, loads as a model, and continues a run bit-identically on CPU.

A checkpoint holds the model as `save_model` writes it, the optimizer's moments in safetensors, the position in JSON,
and a manifest (size and sha256 of every file) written last. The random state needs no file: every draw of a run is
keyed by (seed, step, micro-batch), see engine/train.py.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from hfkit.engine.shard import shared_like, trained_weights, whole_moments, whole_weights
from hfkit.errors import ModelError
from hfkit.files import as_os_error, atomic_folder, cannot_write, remove_folder, sha256_of, write_json
from hfkit.models import save_model

MANIFEST = "manifest.json"
NEEDED = ("config.json", "optimizer.safetensors", "state.json")  # besides the weights, which may be several files
TRAINED = "trained.safetensors"  # adapters and head, where the weights hold them merged
MOMENTS = ("step", "exp_avg", "exp_avg_sq")


@dataclass(frozen=True)
class Found:
    """The newest valid checkpoint, and the newer ones that were passed over, each with the reason."""

    path: Path | None
    skipped: list[str]
    any: bool


@dataclass(frozen=True)
class Whole:
    """The tensors of a checkpoint: weights (None: the model's own), moments, and what trains beside merged weights."""

    weights: dict[str, torch.Tensor] | None
    moments: dict[str, torch.Tensor]
    trained: dict[str, torch.Tensor] | None


def save(
    folder: Path,
    *,
    model: Any,
    tokenizer: Any,
    optimizer: torch.optim.Optimizer,
    saved: Mapping[str, Any],
    state: Mapping[str, Any],
    whole: Whole | None = None,
) -> Path:
    """Write `folder`/step-NNNNNNNN and return it. `state` is plain JSON and has "step". Raises ResourceError.

    `whole` is what `collected` gave.
    """
    whole = whole or collected(model, optimizer, keep=True)
    path = folder / f"step-{int(state['step']):08d}"
    if path.exists() and not problem_of(path):
        return path
    remove_folder(path)
    with atomic_folder(path) as temporary:
        save_model(model, tokenizer, temporary, dict(saved), weights=whole.weights)
        try:
            save_file(whole.moments, temporary / "optimizer.safetensors")
            if whole.trained is not None:
                save_file(whole.trained, temporary / TRAINED)
        except SafetensorError as error:
            raise cannot_write(path, as_os_error(error)) from error
        write_json(temporary / "state.json", dict(state))
        write_json(temporary / MANIFEST, {"step": state["step"], "files": dict(_facts(temporary))})
    return path


def collected(model: Any, optimizer: torch.optim.Optimizer, *, keep: bool) -> Whole:
    """All tensors of a checkpoint; where weights are shared out, all processes must call it, and one keeps them."""
    return Whole(
        whole_weights(model, keep=keep),
        whole_moments(model, optimizer, MOMENTS, keep=keep),
        trained_weights(model, keep=keep),
    )


def find_newest(folder: Path) -> Found:
    """The newest checkpoint whose manifest fits its files; leftovers of a killed save are removed."""
    skipped: list[str] = []
    present = False
    for leftover in folder.glob(".tmp-*"):
        shutil.rmtree(leftover, ignore_errors=True)
    for path in sorted(folder.glob("step-*"), reverse=True):
        present = True
        problem = problem_of(path)
        if problem is None:
            return Found(path, skipped, True)
        skipped.append(f"{path.name}: {problem}")
    return Found(None, skipped, present)


def problem_of(path: Path) -> str | None:
    """Why a checkpoint cannot be trusted; None when every file is as its manifest says."""
    try:
        files = json.loads((path / MANIFEST).read_text(encoding="utf-8"))["files"]
        known = {str(name): (int(facts["size"]), str(facts["sha256"])) for name, facts in files.items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return f"no readable {MANIFEST}"
    if not set(NEEDED) <= set(known):
        return f"{MANIFEST} does not list {', '.join(sorted(set(NEEDED) - set(known)))}"
    for name, (size, digest) in known.items():
        target = path / name
        if not target.is_file():
            return f"{name} is missing"
        if target.stat().st_size != size:
            return f"{name} has {target.stat().st_size:,} bytes instead of {size:,}"
        if sha256_of(target) != digest:
            return f"{name} differs from its sha256"
    return None


def read_state(path: Path) -> dict[str, Any]:
    """The position of a checkpoint."""
    return json.loads((path / "state.json").read_text(encoding="utf-8"))


def load_optimizer(path: Path, model: torch.nn.Module, optimizer: torch.optim.Optimizer) -> None:
    """Put the moments of a checkpoint into the optimizer. Raises ModelError when they do not fit the model."""
    tensors = load_file(path / "optimizer.safetensors")
    for name, parameter in model.named_parameters():
        found = {kind: tensors.get(f"{kind}.{name}") for kind in MOMENTS}
        if all(value is None for value in found.values()):
            continue
        for kind, value in found.items():
            if value is None or (kind != "step" and value.shape != parameter.shape):
                raise ModelError(f"{path}: the optimizer state of {name} does not fit the model")
        optimizer.state[parameter] = {
            kind: (value if parameter.device.type == "cpu" else value.to(parameter.device))
            if kind == "step"
            else shared_like(value, parameter)
            for kind, value in found.items()
        }


def load_trained(path: Path, model: torch.nn.Module) -> None:
    """Put adapters and head of a checkpoint into a model just made from its base. Raises ModelError when unfit."""
    if not (path / TRAINED).exists():
        raise ModelError(f"{path}: {TRAINED} is missing", "start a new run without --resume")
    tensors = load_file(path / TRAINED)
    parameters = {name: p for name, p in model.named_parameters() if p.requires_grad}
    if {name: p.shape for name, p in parameters.items()} != {name: value.shape for name, value in tensors.items()}:
        raise ModelError(f"{path}: its adapters do not fit the model", "start a new run without --resume")
    with torch.no_grad():
        for name, parameter in parameters.items():
            parameter.copy_(tensors[name])


def rotate(folder: Path, keep: int, best_step: int | None) -> None:
    """Remove all but the `keep` newest checkpoints and the best; each is renamed first, so no half of one is left."""
    paths = sorted(folder.glob("step-*"))
    for path in paths[:-keep]:
        if best_step is not None and path.name == f"step-{best_step:08d}":
            continue
        remove_folder(path)


def _facts(folder: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    for path in sorted(p for p in folder.rglob("*") if p.is_file()):
        yield path.relative_to(folder).as_posix(), {"size": path.stat().st_size, "sha256": sha256_of(path)}


def bare(optimizer: Any) -> Any:
    """The optimizer inside accelerate's wrapper, whose state is keyed by the model's own parameters."""
    return getattr(optimizer, "optimizer", optimizer)
