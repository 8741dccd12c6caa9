"""`runs rerun`: train again what a run.json and a recipe.yaml describe, and say whether the same came out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from hfkit.data import load_training
from hfkit.errors import UsageError
from hfkit.events import Event, note, warning
from hfkit.machine import git_commit, machine, versions
from hfkit.recipe import Recipe
from hfkit.recipe.load import build, read_mapping
from hfkit.run import Run
from hfkit.tasks import task_class
from hfkit.verbs.finetune import finetune
from hfkit.verbs.runs import facts_of, find
from hfkit.verbs.runs.diff import beside, differing

KNOWN_LATER = ("devices", "precision", "model_sha256", "tokenizer_sha256")  # once the new run has begun


def rerun(
    name: str,
    *,
    output: Path | None = None,
    overwrite: bool = False,
    cpu: bool = False,
    processes: int | None = None,
    offline: bool = False,
) -> Iterator[Event]:
    """Train as the run `name` was trained, into `output` (default: a new run), and compare weights and scores.

    What is not as it was (versions, machine, commit, data, time limits) is said first. `processes` is the run's own
    number by default. Yields the events of finetune, last "result": its object with `rerun_of`, `changed`, `same`
    {"weights", "metrics"} and `metrics_beside`. Raises HfkitError.
    """
    run = find(name)
    facts = facts_of(run)
    refuse_output(run, output)
    recipe = recipe_of(run, facts)
    changed = {**changed_place(facts), **changed_data(facts, recipe, offline=offline)}
    yield from map(warning, lines_of(changed))
    if recipe.train.time is not None:
        yield warning(f"train.time={recipe.train.time} fits the schedule to the speed: the weights will not be equal")
    world = processes or int(facts.get("world") or 1)
    cpu = cpu or str(facts.get("devices")).startswith("cpu")
    result: dict[str, Any] = {}
    events = finetune(recipe, output=output, overwrite=overwrite, cpu=cpu, processes=world, offline=offline)
    for event in events:
        if event.kind == "result":
            result = dict(event.fields)
        else:
            yield event
    made = Run(Path(result["run"]))
    apart = differing(*({key: side.get(key) for key in KNOWN_LATER} for side in (facts, facts_of(made))))
    yield from map(warning, lines_of(apart))
    changed |= apart
    same = {"weights": equal_weights(run, made), "metrics": equal_metrics(facts, result)}
    yield note(verdict(run, same))
    yield Event("next", {"commands": [f"hfkit runs diff {run.path.name} {made.path.name}"]})
    scores = beside((facts.get("best") or {}).get("metrics") or {}, result.get("metrics") or {})
    yield Event(
        "result", {**result, "rerun_of": str(run.path), "changed": changed, "same": same, "metrics_beside": scores}
    )


def refuse_output(run: Run, output: Path | None) -> None:
    """The run that is repeated must stay as it is. Raises UsageError."""
    if output is not None and output.absolute() == run.path.absolute():
        raise UsageError(f"{output} is the run to be repeated", "choose another folder with --output")


def recipe_of(run: Run, facts: Mapping[str, Any]) -> Recipe:
    """The recipe under the name it had. Raises UsageError without one."""
    path = run.path / "recipe.yaml"
    if not path.exists():
        raise UsageError(f"{run.path} has no recipe.yaml, so it cannot be repeated", "`hfkit runs list` shows others")
    return build(read_mapping(path), name=str(facts.get("recipe") or "recipe"), where=str(path))


def changed_place(facts: Mapping[str, Any]) -> dict[str, list[Any]]:
    """Versions, the machine and the commit of the current directory where they are not as they were."""
    changed = {f"version of {key}": pair for key, pair in differing(facts.get("versions") or {}, versions()).items()}
    changed |= differing(facts.get("machine") or {}, machine())
    before, now = facts.get("git_commit"), git_commit()
    return changed | ({"commit": [before, now]} if before and now and before != now else {})


def changed_data(facts: Mapping[str, Any], recipe: Recipe, *, offline: bool) -> dict[str, list[Any]]:
    """The data sets whose fingerprints are not as they were. Raises DataError when they cannot be read."""
    kind = task_class(recipe.task)
    train, validation, _ = load_training(recipe.data, columns=kind.columns, group=kind.group, offline=offline)
    task = kind(kind.Settings(**(facts.get("settings") or {})))
    train = train.subset([place for place, row in enumerate(train) if task.usable(row)])  # as training leaves them out
    held = facts.get("data") or {}
    now = {"train data": train.fingerprint, "validation data": validation.fingerprint}
    then = {f"{name} data": data.get("fingerprint") for name, data in held.items()}
    return {key: pair for key, pair in differing(then, now).items() if None not in pair}


def lines_of(changed: Mapping[str, Sequence[Any]]) -> list[str]:
    """What changed, as lines."""
    return [f"{key} was {then} and is {now} now" for key, (then, now) in changed.items()]


def equal_weights(first: Run, second: Run) -> bool | None:
    """Whether the weights are equal bit by bit; None where the first run left none."""
    from hfkit.models.intake import weights_sha256

    digest = weights_sha256(first.model)
    return None if digest is None else digest == weights_sha256(second.model)


def equal_metrics(facts: Mapping[str, Any], result: Mapping[str, Any]) -> bool | None:
    """Whether the best checkpoints scored the same to the last digit; None where the first run has no scores."""
    before = (facts.get("best") or {}).get("metrics")
    return None if not before else before == result.get("metrics")


def verdict(run: Run, same: Mapping[str, bool | None]) -> str:
    """One sentence on what came out."""
    words = {True: "equal bit by bit", False: "not equal", None: "not there to compare"}
    scores = {True: "equal", False: "not equal", None: "not there to compare"}
    return f"beside {run.path.name}: weights are {words[same['weights']]}, scores are {scores[same['metrics']]}"
