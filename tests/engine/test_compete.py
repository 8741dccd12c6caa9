"""A competition on a tiny model: killed and continued, better files replace the first, a stop leaves a valid one."""

from __future__ import annotations

import csv
import dataclasses
import importlib
import json
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import engine_helpers as helpers
import pytest
import torch

from hfkit.data.submission import Submission
from hfkit.errors import DataError, ModelError, Stopped
from hfkit.events import Event
from hfkit.recipe.load import build
from hfkit.run import Run
from hfkit.verbs import compete as verb
from hfkit.verbs.compete import candidates, cell, stages
from hfkit.verbs.compete.clock import Clock
from hfkit.verbs.compete.journal import Journal
from hfkit.verbs.compete.members import Member
from hfkit.verbs.compete.stages import Stage
from hfkit.verbs.compete.work import Contest, perform

Competing = Callable[..., list[str]]
KEYS = ["train.lr=0.02", "train.batch_size=8", "train.precision=float32", "train.epochs=6", "data.folds=2"]


@pytest.fixture
def competing(small: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Competing:
    """The arguments of a competition of 61 training rows and 17 test rows: competing(output, flag, ...)."""
    monkeypatch.setattr(stages, "SEEDS", 1)
    monkeypatch.setattr(verb, "process_seconds", lambda: 0.0)  # of a process that ran other tests before
    monkeypatch.setattr(candidates, "CANDIDATES", (candidates.Candidate("dropout", 0.0),))
    test = [{"id": f"t{number}", "text": row["text"]} for number, row in enumerate(helpers.rows(17, start=100))]
    with (tmp_path / "test.csv").open("w", encoding="utf-8", newline="") as handle:
        csv.writer(handle).writerows([["id", "text"], *([row["id"], row["text"]] for row in test)])
    with (tmp_path / "sample.csv").open("w", encoding="utf-8", newline="") as handle:
        csv.writer(handle).writerows([["id", "label"], *([row["id"], "salt"] for row in test)])

    def arguments(output: Path, *extra: str) -> list[str]:
        files = [str(small / "train.jsonl"), str(tmp_path / "test.csv"), str(tmp_path / "sample.csv")]
        start = ["compete", *files, "--models", str(small / "bert"), "-o", str(output), "--cpu"]
        return [*start, *KEYS, *extra, *([] if "--time" in extra else ["--time", "20m"])]

    return arguments


def check_submission(folder: Path, sample: Path) -> list[str]:
    """The labels that are submitted; the file has the sample's ids in their order."""
    asked = Submission.read(sample)
    written = Submission.read(folder / "submission.csv")
    assert written.ids == asked.ids and written.columns == asked.columns
    return [row[1] for row in written.table.rows]


def stage_names(folder: Path, event: str) -> list[str]:
    path = folder / "stages.jsonl"
    entries = path.read_text("utf-8").splitlines() if path.exists() else []
    return [entry["name"] for entry in map(json.loads, entries) if entry["event"] == event]


def test_killed_and_continued(competing: Competing, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder, sample = tmp_path / "out", tmp_path / "sample.csv"
    on_disk: list[set[str]] = []  # members that have models, whenever it is asked what is next

    def looking(now: stages.Known) -> Stage | None:
        on_disk.append({path.parent.parent.name for path in folder.glob("*/*/model")})
        return stages.following(now)

    monkeypatch.setattr(verb, "following", looking)
    process = helpers.start(competing(folder), tmp_path / "log")
    deadline = time.monotonic() + 300
    while "cv-bert" not in stage_names(folder, "begun") and process.is_alive() and time.monotonic() < deadline:
        time.sleep(0.02)
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    assert stage_names(folder, "ended")[:2] == ["prior", "quick-bert"], (tmp_path / "log.err").read_text("utf-8")
    assert set(check_submission(folder, sample)) <= {"salt", "bread"}
    spent = json.loads((folder / "time.json").read_text("utf-8"))["seconds"]
    quick = (folder / "quick-bert" / "fold-0" / "done.json").stat().st_mtime_ns

    assert helpers.call(competing(folder))[0] == 2, "not empty"
    code, other, _ = helpers.call(competing(folder, "--resume", "dropout=0.3"))
    assert code == 2 and "other files, keys or models" in other["error"]["message"]
    code, result, err = helpers.call(competing(folder, "--resume"))
    assert code == 0, err
    assert (folder / "quick-bert" / "fold-0" / "done.json").stat().st_mtime_ns == quick, "nothing is done twice"
    found = {stage["name"]: stage for stage in result["stages"]}
    assert list(found)[:4] == ["prior", "quick-bert", "cv-bert", "ensemble-2"] and "set-dropout-0.0" in found
    assert found["cv-bert"]["rows"] == 61 and found["quick-bert"]["rows"] == 30
    assert found["prior"]["score"] == pytest.approx(100 * 40 / 61) and result["seconds"] > spent
    for stage in result["stages"]:
        if stage.get("gain") and stage["status"] == "done" and stage["taken"]:
            assert stage["gain"]["difference"] > 0 or stage["rows"] > stage["gain"]["rows"], stage
    stands = [stage["name"] for stage in result["stages"] if stage.get("taken")][-1]
    assert result["submitted"]["stage"] == stands and result["score"] == found[stands]["score"]
    assert result["score"] > 90, "the label is a word of the text"
    gold = [row["label"] for row in helpers.rows(17, start=100)]
    assert sum(map(str.__eq__, check_submission(folder, sample), gold)) >= 15

    report = Path(result["report"]).read_text("utf-8")
    assert "## What was taken" in report and all(f"| {name} |" in report for name in found)
    assert json.loads((folder / "run.json").read_text("utf-8"))["status"] == "done"
    assert list(folder.glob("*/*/model")), "the models of the submission stay"
    useless = "set-dropout-0.0" if found["set-dropout-0.0"]["status"] == "dropped" else "quick-bert"
    assert useless not in on_disk[-1] and (folder / useless / "fold-0" / "done.json").is_file()
    for member in {path.parent.parent.name for path in folder.glob("*/*/model")}:
        assert member in result["submitted"]["shares"]
    code, again, err = helpers.call(competing(folder, "--resume"))
    assert code == 0 and "is done" in err and again["stages"] == result["stages"]


def test_a_stop_and_a_failed_stage_leave_a_valid_file(
    competing: Competing, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "out"

    def refusing(recipe, place, how):
        raise ModelError("its weights are damaged")
        yield

    def stopping(recipe, place, how):
        raise Stopped("stopped by SIGTERM", code=143)
        yield

    monkeypatch.setattr(cell, "run", stopping)
    code, stopped, _ = helpers.call(competing(folder))
    assert code == 143 and "a valid submission stands" in stopped["error"]["message"]
    assert "--resume" in stopped["error"]["hint"]
    assert check_submission(folder, tmp_path / "sample.csv") == ["bread"] * 17
    assert (folder / "report.md").read_text("utf-8").count("stopped:") == 1
    assert json.loads((folder / "run.json").read_text("utf-8"))["status"] == "interrupted"
    monkeypatch.setattr(cell, "run", refusing)
    code, result, err = helpers.call(competing(folder, "--resume"))
    assert code == 0 and "warning: quick-bert: its weights are damaged" in err
    assert [stage["status"] for stage in result["stages"]] == ["done", "failed"]
    assert result["submitted"]["stage"] == "prior"
    code, result, err = helpers.call(competing(tmp_path / "short", "--time", "2s"))
    assert code == 0 and check_submission(tmp_path / "short", tmp_path / "sample.csv") == ["bread"] * 17


def test_memory_that_does_not_suffice_costs_its_stage_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Down to one row at a time the engine halves batches by itself; what it raises then is no error of its own."""
    member = Member("quick-a", "a", 10, (0,), 42)
    journal, said = Journal.open(tmp_path), "CUDA out of memory. Tried to allocate 2 GiB.\nSee the documentation"

    def failing(error: Exception) -> list[Event]:
        def run(recipe, place, how):
            raise error
            yield

        monkeypatch.setattr(cell, "run", run)
        recipe, judge = build({"task": "classify"}), SimpleNamespace(metric="accuracy")
        contest: Any = Contest(tmp_path, recipe, judge, None, {}, tmp_path / "s", Clock(900), journal, None)  # type: ignore[arg-type]
        return list(perform(contest, Stage(member.name, "single", member, None)))

    shown = failing(torch.OutOfMemoryError(said))
    assert "quick-a: out of memory: CUDA out of memory. Tried to allocate 2 GiB." in [e.fields["text"] for e in shown]
    assert [(entry["name"], entry["status"]) for entry in journal.ended()] == [("quick-a", "failed")]
    with pytest.raises(RuntimeError, match="shapes"):
        failing(RuntimeError("shapes do not match"))


def test_what_scoring_and_averaging_fail_by_costs_no_more(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What stands stays; the stage, or the average, is passed over, also where its answers cannot be handed in."""
    work: Any = importlib.import_module("hfkit.verbs.compete.work")  # the package has a function of that name
    journal = Journal.open(tmp_path)
    recipe, judge = build({"task": "classify"}), SimpleNamespace(metric="accuracy")
    contest: Any = Contest(tmp_path, recipe, judge, None, {}, tmp_path / "s", Clock(900), journal, None)  # type: ignore[arg-type]

    def failing(error: Exception) -> Callable[..., Any]:
        def failed(contest, stage, entry):
            entry |= {"score": 1.0, "taken": True}
            raise error
            yield

        return failed

    def nothing(contest, stage):
        return None
        yield

    monkeypatch.setattr(work, "_runs", nothing)
    for name, error in (
        ("cv-a", torch.OutOfMemoryError("CUDA out of memory.\nSee")),
        ("cv-b", DataError("not finite")),
    ):
        monkeypatch.setattr(work, "_scored", failing(error))
        list(perform(contest, Stage(name, "folds", Member(name, "a", 2, (0, 1), 42), None)))
    ends = {entry["name"]: entry for entry in journal.ended()}
    assert [ends[name]["status"] for name in ("cv-a", "cv-b")] == ["failed", "failed"]
    assert not ends["cv-a"]["taken"] and ends["cv-a"]["note"] == "out of memory: CUDA out of memory."
    assert contest.members() == [] and ends["cv-b"]["note"] == "not finite"

    for name in ("cv-c", "cv-d"):
        journal.add({**ends["cv-a"], "name": name, "member": Member(name, "a", 2, (0, 1), 1).entry(), "status": "done"})
    monkeypatch.setattr(work, "_averaged", failing(MemoryError()))
    shown = list(work.average(contest))
    assert journal.ended()[-1]["name"] == "ensemble-2" and journal.ended()[-1]["status"] == "failed"
    assert any(event.kind == "warning" for event in shown) and list(work.average(contest)) == [], "not done again"
    with pytest.raises(RuntimeError, match="shapes"):
        monkeypatch.setattr(work, "_scored", failing(RuntimeError("shapes do not match")))
        list(perform(contest, Stage("cv-e", "folds", Member("cv-e", "a", 2, (0, 1), 42), None)))


def test_a_night_between_two_attempts_is_no_time_of_a_run(tmp_path: Path) -> None:
    """Stopped between its evaluation and its model; counted, the night would leave no run any time to train."""
    run = Run(tmp_path)
    run.update(batches={"batch_size": 10}, result={"throughput": {"seconds": 8.0}})
    night, scored = 40_000.0, {"metrics": {}}
    told = [
        (0, 0.0, "resolved", {}, None),
        (0, 25.0, "step", {"rows_per_s": 2.0, "epoch": 1.0}, 5),
        (0, 30.0, "scored", scored, 5),
        (0, 32.0, "saved", {}, 5),
        (1, night, "note", {}, None),
        (1, night + 3.0, "saved", {}, 5),
        (1, night + 4.0, "scored", scored, None),
    ]
    for attempt, at, kind, fields, step in told:
        dataclasses.replace(run, attempt=attempt).append(Event(kind, fields, step=step, time=at))  # type: ignore[arg-type]
    found = cell.facts(run, build({"task": "classify", "train": {"epochs": 1}}), 8.0, 1.5)
    assert found["after_seconds"] == 1.5 + 2.0 + 4.0 and found["steps_seconds"] == 25.0
    assert found["other_seconds"] == 32.0 + 8.0 + 1.5 - 25.0 and not found["cut"]
