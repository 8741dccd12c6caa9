"""`runs diff`: two runs beside each other: recipe, resolved autos, versions, data, scores, slices. No torch."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping
from pathlib import Path
from typing import Any

from hfkit.errors import HfkitError
from hfkit.events import Event, note
from hfkit.recipe.load import flat, read_mapping
from hfkit.run import Run
from hfkit.tasks.analysis import masks_of
from hfkit.verbs.columns_file import Evaluated, read_columns
from hfkit.verbs.compare import compare, headline, task_of
from hfkit.verbs.runs import evaluations, facts_of, find
from hfkit.verbs.runs.listing import summary

FACTS = ("devices", "world", "precision", "git_commit")  # facts beside recipe, versions and data
Sides = dict[str, list[Any]]  # key -> [what a has, what b has]


def diff_runs(a: str, b: str) -> Iterator[Event]:
    """What differs between two runs, and how their scores do; `hfkit compare` tests one evaluation only.

    Yields events, last "result" with `recipe`, `resolved`, `versions`, `facts`, `data`, `metrics` (of the best
    checkpoints), and `evaluations`: of each that both have, what `compare` says when it was on the same rows, else the
    slices of both. Raises HfkitError.
    """
    runs = find(a), find(b)
    facts = facts_of(runs[0]), facts_of(runs[1])
    one, other = summary(runs[0]), summary(runs[1])
    result: dict[str, Any] = {
        "a": {key: one[key] for key in ("name", "path", "status", "task", "model", "headline")},
        "b": {key: other[key] for key in ("name", "path", "status", "task", "model", "headline")},
        "recipe": differing(*(flat(recipe_of(run)) for run in runs)),
        "resolved": differing(*(side.get("resolved") or {} for side in facts)),
        "versions": differing(*(side.get("versions") or {} for side in facts)),
        "facts": differing(*({key: side.get(key) for key in FACTS} for side in facts)),
        "data": differing(*(side_of_data(side) for side in facts)),
        "metrics": beside(one["metrics"], other["metrics"]),
    }
    result["evaluations"] = yield from both_evaluations(*runs)
    yield Event("next", {"commands": [f"hfkit runs show {one['name']}", f"hfkit runs show {other['name']}"]})
    yield Event("result", result)


def recipe_of(run: Run) -> dict[str, Any]:
    """The recipe as the run wrote it; empty where a run was killed before it could."""
    path = run.path / "recipe.yaml"
    return read_mapping(path) if path.exists() else {}


def differing(a: Mapping[str, Any], b: Mapping[str, Any]) -> Sides:
    """The keys whose values differ, with both values; null where one has none."""
    return {key: [a.get(key), b.get(key)] for key in {**a, **b} if a.get(key) != b.get(key)}


def side_of_data(facts: Mapping[str, Any]) -> dict[str, Any]:
    """Name, rows and fingerprint of each data set, as one flat mapping."""
    held = facts.get("data") or {}
    return {f"{name}.{key}": data.get(key) for name, data in held.items() for key in ("name", "rows", "fingerprint")}


def beside(a: Mapping[str, float], b: Mapping[str, float]) -> dict[str, dict[str, float | None]]:
    """Each metric of both sides; `difference` is b - a where both have it."""
    return {
        name: {
            "a": a.get(name),
            "b": b.get(name),
            "difference": b[name] - a[name] if name in a and name in b else None,
        }
        for name in {**a, **b}
    }


def both_evaluations(a: Run, b: Run) -> Generator[Event, None, dict[str, dict[str, Any]]]:
    """What there is to say of each evaluation that both runs have, by its name."""
    names = [found["name"] for found in evaluations(a)]
    there = {found["name"] for found in evaluations(b)}
    compared: dict[str, dict[str, Any]] = {}
    for name in (name for name in names if name in there):
        folders = a.path / "eval" / name, b.path / "eval" / name
        try:
            compared[name] = of_compare(*folders)
        except HfkitError as error:
            yield note(f"{name}: not compared row by row: {error.message}")
            if found := slices_of_both(*folders):
                compared[name] = {"slices": found}
    return compared


def of_compare(a: Path, b: Path) -> dict[str, Any]:
    """The result of `hfkit compare` on two evaluations. Raises HfkitError when they are not of the same rows."""
    *_, last = compare(str(a), str(b))
    return {key: value for key, value in last.fields.items() if key != "throughput"}


def slices_of_both(a: Path, b: Path) -> dict[str, dict[str, Any]]:
    """The headline metric of each slice that both evaluations have, on other rows each, so without an interval."""
    try:
        sides = measured_slices(read_columns(a)), measured_slices(read_columns(b))
    except HfkitError:
        return {}
    found: dict[str, dict[str, Any]] = {}
    for name, values in sides[0].items():
        parts = {
            value: {
                "rows": [part["rows"], other["rows"]],
                "metrics": beside(part["metrics"], other["metrics"]),
            }
            for value, part in values.items()
            if (other := sides[1].get(name, {}).get(value)) is not None
        }
        found |= {name: parts} if parts else {}
    return found


def measured_slices(found: Evaluated) -> dict[str, dict[str, Any]]:
    """{slice: {value: {"rows", "metrics"}}} with the headline metric alone."""
    task = task_of(found)
    name = headline(task, task.reduce(found.measured.columns))
    parts: dict[str, dict[str, Any]] = {}
    for part, values in found.slices.items():
        parts[part] = {}
        for value, inside in masks_of(values).items():
            metrics = task.reduce({key: column[inside] for key, column in found.measured.columns.items()})
            parts[part][value] = {"rows": int(inside.sum()), "metrics": {k: v for k, v in metrics.items() if k == name}}
    return parts
