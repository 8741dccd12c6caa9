"""`hfkit ensemble`: several runs and cross-validations as one model, which eval, predict and compare take as such.

In the order of the work: members (found, checked to go together), rows (what they say of rows they did not see),
fitting (weights). The folder holds ensemble.json, which names the models; no weights are copied.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from hfkit import run as runs
from hfkit.errors import UsageError
from hfkit.events import Event
from hfkit.files import write_json
from hfkit.machine import start_facts
from hfkit.models.ensemble import FILE, described
from hfkit.recipe.keys import Data
from hfkit.recipe.overrides import section_from_overrides
from hfkit.run import Run, shown_path
from hfkit.tasks.base import example_fields
from hfkit.verbs.beside_best import verdict
from hfkit.verbs.ensemble.fitting import Fitted, fitted
from hfkit.verbs.ensemble.members import Member, members_of
from hfkit.verbs.ensemble.rows import answered_now, out_of_fold
from hfkit.verbs.evaluate import data_stem
from hfkit.verbs.kept_evaluation import write_evaluation
from hfkit.verbs.trained import precision_of


def ensemble(
    names: Sequence[str],
    *,
    output: Path,
    data: Any = None,
    equal: bool = False,
    overwrite: bool = False,
    limit: int | None = None,
    cpu: bool = False,
    overrides: Sequence[str] = (),
    offline: bool = False,
) -> Iterator[Event]:
    """Average `names` (runs, or folders of cross-validations) as the model `output`.

    Weights are fitted on the out-of-fold predictions of cross-validations, or on `data` with gold; with `equal`, and
    for a single member, nothing is fitted. Yields events, last "result" with `members` (weight, metrics, what is lost
    without it), and of fitted weights `metrics`, `ci95`, `difference` to the best member. Raises HfkitError.
    """
    started = time.time()
    precision, settings = precision_of(overrides), section_from_overrides(Data, "data", overrides)
    check_output(output, overwrite=overwrite)
    if data is None and (limit or any(text.startswith("data.") for text in overrides)):
        raise UsageError("keys of data and --limit have no effect without --data", "leave them out, or give --data D")
    members = members_of(names, overrides, offline=offline)
    if data is not None and (equal or len(members) == 1):
        raise UsageError("--data has no effect: there are no weights to fit", "leave it out, or --equal, or add a RUN")
    found = None
    if len(members) > 1 and not equal:
        if data is None:
            work = out_of_fold(members, offline=offline)
        else:
            how = {"cpu": cpu, "precision": precision}
            work = answered_now(members, data, settings, limit=limit, overrides=overrides, offline=offline, **how)
        found = fitted(*(yield from work))
    run = made(output, members, found, overwrite=overwrite, name="oof" if data is None else None)
    result = {**run.facts()["result"], "throughput": {"seconds": time.time() - started}}
    if found is not None:
        yield Event("scored", {"name": "ensemble, each half of the rows by the weights of the other", **found.fields})
    shown = shown_path(run.path)
    yield Event("saved", {"what": "ensemble", "path": shown})
    commands = [f"hfkit predict {shown} {example_fields(members[0].task)}", f"hfkit eval {shown} --data FILE"]
    yield Event("next", {"commands": commands})
    yield Event("result", result)


def check_output(output: Path, *, overwrite: bool) -> None:
    """Refuse a folder that holds something but an ensemble to overwrite. Raises UsageError, ResourceError."""
    if runs.is_taken(output):
        if not overwrite:
            raise UsageError(f"{output} is not empty", "add --overwrite, or choose another folder with --output")
        if not (output / FILE).exists():
            raise UsageError(f"{output} is not an ensemble, so it is not overwritten", "choose another folder")
    runs.check_output(output)


def made(
    output: Path, members: Sequence[Member], found: Fitted | None, *, overwrite: bool, name: str | None
) -> Run:
    """The folder: run.json, which makes it one of the runs; the evaluation `name` (by default of the data's stem) of
    what was fitted; and ensemble.json, written last, which makes it a model."""
    run = runs.create(runs.make_folder("", "", "", output), overwrite=overwrite)
    first = members[0]
    weights = [1 / len(members)] * len(members) if found is None else found.mix.weights.tolist()
    entries = [entry(number, *pair, found, run.path) for number, pair in enumerate(zip(members, weights, strict=True))]
    fields: dict[str, Any] = {"task": first.task_name, "run": str(run.path), "members": entries}
    if found is not None:
        fields |= scores(found, [member.name for member in members])
        data = found.rows.name
        write_evaluation(
            run.path / "eval" / (name or runs.slug(data_stem(data))), found.task, found.rows, found.predictions,
            found.found, found.fields, name=first.task_name, data=data,
        )  # fmt: skip
    facts = start_facts("ensemble", {"task": first.task_name, "model": f"ensemble of {len(members)}"})
    ended = {"status": "done", "finished": time.time(), "exit_code": 0}
    run.update(**{**facts, **ended}, metrics=fields.get("metrics"), result=fields)
    settings = first.task.settings.model_dump(mode="json", exclude=first.task.settings.on_request)
    write_json(run.path / FILE, {"task": first.task_name, "settings": settings, "members": entries})
    return run


def entry(number: int, member: Member, weight: float, found: Fitted | None, folder: Path) -> dict[str, Any]:
    """One member in ensemble.json and in the result."""
    kept: dict[str, Any] = {
        "name": member.name,
        "weight": weight,
        "models": [described(part, folder) for part in member.parts],
    }
    if found is None:
        return kept
    without = float(found.mix.without[number])
    return kept | {
        "metrics": found.members[number],
        "loss": float(found.mix.alone[number]),
        "loss_without": without if without == without else None,  # NaN is not equal to itself
    }


def scores(found: Fitted, names: Sequence[str]) -> dict[str, Any]:
    """What the average is worth on the rows that it was fitted on."""
    mine, best = found.fields["metrics"][found.metric], found.members[found.best][found.metric]
    return {
        **found.fields,
        "data": found.rows.name,
        "fitted_on": {"rows": len(found.found), "loss": found.mix.loss},
        "metric": found.metric,
        "best_member": names[found.best],
        "difference": found.difference,
        "verdict": verdict("ensemble", found.metric, mine, names[found.best], best, found.difference),
    }
