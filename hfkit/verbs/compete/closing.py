"""How a competition ends, however it ends: the result, report.md, run.json, and models that nothing needs removed."""

from __future__ import annotations

import shlex
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hfkit.run import Run, shown_path
from hfkit.verbs.compete.clock import Clock
from hfkit.verbs.compete.journal import Journal
from hfkit.verbs.compete.models import ended_members, remove_models
from hfkit.verbs.compete.recognise import Recognised
from hfkit.verbs.compete.report import FILE, report_text
from hfkit.verbs.compete.standing import submitted

LINES = ("name", "kind", "what", "status", "seconds", "score", "ci95", "rows", "gain", "trial", "pays", "taken", "note")


@dataclass
class Ending:
    """What the end needs to know, gathered on the way."""

    run: Run
    found: Recognised
    clock: Clock
    journal: Journal
    path: Path  # of the submission
    words: tuple[str, str, Path, str]  # train, test, sample, time
    check: dict[str, list[str]] | None = None
    left_out: dict[str, str] = field(default_factory=dict)

    @property
    def train(self) -> str:
        return self.words[0]

    @property
    def test(self) -> str:
        return self.words[1]

    def interrupted(self, status: str = "stopped") -> None:
        """Write the report of work that was stopped, or that failed."""
        self.journal.beat(self.clock.spent, now=True)
        if self.path.exists():
            self.run.write(FILE, report_text(result_of(self, status)))

    def done(self) -> dict[str, Any]:
        """Write the report, remove the models that the submission is not made of, close the run; the result."""
        self.journal.beat(self.clock.spent, now=True)
        fields = result_of(self, "done")
        self.run.write(FILE, report_text(fields))
        shares, members = fields["submitted"]["shares"], ended_members(self.journal.ended())
        remove_models([member for member in members if member.name not in shares], self.run.path)
        ended = {"status": "done", "finished": time.time(), "exit_code": 0, "result": fields}
        self.run.update(**ended, best={"metrics": fields["metrics"]}, ci95=fields["ci95"])
        return fields


def result_of(end: Ending, status: str) -> dict[str, Any]:
    """The JSON object of the command, which is also what the report is made of."""
    entries = end.journal.ended()
    stands: Mapping[str, Any] = submitted(end.journal.entries, end.path) or {}
    found = end.found
    score = stands.get("score")
    return {
        "task": found.recipe.task,
        "model": ", ".join(found.models),
        "run": str(end.run.path),
        "status": status,
        "submission": str(end.path),
        "metric": found.metric,
        "better": found.better,
        "score": score,
        "metrics": {found.metric: score} if score is not None else {},
        "ci95": {found.metric: stands["ci95"]} if stands.get("ci95") else {},
        "rows": stands.get("rows"),
        "submitted": {"stage": stands.get("name", "the sample"), "shares": stands.get("shares", {})},
        "stages": [{name: entry[name] for name in LINES if name in entry} for entry in entries],
        "left_out": end.left_out,
        "took": found.why,
        "check": end.check,
        "budget": end.clock.budget,
        "seconds": round(end.clock.spent, 1),
        "report": str(end.run.path / FILE),
        "commands": [_again(end)],
        "throughput": {"seconds": end.clock.spent},
    }


def _again(end: Ending) -> str:
    """The command that goes on, with more time."""
    train, test, sample, limit = end.words
    words = ["hfkit compete", *(shlex.quote(str(word)) for word in (train, test, sample))]
    return " ".join([*words, "--time", shlex.quote(limit), "-o", shown_path(end.run.path), "--resume"])
