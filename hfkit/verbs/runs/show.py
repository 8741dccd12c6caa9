"""`runs show`: one run, from run.json, events.jsonl and eval/*/metrics.json."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from hfkit.events import Event
from hfkit.verbs.runs import evaluations, facts_of, find
from hfkit.verbs.runs.listing import summary

GOES_ON = ("finetune", "cv")  # commands that go on by the recipe of their folder alone


def show_run(name: str) -> Iterator[Event]:
    """One run: its summary, what became of each auto, its evaluations, its warnings, the facts of run.json."""
    run = find(name)
    shown: dict[str, Any] = summary(run)
    facts = facts_of(run)
    events = list(run.events())
    resolved = {e["fields"]["key"]: e["fields"]["value"] for e in events if e.get("kind") == "resolved"}
    shown["attempts"] = int(facts.get("attempt") or 0) + 1
    for key in ("seed", "world", "devices", "exit_code", "git_commit", "versions", "machine"):
        if key in facts:
            shown[key] = facts[key]
    shown["resolved"] = resolved
    shown["warnings"] = [e["fields"]["text"] for e in events if e.get("kind") == "warning"]
    shown["scored"] = [
        {"step": e.get("step"), "name": e["fields"].get("name"), "metrics": e["fields"].get("metrics")}
        for e in events
        if e.get("kind") == "scored"
    ]
    shown["evaluations"] = evaluations(run)
    shown["facts"] = facts
    commands = [f"hfkit eval {run.path.name} --data D"] if run.model.is_dir() else []
    command = facts.get("command") or "finetune"
    # what a sweep searches, and what is competed for, stands in no recipe
    if shown["status"] not in ("done", "running") and command in GOES_ON:
        commands = [f"hfkit {command} {run.path / 'recipe.yaml'} -o {run.path} --resume"]
    yield Event("next", {"commands": commands or [f"hfkit runs show {run.path.name} --json"]})
    yield Event("result", {"run": shown})
