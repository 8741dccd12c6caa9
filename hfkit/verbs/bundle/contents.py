"""The model's part of a bundle: one checkpoint's files, or an ensemble with copies of the models that it uses."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from hfkit.errors import ModelError, UsageError
from hfkit.files import write_json
from hfkit.models import Checkpoint
from hfkit.models.ensemble import FILE as ENSEMBLE
from hfkit.models.ensemble import check_part
from hfkit.models.intake import INDEX, SINGLE, check_weights, read_saved, shard_names
from hfkit.tasks.base import Task
from hfkit.verbs.thresholds import OUT_OF_FOLD

MODEL = "model"
SUFFIXES = (".json", ".txt", ".model", ".spm", ".jinja", ".codes", ".bpe", ".vocab", ".tiktoken", ".md")
OF_TRAINING = ("state.json", "manifest.json", "trainer_state.json")
OTHER_WEIGHTS = (".safetensors", ".bin", ".h5", ".msgpack", ".onnx", ".pt", ".pth", ".ckpt", ".gguf")
SENTENCEPIECE = (".model", ".spm")


def check_answers(found: Checkpoint, task_name: str, task: Task) -> None:
    """Refuse a model that can answer nothing where a bundle is unpacked. Raises UsageError and ModelError."""
    if ":" in task_name:
        raise ModelError(
            f"{found.name} needs code of yours, {task_name}, which a bundle does not hold",
            "bundle a model of one of hfkit's own tasks",
        )
    if task.head == "masked-lm":
        raise ModelError(
            f"{found.name} fills in hidden words and answers nothing yet",
            f"train it first: `hfkit finetune classify --model {found.name} --train FILE`",
        )
    if getattr(task.settings, "shots", 0):
        raise UsageError(
            f"{found.name} draws solved examples from {task.settings.shots_data}, which a bundle does not hold",
            f"bundle it without: set {task.name}.shots to 0 in {found.folder}/hfkit.json",
        )


def copy_model(found: Checkpoint, bundle: Path) -> list[str]:
    """Write the model to `bundle`/model; the files of its folder that were left out. Raises HfkitError."""
    target = bundle / MODEL
    target.mkdir()
    if not found.parts:
        assert found.folder is not None  # find_trained refuses what has none
        left_out = copy_checkpoint(found.folder, target)
        _keep_run(found, bundle, target)
        return left_out
    left_out = []
    for number, part in enumerate(found.parts):
        check_part(part, read_saved(part.folder))
        folder = target / "parts" / str(number)
        folder.mkdir(parents=True)
        left_out += copy_checkpoint(part.folder, folder)
    saved = found.saved or {}
    members = list(_members(saved["members"]))
    write_json(target / ENSEMBLE, {**saved, "members": members})
    _keep_run(found, target, target)
    return left_out


def copy_checkpoint(source: Path, target: Path) -> list[str]:
    """Copy config, tokenizer and weights; the names of what was left out."""
    check_weights(source)
    weights = [SINGLE] if (source / SINGLE).exists() else [INDEX, *shard_names(source / INDEX)]
    left_out = []
    for path in sorted(source.iterdir()):
        plain = path.suffix in SUFFIXES and path.name not in OF_TRAINING and not path.name.startswith(".")
        other = path.name.endswith(".index.json")
        if path.is_file() and (path.name in weights or (plain and not other)):
            shutil.copyfile(path, target / path.name)
        elif path.suffix not in OTHER_WEIGHTS and path.name not in OF_TRAINING and not other and not _is_ours(path):
            left_out.append(str(path))
    return left_out


def _is_ours(path: Path) -> bool:
    """What hfkit writes beside a model and nobody misses."""
    return path.name == "eval" or path.name.startswith(".")


def _members(members: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """The members that are used, their models by their places in the bundle (in the order of `Checkpoint.parts`)."""
    number = 0
    for member in members:
        if float(member["weight"]) > 0:
            models = []
            for model in member["models"]:
                models.append({**model, "path": f"parts/{number}"})
                number += 1
            yield {**member, "name": Path(member["name"]).name, "models": models}


def _keep_run(found: Checkpoint, folder: Path, model: Path) -> None:
    """What a submission takes from a run: the metric, and the out-of-fold rows that thresholds are fitted on."""
    if found.run is None:
        return
    path = found.run / "run.json"
    facts = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    kept = {name: facts[name] for name in ("status", "task", "metric") if name in facts}
    write_json(folder / "run.json", {"command": "bundle", **kept})
    if (found.run / OUT_OF_FOLD).is_dir():
        shutil.copytree(found.run / OUT_OF_FOLD, model / OUT_OF_FOLD)


def extras_of(found: Checkpoint) -> tuple[str, ...]:
    """The extras of hfkit that the model's tokenizers need."""
    folders = [part.folder for part in found.parts] or ([found.folder] if found.folder else [])
    needed = any(
        not (folder / "tokenizer.json").exists() and any(path.suffix in SENTENCEPIECE for path in folder.iterdir())
        for folder in folders
    )
    return ("sentencepiece",) if needed else ()


def safe_name(found: Checkpoint) -> str:
    """The model's name without the folders of this machine."""
    return re.sub(r"[^\w.@-]+", "-", Path(found.name).name) or MODEL
