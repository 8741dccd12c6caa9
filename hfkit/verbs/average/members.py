"""What `average` is given, found: runs and model folders of one task, whose outputs mean the same."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from hfkit.errors import ModelError, UsageError
from hfkit.events import Event, note
from hfkit.models import Checkpoint
from hfkit.models.intake import DIGEST, weights_sha256
from hfkit.tasks.base import Task
from hfkit.verbs.cv import FILE
from hfkit.verbs.trained import find_trained

UNITS = ("mean", "std")  # settings by which numbers were standardised: weights learnt by others mean other numbers


@dataclass(frozen=True)
class Member:
    """One of the models that are averaged: its name as given, where it is, the sha256 of its weights, its task."""

    name: str
    found: Checkpoint
    folder: Path
    sha256: str | None
    task_name: str
    task: Task


def members_of(names: Sequence[str], overrides: Sequence[str], *, offline: bool) -> list[Member]:
    """The members, checked to be different and of one task. Raises UsageError and ModelError."""
    if len(names) < 2:
        raise UsageError("one model has no mean with others", "name at least two runs")
    members = [_member(name, overrides, offline=offline) for name in names]
    known: dict[str | None, str] = {}
    for member in members:
        if member.sha256 in known:
            raise UsageError(f"{known[member.sha256]} and {member.name} are the same weights", "name each model once")
        known[member.sha256] = member.name
    for member in members[1:]:
        _check_pair(members[0], member)
    return members


def _member(name: str, overrides: Sequence[str], *, offline: bool) -> Member:
    if (Path(name).expanduser() / FILE).is_file():
        raise UsageError(f"{name} is a cross-validation, a model for each fold", f"name its models: {name}/fold-*")
    found, task_name, task, _ = find_trained(name, None, overrides, offline=offline)
    if found.parts:
        raise UsageError(f"{name} is an ensemble, which has no weights of its own", "name its members instead")
    assert found.folder is not None  # find_trained refuses what has no weights
    sha256 = (found.saved or {}).get(DIGEST) or weights_sha256(found.folder)
    return Member(name, found, found.folder.resolve(), sha256, task_name, task)


def _check_pair(first: Member, other: Member) -> None:
    if other.task_name != first.task_name:
        raise ModelError(
            f"{first.name} is for {first.task_name}, {other.name} for {other.task_name}", "average runs of one task"
        )
    mine, theirs = map(_units, (first, other))
    if mine != theirs:
        raise ModelError(
            f"{first.name} and {other.name} learnt numbers in different units: {mine} and {theirs}",
            "give all runs the same classify.mean and classify.std; `hfkit ensemble RUN RUN -o DIR` averages answers",
        )


def _units(member: Member) -> dict[str, object]:
    """As saved: the command line cannot make two units one."""
    saved = (member.found.saved or {}).get("settings") or {}
    return {key: saved.get(key) for key in UNITS}


def of_which_settings(members: Sequence[Member]) -> Iterator[Event]:
    """A line for each member that was saved with other settings than the first, whose settings the mean has."""
    first, *others = map(_settings, members)
    for member, theirs in zip(members[1:], others, strict=True):
        odd = [f"{key} {first.get(key)} and {theirs.get(key)}" for key in first if first[key] != theirs.get(key)]
        if odd:
            yield note(
                f"{members[0].name} and {member.name} have different settings ({'; '.join(odd)}): the mean has those "
                f"of {members[0].name}"
            )


def _settings(member: Member) -> dict[str, object]:
    settings = member.task.settings
    kept = settings.model_dump(mode="json", exclude=settings.on_request)
    return {**kept, "generate": (member.found.saved or {}).get("generate")}
