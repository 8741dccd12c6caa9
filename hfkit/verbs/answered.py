"""Answers of whatever stands for a model: of one, or of an ensemble, whose models answer in turn and are averaged.

For eval and predict. Only one model is held at a time; what the others said waits in files without a name.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Generator, Iterator, Sequence
from types import SimpleNamespace
from typing import IO, TYPE_CHECKING, Any

import numpy as np

from hfkit.engine.processes.world import launched
from hfkit.errors import UsageError
from hfkit.events import Event, note, resolved
from hfkit.files import json_line
from hfkit.models import Checkpoint
from hfkit.models.checkpoint import Part
from hfkit.models.ensemble import check_part
from hfkit.tasks.base import Prediction, Task
from hfkit.tasks.blend import blend_of
from hfkit.verbs.answering import Answering, Reading, answering, at_hand
from hfkit.verbs.labels import without_premise
from hfkit.verbs.trained import find_trained

if TYPE_CHECKING:
    from hfkit.data.rows import Rows


def answered(
    found: Checkpoint, task: Task, reading: Reading, *, overrides: Sequence[str], offline: bool, **how: Any
) -> Generator[Event, None, Answering]:
    """The answers of a model or an ensemble to the rows of `reading`; `how` is what `answering` takes.

    `overrides` hold for each model of an ensemble, too. Raises UsageError for an ensemble under a launcher.
    """
    if not found.parts:
        return (yield from answering(found, task, reading, **how))
    if launched():
        raise UsageError("an ensemble is answered by one process", "start hfkit without a launcher")
    task, rows = yield from reading
    task, resolutions = task.adopt(rows, None)
    for item in resolutions:
        yield resolved(item.key, item.value, item.why)
    made = yield from parts_answered(found.parts, task, rows, overrides=overrides, offline=offline, **how)
    blend, weights = blend_of(task), [part.weight for part in found.parts]
    answers = (
        blend.blend(row, each, weights) for row, *each in zip(rows, *(one.answers for one in made), strict=True)
    )
    lengths = np.concatenate([one.features.lengths for one in made])
    seconds = sum(one.seconds for one in made)
    return Answering(task, rows, SimpleNamespace(lengths=lengths), made[0].precision, True, answers, seconds)


def parts_answered(
    parts: Sequence[Part], task: Task, rows: Rows, *, overrides: Sequence[str], offline: bool, **how: Any
) -> Generator[Event, None, list[Answering]]:
    """What each model says of the rows, with all that blending reads; `task` is the one they are answered for."""
    made, said = [], set[str]()
    keys = [text for text in overrides if not text.startswith("data.")]  # which say how the rows were read
    for number, part in enumerate(parts, start=1):
        yield note(f"model {number} of {len(parts)}: {part.folder}")
        member, _, bound, _ = find_trained(str(part.folder), None, keys, offline=offline)
        check_part(part, member.saved)
        if getattr(task.settings, "hypothesis_only", False):
            bound = without_premise(bound)
        keeping = blend_of(bound).keeping()
        work = answering(member, keeping, at_hand(keeping, rows), **{**how, "processes": 1})
        one = yield from said_once(work, said)
        made.append(one.with_answers(_spooled(one.answers)))
    return made


def said_once(events: Generator[Event, None, Answering], said: set[str]) -> Generator[Event, None, Answering]:
    """The same events without what an earlier model said in the same words."""
    while True:
        try:
            event = next(events)
        except StopIteration as end:
            return end.value
        text = None if event.kind == "progress" else f"{event.kind} {dict(event.fields)}"
        if text not in said:
            said |= {text} if text else set()
            yield event


def _spooled(answers: Iterator[Prediction]) -> Iterator[Prediction]:
    """The same predictions, out of a file: written now, read when asked for."""
    file: IO[str] = tempfile.TemporaryFile("w+", encoding="utf-8", prefix="hfkit-answers-")  # noqa: SIM115
    file.writelines(map(json_line, answers))
    file.seek(0)
    return (json.loads(line) for line in file)
