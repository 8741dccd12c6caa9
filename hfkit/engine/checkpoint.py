"""Checkpoints: a folder that is whole or absent, loads as a model, and continues a run bit-identically on CPU.

A checkpoint holds the model as `save_model` writes it, the optimizer's moments in safetensors, the position in JSON,
and a manifest (size and sha256 of every file, and of itself) written last; that of the best step so far also holds its
evaluation, which the run may end with. The random state needs no file: every draw of a run is keyed by (seed, step,
micro-batch), see engine/train.py. Where weights are averaged the model is their average, as it was scored, and the
weights that training goes on with stand beside it.

The commit: the first process alone writes into .tmp-step-N-xxxxxxxx, each file is synced, then the manifest, then the
folder; one rename, and the sync of the parent. Whatever moment the process dies in, the folder is whole or absent.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from hfkit.engine.average import Average
from hfkit.engine.shard import shared_like, trained_weights, whole_moments, whole_weights
from hfkit.errors import ModelError
from hfkit.files import as_os_error, atomic_folder, cannot_write, copy_files, remove_folder, write_json
from hfkit.models import save_model
from hfkit.models.manifest import problem_of, step_name, write_manifest

TRAINED = "trained.safetensors"  # adapters and head, where the weights hold them merged
LATEST = "latest.safetensors"  # the weights to go on with, where the model is an average of them
EVALUATION = "evaluation"  # folder
MOMENTS = ("step", "exp_avg", "exp_avg_sq")


@dataclass(frozen=True)
class Found:
    """The newest valid checkpoint, and the newer ones that were passed over, each with the reason."""

    path: Path | None
    skipped: list[str]
    any: bool


@dataclass(frozen=True)
class Whole:
    """The tensors of a checkpoint: weights (None: the model's own), moments, and what trains beside merged weights.

    `latest` are the weights to go on with, by the names in the model, where the others are their average.
    """

    weights: dict[str, torch.Tensor] | None
    moments: dict[str, torch.Tensor]
    trained: dict[str, torch.Tensor] | None
    latest: dict[str, torch.Tensor] | None = None


def save(
    folder: Path,
    *,
    model: Any,
    tokenizer: Any,
    optimizer: torch.optim.Optimizer,
    saved: Mapping[str, Any],
    state: Mapping[str, Any],
    facts: Mapping[str, Any] | None = None,
    whole: Whole | None = None,
    evaluation: Path | None = None,
) -> Path:
    """Write `folder`/step-NNNNNNNN and return it; one that is there, whole and with its evaluation is left as it is.

    `state` is plain JSON, has "step", and is what a run goes on from; `facts` (epoch, examples, world, versions, ...)
    stand in the manifest for people. `whole` is what `collected` gave. `evaluation` is a folder of files that are kept
    beside the model. Raises ResourceError.
    """
    whole = whole or collected(model, optimizer, keep=True)
    path = folder / step_name(int(state["step"]))
    if path.exists() and not problem_of(path) and (evaluation is None or (path / EVALUATION).is_dir()):
        return path
    with atomic_folder(path) as temporary:
        save_model(model, tokenizer, temporary, dict(saved), weights=whole.weights)
        try:
            save_file(whole.moments, temporary / "optimizer.safetensors")
            for name, tensors in ((TRAINED, whole.trained), (LATEST, whole.latest)):
                if tensors is not None:
                    save_file(tensors, temporary / name)
        except SafetensorError as error:
            raise cannot_write(path, as_os_error(error)) from error
        if evaluation is not None:
            copy_files(evaluation, temporary / EVALUATION)
        write_json(temporary / "state.json", dict(state))
        write_manifest(temporary, {"step": state["step"], **(facts or {})})
        _remove(path)
    return path


def collected(
    model: Any, optimizer: torch.optim.Optimizer, *, keep: bool, latest: dict[str, torch.Tensor] | None = None
) -> Whole:
    """All tensors of a checkpoint; where weights are shared out, all processes must call it, and one keeps them."""
    return Whole(
        whole_weights(model, keep=keep),
        whole_moments(model, optimizer, MOMENTS, keep=keep),
        trained_weights(model, keep=keep),
        latest,
    )


def find_newest(folder: Path) -> Found:
    """The newest checkpoint that a run can go on from; leftovers of a killed save are removed.

    Its files are as its manifest says, and so is the best checkpoint before it, whose weights the run may end with.
    """
    skipped: list[str] = []
    for leftover in folder.glob(".tmp-*"):
        shutil.rmtree(leftover, ignore_errors=True)
    paths = sorted(folder.glob("step-*"), reverse=True)
    for path in paths:
        problem = problem_of(path, named=True) or _problem_of_best(path)
        if problem is None:
            return Found(path, skipped, True)
        skipped.append(f"{path.name}: {problem}")
    return Found(None, skipped, bool(paths))


def _problem_of_best(path: Path) -> str | None:
    best = read_state(path).get("best")
    name = step_name(best["step"]) if best else path.name
    if name == path.name:
        return None
    problem = problem_of(path.with_name(name), named=True)
    return f"its best is {name}, where {problem}" if problem else None


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
    tensors = _read_trained(path, TRAINED, model, "adapters do")
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.requires_grad:
                parameter.copy_(tensors[name])


def load_average(path: Path, model: torch.nn.Module, average: Average, count: int) -> None:
    """Take the weights of `model`, loaded from a checkpoint, as the average of `count` steps, 0 if it is none yet, and
    those to go on with from beside it. Raises ModelError when unfit."""
    if count:
        average.restore(_read_trained(path, LATEST, model, "latest weights do"), count)


def _read_trained(path: Path, name: str, model: torch.nn.Module, what: str) -> dict[str, torch.Tensor]:
    """A file with a value of each weight of the model that trains. Raises ModelError."""
    if not (path / name).exists():
        raise ModelError(f"{path}: {name} is missing", "start a new run without --resume")
    tensors = load_file(path / name)
    shapes = {each: p.shape for each, p in model.named_parameters() if p.requires_grad}
    if shapes != {each: value.shape for each, value in tensors.items()}:
        raise ModelError(f"{path}: its {what} not fit the model", "start a new run without --resume")
    return tensors


def rotate(folder: Path, keep: int, *, newest: int, best_step: int | None) -> None:
    """Remove all but the `keep` newest checkpoints and the best, counted down from step `newest`, which is whole.

    Damaged ones do not count, and those of later steps (which a resume passed over) are left to be written again, so
    at least one valid checkpoint stands at any moment. Each is renamed first. Raises ResourceError.
    """
    paths = [path for path in sorted(folder.glob("step-*"), reverse=True) if path.name <= step_name(newest)]
    kept = 0
    for path in paths:
        whole = problem_of(path, thorough=False) is None
        if kept >= keep and not (best_step is not None and path.name == step_name(best_step)):
            _remove(path)
        kept += whole


def _remove(path: Path) -> None:
    try:
        remove_folder(path)
    except OSError as error:
        raise cannot_write(path, error) from error


def bare(optimizer: Any) -> Any:
    """The optimizer inside accelerate's wrapper, whose state is keyed by the model's own parameters."""
    return getattr(optimizer, "optimizer", optimizer)
