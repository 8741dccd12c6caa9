"""What `ensemble` is given, found: runs and cross-validations, the models of each, and that they can be averaged."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hfkit.errors import ModelError, UsageError
from hfkit.models.checkpoint import Part
from hfkit.models.ensemble import is_ensemble
from hfkit.models.find import run_named
from hfkit.models.intake import DIGEST, weights_sha256
from hfkit.run import shown_path
from hfkit.tasks.base import Task
from hfkit.tasks.blend import blend_of
from hfkit.verbs.cv import FILE
from hfkit.verbs.trained import find_trained


@dataclass(frozen=True)
class Member:
    """One side of the average: its name as given, its models (of a cross-validation one a run), their task.

    `folds` is the folder of a cross-validation, None for a run.
    """

    name: str
    parts: list[Part]
    task_name: str
    task: Task
    folds: Path | None


def members_of(names: Sequence[str], overrides: Sequence[str], *, offline: bool) -> list[Member]:
    """The members, checked to be different and of one kind. Raises UsageError and ModelError."""
    found = [member_of(name, overrides, offline=offline) for name in names]
    places: dict[Path, str] = {}
    for member in found:
        if (folder := member.parts[0].folder) in places:
            raise UsageError(f"{places[folder]} and {member.name} are the same models", "name each member once")
        places[folder] = member.name
    first = found[0]
    for member in found[1:]:
        if member.task_name != first.task_name:
            raise ModelError(
                f"{first.name} is for {first.task_name}, {member.name} for {member.task_name}",
                "average models of one task",
            )
        mine, theirs = (blend_of(one.task).must_agree() for one in (first, member))
        if mine != theirs:
            odd = [key for key in mine if mine[key] != theirs.get(key)]
            shown = "; ".join(f"{key}: {_short(mine[key])} and {_short(theirs[key])}" for key in odd)
            raise ModelError(f"{first.name} and {member.name} differ in {shown}", "average models of one label set")
    return found


def member_of(name: str, overrides: Sequence[str], *, offline: bool) -> Member:
    """One member: a cross-validation by its folder, else whatever eval takes but an ensemble."""
    path = Path(name).expanduser() if Path(name).expanduser().exists() else run_named(name)
    folders = [name]
    folds = None
    if path is not None and is_ensemble(path):
        raise UsageError(f"{name} is an ensemble itself", "name its members instead")
    if path is not None and (path / FILE).is_file():
        folds = path.absolute()
        folders = [str(folds / Path(run["run"]).name) for run in facts_of(folds)["folds"]]
    elif path is not None and any(path.glob("fold-*-seed-*")):
        raise ModelError(f"{name}: the cross-validation is not finished", "add --resume to its command")
    models = [find_trained(folder, None, overrides, offline=offline) for folder in folders]
    parts = []
    for checkpoint, _, _, _ in models:
        assert checkpoint.folder is not None  # find_trained refuses what has none
        sha256 = (checkpoint.saved or {}).get(DIGEST) or weights_sha256(checkpoint.folder)
        parts.append(Part(checkpoint.folder, 1 / len(models), sha256))
    _, task_name, task, _ = models[0]
    blend_of(task)
    return Member(name, parts, task_name, task, folds)


def facts_of(folds: Path) -> dict[str, Any]:
    """What cv.json says. Raises ModelError when it is damaged."""
    try:
        found = json.loads((folds / FILE).read_text(encoding="utf-8"))
        if not isinstance(found["folds"], list):
            raise TypeError(found["folds"])
        return dict(found)
    except (OSError, ValueError, KeyError, TypeError) as error:
        what = f"{shown_path(folds / FILE)}: cannot be read ({error!r})"
        raise ModelError(what, "make it again: add --resume to the command of cv") from error


def _short(value: Any) -> str:
    if not isinstance(value, list):
        return str(value)
    return ", ".join(map(str, value[:6])) + (f" and {len(value) - 6} more" if len(value) > 6 else "")
