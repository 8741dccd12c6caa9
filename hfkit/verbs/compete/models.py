"""Models on a competition's disk: those that no submission can be made of any more are removed while it goes on."""

from __future__ import annotations

import shutil
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from hfkit.files import remove_folder
from hfkit.verbs.compete.blending import together
from hfkit.verbs.compete.members import Member
from hfkit.verbs.compete.state import trained

LARGE = ("model", "checkpoints")  # folders of a run; what it says of rows is small and stays


def ended_members(entries: Iterable[Mapping[str, Any]]) -> list[Member]:
    """The members of stages that ended, however they did: none of them is trained again."""
    return [Member.of(entry["member"]) for entry in entries if entry.get("member")]


def out_of_play(entries: Sequence[Mapping[str, Any]], submitted: Collection[str]) -> list[Member]:
    """The ended members that are neither among those `submitted`, by name, nor among those of any later average.

    Those are settings that were given up, stages that failed, and single runs once two members are known on all rows.
    A member whose weight is 0 today may have one beside the next.
    """
    needed = {*submitted, *(member.name for member in together(trained(entries)))}
    return [member for member in ended_members(entries) if member.name not in needed]


def remove_models(members: Iterable[Member], folder: Path) -> None:
    """Remove what is large of the runs of these members; what was removed already is passed over. Raises OSError."""
    for member in members:
        for _, run in member.runs(folder):
            for name in LARGE:
                remove_folder(run / name)
            for half in run.glob(".tmp-del-*"):  # of a removal that was killed
                shutil.rmtree(half, ignore_errors=True)
