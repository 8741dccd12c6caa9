"""What `average` is given, found: runs and model folders of one task."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from hfkit.errors import ModelError, UsageError
from hfkit.events import Event, note
from hfkit.models import Checkpoint
from hfkit.tasks.base import Task
from hfkit.verbs.trained import find_trained


@dataclass(frozen=True)
class Member:
    """One of the models that are averaged: its name as given, where it is, its task."""

    name: str
    found: Checkpoint
    task_name: str
    task: Task

    @property
    def folder(self) -> Path:
        """Where its config, weights and tokenizer are."""
        assert self.found.folder is not None  # find_trained refuses what has no weights
        return self.found.folder


def members_of(names: Sequence[str], overrides: Sequence[str], *, offline: bool) -> list[Member]:
    """The members, checked to be different and of one task. Raises UsageError and ModelError."""
    if len(names) < 2:
        raise UsageError("one model has no mean with others", "name at least two runs")
    members = [_member(name, overrides, offline=offline) for name in names]
    places: dict[Path, str] = {}
    for member in members:
        if member.folder in places:
            raise UsageError(f"{places[member.folder]} and {member.name} are the same model", "name each model once")
        places[member.folder] = member.name
    first = members[0]
    for member in members[1:]:
        if member.task_name != first.task_name:
            raise ModelError(
                f"{first.name} is for {first.task_name}, {member.name} for {member.task_name}",
                "average runs of one task",
            )
    return members


def _member(name: str, overrides: Sequence[str], *, offline: bool) -> Member:
    found, task_name, task, _ = find_trained(name, None, overrides, offline=offline)
    if found.parts:
        raise UsageError(f"{name} is an ensemble, which has no weights of its own", "name its members instead")
    return Member(name, found, task_name, task)


def of_which_settings(members: Sequence[Member]) -> Iterator[Event]:
    """A line where members were trained by other settings than the first, whose settings the mean keeps."""
    first, *others = (member.task.settings.model_dump(mode="json") for member in members)
    for member, theirs in zip(members[1:], others, strict=True):
        odd = [f"{key} {first[key]} and {theirs[key]}" for key in first if first[key] != theirs[key]]
        if odd:
            yield note(
                f"{members[0].name} and {member.name} have different settings ({'; '.join(odd)}): the mean keeps those "
                f"of {members[0].name}"
            )
