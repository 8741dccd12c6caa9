"""The run folder of a fine-tuning: the one to continue, or a new one; what run.json says at its start and end."""

from __future__ import annotations

import time
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TypeVar

from hfkit import run as runs
from hfkit.data.predictions import REJECTED, write_rejected
from hfkit.data.rows import Rows
from hfkit.errors import DivergenceError, HfkitError, Stopped, UsageError
from hfkit.events import Event, note
from hfkit.lock import Hold, foreign, refuse_held
from hfkit.machine import start_facts
from hfkit.models.intake import weights_sha256
from hfkit.recipe import Recipe
from hfkit.recipe.load import as_dict, differences, dump, identity
from hfkit.run import Run
from hfkit.verbs.finetune.ready import Ready
from hfkit.verbs.prior import Identity
from hfkit.verbs.together import together

T = TypeVar("T")


def find_prior(recipe: Recipe, output: Path | None, *, resume: bool, overwrite: bool) -> Run | None:
    """The run to continue, if any. Raises UsageError when the folder is taken, or holds another recipe's run."""
    if not resume:
        if output is not None and runs.is_taken(output) and not overwrite:
            raise UsageError(
                f"{output} is not empty", "add --resume or --overwrite, or choose another folder with --output"
            )
        if output is not None:
            refuse_held(output)
        runs.check_output(output if output is not None else runs.runs_folder())
        return None
    path = output if output is not None else Identity(recipe).newest()
    if path is None or not (path / "run.json").exists():
        if path is not None and runs.is_taken(path):
            raise UsageError(f"{path} is not a run", "choose another folder with --output")
        return None
    refuse_held(path)
    written = path / "recipe.yaml"  # after run.json, so a run killed in its first moment lacks it
    changed, _ = differences(as_dict(recipe), written) if written.exists() else ([], [])
    if changed:
        raise UsageError(
            f"{path} was started with another recipe:\n" + "\n".join(changed[:8]), "start a new run without --resume"
        )
    return Run(path.absolute())


def take_over(prior: Run, place: Any, hold: Hold) -> Generator[Event, None, None]:
    """Hold the folder of the run to continue, before its checkpoints are looked at. Raises UsageError."""
    if place.world.main and (other := foreign(prior.path)):
        yield note(f"{prior.path} is locked by {other}; watching whether that still runs")
    together(place, lambda: hold.take(prior.path))


def open_or_create(
    recipe: Recipe, ready: Ready, prior: Run | None, output: Path | None, hold: Hold, *, overwrite: bool
) -> Run:
    """The run folder, held and opened by the main process; the others learn its path."""
    if prior is not None:
        return together(ready.place, lambda: open_again(prior, recipe, ready))
    return together(ready.place, lambda: new_run(recipe, ready, output, hold, overwrite=overwrite))


def open_again(prior: Run, recipe: Recipe, ready: Ready) -> Run:
    """The run, one attempt further; its identity is that of recipe.yaml, which has all keys of today."""
    run, place = runs.open_run(prior.path), ready.place
    run.update(status="running", world=place.world.size, devices=place.describe(), identity=identity(recipe))
    run.write("recipe.yaml", dump(recipe))  # cadence may be another now, or a run killed in its first moment lacks it
    return run


def new_run(recipe: Recipe, ready: Ready, output: Path | None, hold: Hold, *, overwrite: bool) -> Run:
    """A fresh run folder, held, with recipe.yaml and run.json."""
    from hfkit.data.features import tokenizer_digest

    suffix = identity(recipe)
    folder = runs.make_folder(recipe.name, recipe.model, suffix, output)
    hold.take(folder)
    run = runs.create(folder, overwrite=overwrite)
    place = ready.place
    run.update(
        **start_facts(
            "finetune",
            {
                "recipe": recipe.name,
                "identity": suffix,
                "task": recipe.task,
                "model": ready.found.name,
                "model_sha256": weights_sha256(ready.found.folder),
                "tokenizer_sha256": tokenizer_digest(ready.tokenizer),
                "devices": place.describe(),
                "world": place.world.size,
                "precision": place.precision,
                "seed": recipe.train.seed,
                "metric": ready.metric,
                "better": ready.better,
                "settings": ready.task.settings.model_dump(mode="json"),
                "data": {
                    "train": data_facts(ready.train_rows),
                    "validation": data_facts(ready.validation_rows),
                    **({"pseudo": ready.pseudo} if ready.pseudo else {}),
                },
            },
        )
    )
    run.write("recipe.yaml", dump(recipe))
    write_rejected(run.path / REJECTED, ready.train_rows, ready.validation_rows)
    return run


def data_facts(rows: Rows) -> dict[str, Any]:
    """What run.json keeps of a data set."""
    return {
        "name": rows.name,
        "rows": len(rows),
        "fingerprint": rows.fingerprint,
        "files": rows.files,
        "columns": rows.mapping,
    }


def refuse_changed(run: Run, ready: Ready) -> None:
    """A run goes on only with the data, model, tokenizer and settings it began with. Raises UsageError naming them."""
    from hfkit.data.features import tokenizer_digest

    facts, changed = run.facts(), []
    names: Sequence[tuple[str, Rows]] = (("train", ready.train_rows), ("validation", ready.validation_rows))
    for name, rows in names:
        known = facts.get("data", {}).get(name, {}).get("fingerprint")
        if known and known != rows.fingerprint:
            changed.append(f"the {name} data changed: {rows.name}")
    known, now_pseudo = facts.get("data", {}).get("pseudo"), ready.pseudo
    if known and now_pseudo and known["fingerprint"] != now_pseudo["fingerprint"]:
        changed.append(f"the pseudo-labelled data or its labels changed: {now_pseudo['name']}")
    if facts.get("tokenizer_sha256") not in (None, tokenizer_digest(ready.tokenizer)):
        changed.append(f"the tokenizer changed: {ready.found.name}")
    if facts.get("model_sha256") not in (None, weights_sha256(ready.found.folder)):
        changed.append(f"the model's weights changed: {ready.found.name}")
    then, now = facts.get("settings") or {}, ready.task.settings.model_dump(mode="json")
    for key in now if then else ():
        if then.get(key) != now[key]:
            changed.append(f"{ready.task.name}.{key}: {then.get(key)!r} -> {now[key]!r}"[:300])
    if changed:
        raise UsageError(
            f"{run.path} began with something else:\n" + "\n".join(changed[:8]), "start a new run without --resume"
        )


def kept(events: Generator[Event, None, T], into: list[Event]) -> Generator[Event, None, T]:
    """The same events, each also put into a list; returns what they return."""
    while True:
        try:
            event = next(events)
        except StopIteration as end:
            return end.value
        into.append(event)
        yield event


def log_early(run: Run, events: Sequence[Event]) -> None:
    """Log what was shown before the run had a folder; what every `auto` became goes into run.json too."""
    for event in events:
        run.append(event)
    run.update(resolved={e.fields["key"]: e.fields["value"] for e in events if e.kind == "resolved"})


def changed_since(prior: Run, recipe: Recipe, events: Sequence[Event], world: int) -> list[str]:
    """Lines for what is not as it was when the run began, and yet lets it go on: the same samples, other last bits."""
    facts = prior.facts()
    before = {"the number of processes": facts.get("world", world), **facts.get("resolved", {})}
    now = {"the number of processes": world}
    now |= {e.fields["key"]: e.fields["value"] for e in events if e.kind == "resolved"}
    changed = [key for key in now if key in before and before[key] != now[key]]
    lines = [f"{key} was {before[key]} when the run began and is {now[key]} now" for key in changed]
    written = prior.path / "recipe.yaml"
    return lines + (differences(as_dict(recipe), written)[1] if written.exists() else [])


def recorded(run: Run, hold: Hold, main: bool, events: Iterator[Event]) -> Iterator[Event]:
    """The same events, each also appended to the run's events.jsonl. Raises UsageError when the lock was lost."""
    for event in events:
        if main:
            hold.check()
            run.append(event)
        yield event


@contextmanager
def ending(run: Run, *, main: bool) -> Iterator[None]:
    """However the work inside ends, run.json says so."""
    try:
        yield
    except BaseException as error:
        if main and run.path.is_dir():  # a folder that is gone is not made again for this
            with suppress(HfkitError):  # a full disk must not hide what happened
                run.update(status=status_of(error), finished=time.time(), exit_code=exit_code_of(error))
        raise


def status_of(error: BaseException) -> str:
    """How a run ended, for run.json."""
    if isinstance(error, DivergenceError):
        return "diverged"
    return "interrupted" if isinstance(error, (Stopped, KeyboardInterrupt, GeneratorExit, SystemExit)) else "failed"


def exit_code_of(error: BaseException) -> int:
    """The code that the command will end with."""
    code = getattr(error, "code", None)
    return code if isinstance(code, int) else 130 if status_of(error) == "interrupted" else 1
