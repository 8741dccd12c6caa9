"""The run folders here, found by name and told by run.json; what `hfkit runs` does with them stands beside this."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hfkit.errors import UsageError
from hfkit.lock import is_held
from hfkit.run import Run, all_runs, runs_folder


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
    for path in sorted(run.path.glob("eval/[!.]*/metrics.json")):
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
