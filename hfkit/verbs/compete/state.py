"""From the journal to what the plan depends on: members that are done, rates that were measured, what paid."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import fmean
from typing import Any

from hfkit.files import remove_folder
from hfkit.recipe import Recipe
from hfkit.tasks.base import LOWER_IS_BETTER
from hfkit.verbs.compete.candidates import changes_to_try
from hfkit.verbs.compete.journal import Journal
from hfkit.verbs.compete.members import Member, facts_of, goes_on
from hfkit.verbs.compete.stages import ROOM, SHORTENED, SHORTEST, Known, Rate, Stage, epochs_of, upcoming

Entries = Sequence[Mapping[str, Any]]


@dataclass(frozen=True)
class Frame:
    """What does not change while a competition goes on."""

    recipe: Recipe
    models: tuple[str, ...]
    given: frozenset[str]
    most_folds: int
    folder: Path


def known(frame: Frame, entries: Entries, *, budget: float, left: float) -> Known:
    """What the plan depends on, now. `entries` are the stages that ended."""
    members = trained(entries)
    failed = {entry["member"]["model"] for entry in entries if entry["status"] == "failed" and _is_quick(entry)}
    best = best_of(entries, frame.recipe.train.metric)
    rates = {
        model: rate for model in frame.models if (rate := rate_of([m for m in members if _is(m, model)], frame.folder))
    }
    if best is not None and best.changes and (own := rate_of([best], frame.folder)):
        rates[best.model] = own
    first = next((member for member in members if member.name.startswith("quick-")), None)
    facts = facts_of(first.finished(frame.folder)[0]) if first is not None else {}
    folds = next((member.folds for member in members if member.whole), None)
    data = frame.recipe.data
    return Known(
        budget=budget,
        left=left,
        models=frame.models,
        failed=frozenset(failed),
        epochs=frame.recipe.train.epochs,
        seed=frame.recipe.train.seed,
        most_folds=frame.most_folds,
        given_folds=frame.most_folds if data.fold_column else data.folds if "data.folds" in frame.given else None,
        rates=rates,
        done=frozenset(entry["name"] for entry in entries),
        cut=bool(facts.get("cut")),
        folds=folds,
        best=best,
        candidates=tuple(changes_to_try(frame.recipe, facts.get("resolved", {}), frame.given)),
    )


def resumed(journal: Journal, now: Known, folder: Path) -> Stage | None:
    """The stage that was at work when the last attempt ended, with the folds that it began with, if the runs that it
    lacks fit, shortened where a stage may be; a single run goes on from its checkpoint in what time there is. Else
    None, and what it had is removed: under its name another plan may need other folds."""
    begun = journal.begun()
    if begun is not None and now.folds is None and (own := Member.of(begun["member"])).whole:
        now = replace(now, folds=own.folds)  # planned anew for the time that is left, they might be fewer, or none
    stage = next((stage for stage in upcoming(now) if begun and stage.name == begun["name"]), None)
    if begun is None or stage is None:
        return None
    member = Member.of(begun["member"])
    rate = now.rate(member.model)
    lacking = len(member.held) - len(member.finished(folder))
    epochs = epochs_of(now, member) * (SHORTEST if stage.kind in SHORTENED else 1.0)
    if rate is None or lacking * rate.run(epochs, member.folds) <= ROOM * now.left:
        return replace(stage, member=member, fits=True, why="")
    if len(member.held) == 1 and all(goes_on(run) for _, run in member.runs(folder)):
        return replace(stage, member=member, fits=True, why=f"from its checkpoint, in the {now.left:.0f} s left")
    if member != stage.member or not stage.fits:
        remove_folder(folder / member.name)
        return None
    return stage


def trained(entries: Entries) -> list[Member]:
    """The members whose runs are all done."""
    return [Member.of(entry["member"]) for entry in entries if entry.get("member") and entry["status"] == "done"]


def best_of(entries: Entries, metric: str) -> Member | None:
    """The member that settings and seeds go on from: the best model on all folds, or the last setting that paid."""
    paid = [entry for entry in entries if entry["kind"] == "setting" and entry.get("pays")]
    if paid:
        return Member.of(paid[-1]["member"])
    whole = [entry for entry in entries if entry["kind"] == "folds" and entry["status"] == "done"]
    if not whole:
        return None
    sign = -1 if metric in LOWER_IS_BETTER else 1

    def worth(entry: Mapping[str, Any]) -> float:
        return -math.inf if entry["score"] is None else sign * float(entry["score"])

    return Member.of(max(whole, key=worth)["member"])


def rate_of(members: Sequence[Member], folder: Path) -> Rate | None:
    """The mean rate of the finished runs of these members; None without any."""
    found = [(member, facts_of(run)) for member in members for run in member.finished(folder)]
    if not found:
        return None
    epochs = [
        facts["steps_seconds"] / max(facts["epochs"], 1e-9) * member.folds / (member.folds - 1)
        for member, facts in found
    ]
    return Rate(fmean(epochs), fmean(facts["other_seconds"] for _, facts in found))


def after_seconds(members: Sequence[Member], folder: Path) -> float | None:
    """The most that a run took behind its time limit: the test rows, and writing."""
    return max((facts_of(run)["after_seconds"] for member in members for run in member.finished(folder)), default=None)


def _is(member: Member, model: str) -> bool:
    return member.model == model and not member.changes


def _is_quick(entry: Mapping[str, Any]) -> bool:
    return str(entry["name"]).startswith("quick-")
