"""One run of a member: trained by `finetune` in a folder of its own, then asked for the test rows, all in time."""

from __future__ import annotations

import time
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from hfkit.data.predictions import write_predictions
from hfkit.events import Event
from hfkit.files import remove_folder, write_json
from hfkit.recipe import Recipe
from hfkit.run import Run
from hfkit.tasks.blend import blend_of
from hfkit.verbs.answering import answering, at_hand
from hfkit.verbs.compete.clock import Clock, watched
from hfkit.verbs.compete.members import DONE, TEST, facts_of
from hfkit.verbs.cv.training import passed_on
from hfkit.verbs.finetune import finetune
from hfkit.verbs.trained import find_trained

if TYPE_CHECKING:
    from hfkit.data.rows import Rows

T = TypeVar("T")


@dataclass(frozen=True)
class How:
    """What every run of a competition shares."""

    clock: Clock
    test: Rows
    cpu: bool
    offline: bool
    said: set[str]  # warnings that were shown


def run(recipe: Recipe, folder: Path, how: How) -> Generator[Event, None, dict[str, Any]]:
    """Train `recipe` in `folder`, or go on there, and answer the test rows; returns `facts`.

    Of a run that is done the checkpoints are removed. Raises TimeUp, when the run stays to be gone on with, and
    HfkitError.
    """
    if (folder / DONE).is_file():
        return facts_of(folder)
    begun = time.monotonic()
    work = finetune(recipe, output=folder, resume=True, cpu=how.cpu, processes=1, offline=how.offline)
    yield from watched(passed_on(work, how.said), how.clock)
    trained = time.monotonic()
    remove_folder(folder / "checkpoints")
    found, _, task, _ = find_trained(str(folder), None, [], offline=how.offline)
    keeping = blend_of(task).keeping()
    work_on_test = answering(
        found, keeping, at_hand(keeping, how.test), cpu=how.cpu, precision=recipe.train.precision, processes=1
    )
    answers = yield from watched(bar_only(work_on_test), how.clock)
    write_predictions(folder / TEST, answers.answers)
    kept = facts(Run(folder), recipe, trained - begun, time.monotonic() - trained)
    write_json(folder / DONE, kept)
    return kept


def bar_only(events: Generator[Event, None, T]) -> Generator[Event, None, T]:
    """What moves a bar, of events that say the same of every run; returns what they return."""
    while True:
        try:
            event = next(events)
        except StopIteration as end:
            return end.value
        if event.kind == "progress":
            yield event


def facts(run: Run, recipe: Recipe, training: float, answering: float) -> dict[str, Any]:
    """What the plan needs of a finished run: `epochs` trained, whether time `cut` them, `steps_seconds` of the steps
    alone, `other_seconds` of all else (start, evaluation, writing, the test rows), `after_seconds` of what came behind
    its evaluation, where its time limit ends, `resolved`: what every auto became.
    """
    events = list(run.events())
    earlier = [event for event in events if event["attempt"] < events[-1]["attempt"]]
    last = next(event for event in reversed(events) if event["kind"] == "step")
    scored = max(n for n, event in enumerate(events) if event["kind"] == "scored" and event["step"] is not None)
    said = run.facts()
    steps_seconds = last["step"] * said["batches"]["batch_size"] / max(1e-9, last["fields"]["rows_per_s"])
    inside = float(said["result"]["throughput"]["seconds"])
    whole = lasted(earlier) + max(training, inside) + answering
    epochs = float(last["fields"]["epoch"])
    return {
        "epochs": epochs,
        "cut": epochs < 0.97 * recipe.train.epochs and recipe.train.max_steps is None,
        "steps_seconds": steps_seconds,
        "other_seconds": max(0.0, whole - steps_seconds),
        "after_seconds": answering + lasted(events[scored:]),
        "resolved": said.get("resolved", {}),
    }


def lasted(events: Sequence[Mapping[str, Any]]) -> float:
    """Seconds from the first of events to the last, without those between attempts, which may be a night."""
    pairs = pairwise(events)
    return sum(after["time"] - before["time"] for before, after in pairs if before["attempt"] == after["attempt"])
