"""`runs list`: the runs here as a leaderboard, newest first or by score; and their scores beside a competition's."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from hfkit.errors import HfkitError
from hfkit.events import Event, note, warning
from hfkit.run import Run, all_runs, runs_folder
from hfkit.tasks.base import LOWER_IS_BETTER
from hfkit.verbs.runs import facts_of, model_name, status
from hfkit.verbs.runs.notes import latest, read_notes

Order = Literal["started", "metric", "time"]
FEW = 3  # runs with a leaderboard's score from which ranks are compared


def list_runs(*, task: str | None = None, sort: Order = "started", noted: bool = False) -> Iterator[Event]:
    """Every run below the runs folder, newest first, or by `sort`: best score first within a task, or quickest first.

    `task` keeps the runs of one task. `noted` keeps those with a note, and compares their ranks with a competition's.
    """
    found = []
    for run in all_runs():
        try:
            found.append(summary(run))
        except HfkitError as error:
            yield warning(error.message)
    found = [run for run in found if task in (None, run["task"]) and (run["notes"] or not noted)]
    found = ordered(found, sort)
    if sort == "metric":
        yield from map(note, compared_unequally(found))
    agreement = agreements(found) if noted else []
    yield from (note(sentence(each)) for each in agreement)
    if found:
        yield Event("next", {"commands": [f"hfkit runs show {found[0]['name']}"]})
    else:
        yield Event("next", {"commands": ["hfkit finetune quickstart", "hfkit recipes list"]})
    result: dict[str, Any] = {"folder": str(runs_folder().absolute()), "runs": found}
    yield Event("result", {**result, "agreement": agreement} if noted else result)


def summary(run: Run) -> dict[str, Any]:
    """What a list shows of a run. Raises UsageError when run.json cannot be read."""
    facts = facts_of(run)
    best = facts.get("best") if isinstance(facts.get("best"), Mapping) else {}
    started = facts.get("started")
    metrics = (best or {}).get("metrics") or facts.get("metrics") or {}
    notes = read_notes(run.path)
    return {
        "name": run.path.name,
        "path": str(run.path.absolute()),
        "status": status(run, facts),
        "command": facts.get("command"),
        "recipe": facts.get("recipe"),
        "task": facts.get("task"),
        "model": model_name(facts.get("model")),
        "parameters": parameters(run.model),
        "started": time.strftime("%Y-%m-%d %H:%M", time.localtime(started))
        if isinstance(started, (int, float))
        else None,
        "seconds": seconds(facts),
        "data": fingerprints(facts),
        "step": (best or {}).get("step"),
        "headline": headline(facts, metrics),
        "metrics": metrics,
        "public": latest(notes, "public"),
        "private": latest(notes, "private"),
        "notes": notes,
    }


def headline(facts: Mapping[str, Any], metrics: Mapping[str, float]) -> dict[str, Any] | None:
    """The metric that picked the best checkpoint: {"metric", "value", "better", "ci95"}; None without scores.

    Runs that do not say which it was show their first metric.
    """
    named = facts.get("metric") or (facts.get("resolved") or {}).get("train.metric")
    name = named if named in metrics else next(iter(metrics), None)
    if name is None:
        return None
    better = facts.get("better") if named == name else None
    bounds = ((facts.get("result") or facts).get("ci95") or {}).get(name)
    fallback = "lower" if name in LOWER_IS_BETTER else "higher"
    return {"metric": name, "value": metrics[name], "better": better or fallback, "ci95": bounds}


def parameters(model: Path) -> int | None:
    """How many numbers a run's weights hold; None without weights that can be read."""
    from hfkit.models.intake import parameter_count

    try:
        return parameter_count(model)
    except HfkitError:
        return None


def seconds(facts: Mapping[str, Any]) -> float | None:
    """How long the command took; of one that did not end well, from its start to its end."""
    said = ((facts.get("result") or {}).get("throughput") or {}).get("seconds")
    if said is None and facts.get("started") and facts.get("finished"):
        return float(facts["finished"] - facts["started"])
    return said


def fingerprints(facts: Mapping[str, Any]) -> dict[str, str]:
    """The data sets' fingerprints: scores on equal validation data can be compared."""
    data = facts.get("data") if isinstance(facts.get("data"), Mapping) else {}
    return {name: held["fingerprint"] for name, held in (data or {}).items() if held.get("fingerprint")}


def ordered(runs: Sequence[dict[str, Any]], sort: Order) -> list[dict[str, Any]]:
    """Newest first; quickest first; or by task and metric, the best first and those without a score last."""
    newest = sorted(runs, key=lambda run: (run["started"] or "", run["name"]), reverse=True)
    if sort == "time":
        return sorted(newest, key=lambda run: (run["seconds"] is None, run["seconds"]))
    if sort == "metric":
        return sorted(newest, key=_rank)
    return newest


def _rank(run: Mapping[str, Any]) -> tuple[bool, str, str, float]:
    scored = run["headline"]
    if scored is None:
        return True, run["task"] or "", "", 0.0
    return False, run["task"] or "", scored["metric"], scored["value"] * (-1 if scored["better"] == "higher" else 1)


def compared_unequally(runs: Sequence[Mapping[str, Any]]) -> list[str]:
    """A line for each task whose runs were scored on several validation sets."""
    sets: dict[str, set[str]] = {}
    for run in runs:
        if run["headline"] and "validation" in run["data"]:
            sets.setdefault(run["task"] or "", set()).add(run["data"]["validation"])
    return [
        f"{task}: the runs were scored on {len(held)} different validation sets; compare those with equal data only"
        for task, held in sets.items()
        if len(held) > 1
    ]


def agreements(runs: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """How the order of runs by their own score agrees with a leaderboard's, by task, metric and leaderboard.

    Spearman's rank correlation, of at least three runs; None where either side's scores are all equal.
    """
    import numpy as np

    from hfkit.metrics.classification import average_ranks, pearson

    pairs: dict[tuple[str, str, str], list[tuple[float, float]]] = {}
    for run in runs:
        for board in ("public", "private"):
            if run["headline"] and run[board] is not None:
                key = (run["task"] or "", run["headline"]["metric"], board)
                pairs.setdefault(key, []).append((run["headline"]["value"], run[board]))
    found = []
    for (task, metric, board), values in pairs.items():
        if len(values) >= FEW:
            own, theirs = np.asarray(values, dtype=np.float64).T
            rank = pearson(average_ranks(own), average_ranks(theirs))
            found.append({"task": task, "metric": metric, "board": board, "runs": len(values), "spearman": rank})
    return found


def sentence(found: Mapping[str, Any]) -> str:
    """One agreement in words."""
    rank = "not defined, all are equal" if found["spearman"] is None else f"{found['spearman']:+.2f}"
    scores = f"{found['task']} {found['metric']} and {found['board']} score"
    return f"rank correlation of {scores}, {found['runs']} runs: {rank}"
