"""Which models a competition keeps on the disk while it goes on, and that what it needs of the others stays."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from hfkit.verbs.compete.clock import Clock
from hfkit.verbs.compete.journal import Journal
from hfkit.verbs.compete.members import DONE, TEST, Member
from hfkit.verbs.compete.work import Contest, tidied

QUICK = Member("quick-a", "a", 10, (0,), 42)
CV = Member("cv-a", "a", 2, (0, 1), 42)
SETTING = Member("set-dropout-0.0", "a", 2, (0, 1), 42, {"dropout": 0.0})
SEED = Member("seed-43-cv-a", "a", 2, (0, 1), 43)


@pytest.fixture
def contest(tmp_path: Path) -> Contest:
    """A competition in a folder; only what knows of files is there."""
    (tmp_path / "submission.csv").write_text("id,label\n", encoding="utf-8")
    nothing: Any = None
    journal, output = Journal.open(tmp_path), tmp_path / "submission.csv"
    return Contest(tmp_path, nothing, nothing, nothing, {}, output, Clock(900), journal, nothing)


def ended(contest: Contest, member: Member, *, status: str = "done", shares: dict[str, float] | None = None) -> None:
    """A stage that ended with its runs on the disk; with `shares` it is the submission from now on."""
    for _, run in member.runs(contest.folder):
        (run / "model").mkdir(parents=True)
        for name in (DONE, TEST, "model/model.safetensors"):
            (run / name).write_text("{}", encoding="utf-8")
    entry = {"event": "ended", "name": member.name, "member": member.entry(), "status": status}
    contest.journal.add({**entry, **({"taken": True, "shares": shares} if shares else {})})
    assert list(tidied(contest)) == []


def with_models(contest: Contest) -> set[str]:
    """The members that have the models of all their runs; of the others none has one."""
    found: dict[str, int] = {}
    for path in contest.folder.glob("*/*/model/model.safetensors"):
        found[path.parts[-4]] = found.get(path.parts[-4], 0) + 1
    assert all(count == (1 if name == QUICK.name else 2) for name, count in found.items()), found
    return set(found)


def test_models_that_nothing_can_be_made_of_any_more_are_removed(contest: Contest) -> None:
    ended(contest, QUICK, shares={QUICK.name: 1.0})
    assert with_models(contest) == {QUICK.name}
    ended(contest, CV, shares={CV.name: 1.0})
    assert with_models(contest) == {QUICK.name, CV.name}, "with one member on all folds an average is of both"
    ended(contest, SETTING, status="dropped")
    assert with_models(contest) == {QUICK.name, CV.name}, "it was given up"
    ended(contest, SEED)
    assert with_models(contest) == {CV.name, SEED.name}, "a weight of 0 today may be another beside the next"
    assert not list(contest.folder.glob("*/*/.tmp-del-*"))
    for member in (QUICK, SETTING):
        assert len(member.finished(contest.folder)) == len(member.held), "what the runs said is there"


def test_what_is_submitted_and_the_stage_at_work_are_kept(contest: Contest) -> None:
    ended(contest, QUICK, shares={QUICK.name: 1.0})
    ended(contest, CV)
    ended(contest, SEED)
    assert with_models(contest) == {QUICK.name, CV.name, SEED.name}, "the first run still stands"
    at_work = next(SETTING.runs(contest.folder))[1] / "checkpoints" / "step-00000004"
    at_work.mkdir(parents=True)
    contest.journal.add({"event": "begun", "name": SETTING.name, "member": SETTING.entry()})
    assert list(tidied(contest)) == []
    assert at_work.exists(), "it is gone on with"
    contest.journal.add({"event": "ended", "name": SETTING.name, "member": SETTING.entry(), "status": "failed"})
    assert list(tidied(contest)) == []
    assert not at_work.exists(), "no stage that failed is tried again"


def test_a_removal_that_was_killed_is_finished_and_one_that_fails_is_a_warning(
    contest: Contest, monkeypatch: pytest.MonkeyPatch
) -> None:
    ended(contest, CV, shares={CV.name: 1.0})
    half = next(SETTING.runs(contest.folder))[1] / ".tmp-del-model-0a1b2c3d"
    half.mkdir(parents=True)
    ended(contest, SETTING, status="dropped")
    assert not half.exists()

    def refused(path: Path) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr("hfkit.verbs.compete.models.remove_folder", refused)
    (event,) = tidied(contest)
    assert event.kind == "warning" and "Permission denied" in event.fields["text"]
