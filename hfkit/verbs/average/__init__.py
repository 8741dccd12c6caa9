"""`hfkit average`: the mean of several runs' weights, one model as large and as fast as each of them.

In the order of the work: members (found, checked to go together), choosing (those that help, by rows with gold), mean
(the folder of the model), place (where it stands).
"""

from __future__ import annotations

import time
from collections.abc import Generator, Iterator, Sequence
from pathlib import Path
from typing import Any

from hfkit.engine.processes.world import launched
from hfkit.errors import UsageError
from hfkit.events import Event, finite, note
from hfkit.files import write_json
from hfkit.machine import start_facts
from hfkit.recipe.keys import Data
from hfkit.recipe.overrides import section_from_overrides
from hfkit.run import shown_path
from hfkit.tasks.base import example_fields
from hfkit.tasks.scoring import score_columns, score_fields
from hfkit.verbs.average.choosing import Choice, Judge, chosen
from hfkit.verbs.average.mean import doubts, write_mean
from hfkit.verbs.average.members import Member, members_of, of_which_settings
from hfkit.verbs.average.place import check_output, made_in
from hfkit.verbs.beside_best import difference, verdict
from hfkit.verbs.evaluate import evaluation_name, to_score
from hfkit.verbs.kept_evaluation import write_evaluation
from hfkit.verbs.trained import precision_of

CHOSEN = "the members were chosen by these rows, which flatters the score: score it on others"


def average(
    names: Sequence[str],
    *,
    output: Path,
    data: Any = None,
    overwrite: bool = False,
    limit: int | None = None,
    cpu: bool = False,
    overrides: Sequence[str] = (),
    offline: bool = False,
) -> Iterator[Event]:
    """Make the run `output`, whose model's weights are the mean of those of `names` (runs and model folders).

    With `data`, rows with gold, only members that help are averaged, and the mean is scored beside the best of them.
    Yields events, last "result" with `members` (whether it is averaged, nearness of its weights to those of the first;
    in the order in which they were tried, metrics alone and of the mean with it), and with `data` `metrics`, `ci95`,
    `difference` to the best member. Raises HfkitError.
    """
    started = time.time()
    precision, settings = precision_of(overrides), section_from_overrides(Data, "data", overrides)
    if launched():
        raise UsageError("a mean is made by one process", "start hfkit without a launcher")
    output = output.resolve()
    check_output(output, overwrite=overwrite)
    if data is None and (cpu or limit or any(text.startswith(("data.", "train.")) for text in overrides)):
        raise UsageError(
            "--cpu, --limit and keys of data and train have no effect without --data",
            "leave them out, or give --data D",
        )
    members = members_of(names, overrides, offline=offline)
    for member in members:
        if member.folder.is_relative_to(output):
            raise UsageError(f"{member.name} is in {output}, which would be overwritten", "choose another folder")
    judge = None
    if data is not None:
        _, rows = yield from to_score(members[0].task, data, settings, limit=limit, offline=offline)
        how = {"cpu": cpu, "precision": precision, "limit": limit or settings.limit}
        judge = Judge(rows, settings, overrides, offline, how)
    with made_in(output, overwrite=overwrite) as place:
        fields = yield from _made(members, judge, place)
        result = {"task": members[0].task_name, "run": str(output), **fields}
        averaged = sum(member["averaged"] for member in fields["members"])
        facts = start_facts("average", {"task": members[0].task_name, "model": f"average of {averaged}"})
        ended = {"status": "done", "started": started, "finished": time.time(), "exit_code": 0}
        write_json(place / "run.json", finite({**facts, **ended, "metrics": fields.get("metrics"), "result": result}))
    shown = shown_path(output)
    if judge is not None:
        yield Event("scored", {"name": f"the mean on {judge.rows.name}", **fields})
        yield note(CHOSEN)
    yield Event("saved", {"what": "model", "path": shown})
    commands = [f"hfkit eval {shown} --data FILE", f"hfkit predict {shown} {example_fields(members[0].task)}"]
    yield Event("next", {"commands": commands})
    yield Event("result", {**result, "throughput": {"seconds": time.time() - started}})


def _made(members: Sequence[Member], judge: Judge | None, place: Path) -> Generator[Event, None, dict[str, Any]]:
    """model/ in `place`, and with a judge the evaluation in eval/; returns what the result says of both."""
    from hfkit.models.mean import check_alike

    tokenizer = check_alike([member.found for member in members], members[0].task.head)
    choice = None if judge is None else (yield from chosen(members, tokenizer, judge, place / "trial"))
    kept = list(range(len(members))) if choice is None else choice.kept
    averaged = [members[number] for number in kept]
    if len(averaged) == 1:
        yield note(f"no mean is better than {averaged[0].name} alone, which is what the model is")
    yield from of_which_settings(averaged)
    nearness = write_mean(averaged, tokenizer, place / "model")
    yield from doubts(averaged, nearness)
    entries = [entry(member) for member in members]
    for number, near in zip(kept, nearness, strict=True):
        entries[number] |= {"averaged": True, "nearness": near}
    if judge is None or choice is None:
        return {"members": entries}
    tried = [{**entries[one.number], "metrics": one.alone, "metrics_with": one.together} for one in choice.tried]
    return {"members": tried, **_scores(choice, judge, members, place)}


def entry(member: Member) -> dict[str, Any]:
    """One member in the result."""
    return {
        "name": member.name, "path": str(member.folder), "sha256": member.sha256, "averaged": False, "nearness": None,
    }  # fmt: skip


def _scores(choice: Choice, judge: Judge, members: Sequence[Member], place: Path) -> dict[str, Any]:
    """What the mean is worth on the rows; its predictions and columns are written for `hfkit compare`."""
    mean, best, metric, rows = choice.mean, choice.best, choice.metric, judge.rows
    fields = score_fields(score_columns(mean.task, mean.found))
    folder = place / "eval" / evaluation_name(rows.name, rows.fingerprint)
    write_evaluation(
        folder, mean.task, rows, mean.predictions, mean.found, fields, name=members[0].task_name, data=rows.name,
        columns=judge.settings.slices,
    )  # fmt: skip
    found = difference(mean.task, best.found, mean.found, metric)
    name = members[choice.tried[0].number].name
    return {
        **fields,
        "data": rows.name,
        "metric": metric,
        "best_member": name,
        "difference": found,
        "verdict": verdict("mean", metric, mean.metrics[metric], name, best.metrics[metric], found),
    }
