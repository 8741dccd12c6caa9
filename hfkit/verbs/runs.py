"""`runs list | show`: the run folders here, read from run.json, events.jsonl and eval/*/metrics.json."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from hfkit.errors import HfkitError, UsageError
from hfkit.events import Event
from hfkit.lock import is_held
from hfkit.run import Run, all_runs, runs_folder


def list_runs() -> Iterator[Event]:
    """Every run below the runs folder, newest first."""
    found = []
    for run in reversed(all_runs()):
        try:
            found.append(summary(run))
        except HfkitError as error:
            yield Event("warning", {"text": error.message})
    if found:
        yield Event("next", {"commands": [f"hfkit runs show {found[0]['name']}"]})
    else:
        yield Event("next", {"commands": ["hfkit finetune quickstart", "hfkit recipes list"]})
    yield Event("result", {"folder": str(runs_folder().absolute()), "runs": found})


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
    if shown["status"] not in ("done", "running"):
        commands = [f"hfkit finetune {run.path / 'recipe.yaml'} -o {run.path} --resume"]
    yield Event("next", {"commands": commands or [f"hfkit runs show {run.path.name} --json"]})
    yield Event("result", {"run": shown})


def find(name: str) -> Run:
    """A run by its folder, `last`, `last:TASK`, or a unique part of its name. Raises UsageError."""
    if (Path(name) / "run.json").is_file():
        return Run(Path(name).absolute())
    runs = all_runs()
    word, _, task = name.partition(":")
    if word == "last":
        fitting = [run for run in runs if not task or facts_of(run).get("task") == task]
        if not fitting:
            raise UsageError(
                f"no run{f' of task {task}' if task else ''} in {runs_folder()}",
                "`hfkit runs list` shows the runs here",
            )
        return max(fitting, key=lambda run: (facts_of(run).get("started") or 0, run.path.name))
    exact = [run for run in runs if run.path.name == name]
    fitting = exact or [run for run in runs if name in run.path.name]
    if not fitting:
        raise UsageError(f"no run '{name}' in {runs_folder()}", "`hfkit runs list` shows the runs here")
    if len(fitting) > 1:
        names = "\n".join(f"  {run.path.name}" for run in fitting[:8])
        raise UsageError(f"'{name}' is part of {len(fitting)} runs' names:\n{names}", "give a longer part of the name")
    return fitting[0]


def facts_of(run: Run) -> dict[str, Any]:
    """run.json as a mapping. Raises UsageError when it cannot be read."""
    try:
        facts = run.facts()
    except (OSError, ValueError) as error:
        raise UsageError(
            f"{run.path / 'run.json'}: cannot be read ({error})", "the run may be damaged; move it away"
        ) from error
    if not isinstance(facts, dict):
        raise UsageError(f"{run.path / 'run.json'}: not a mapping", "the run may be damaged; move it away")
    return facts


def summary(run: Run) -> dict[str, Any]:
    """What a list shows of a run."""
    facts = facts_of(run)
    best = facts.get("best") if isinstance(facts.get("best"), Mapping) else {}
    started = facts.get("started")
    return {
        "name": run.path.name,
        "path": str(run.path.absolute()),
        "status": status(run, facts),
        "command": facts.get("command"),
        "recipe": facts.get("recipe"),
        "task": facts.get("task"),
        "model": model_name(facts.get("model")),
        "started": time.strftime("%Y-%m-%d %H:%M", time.localtime(started))
        if isinstance(started, (int, float))
        else None,
        "step": (best or {}).get("step"),
        "metrics": (best or {}).get("metrics") or facts.get("metrics") or {},
    }


def status(run: Run, facts: Mapping[str, Any]) -> str:
    """How a run stands; one that was killed could not say so, but nobody holds its folder any more."""
    said = facts.get("status", "unknown")
    return "interrupted" if said == "running" and not is_held(run.path) else said


def model_name(value: Any) -> str | None:
    """The model's name, however run.json holds it."""
    return value.get("name") if isinstance(value, Mapping) else value


def evaluations(run: Run) -> list[dict[str, Any]]:
    """What `eval` wrote below the run, by name."""
    found = []
    for path in sorted(run.path.glob("eval/*/metrics.json")):
        try:
            values = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            values = {"metrics": {}, "damaged": True}
        found.append(
            {
                "name": path.parent.name,
                "data": values.get("data"),
                "rows": values.get("rows"),
                "metrics": values.get("metrics", {}),
            }
        )
    return found
