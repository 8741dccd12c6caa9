"""What stands as the submission: made of which members, what it says of held-out rows; and when another takes over."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hfkit.data.predictions import read_predictions, write_predictions
from hfkit.data.submission import Submission
from hfkit.errors import HfkitError
from hfkit.events import Event, note
from hfkit.tasks.base import Prediction
from hfkit.tasks.qa.characters import KEY
from hfkit.verbs.compete.judge import Gain, Judge, Said
from hfkit.verbs.thresholds import Thresholds, chances, fitted

if TYPE_CHECKING:
    from collections.abc import Generator

HELD = "held"  # folder: STAGE.jsonl, what the submission of a stage would have said of training rows
FEW = 100  # held-out rows below which no thresholds are fitted


@dataclass(frozen=True)
class Contender:
    """What a stage would submit: its predictions of held-out training rows and of the test rows, and of what it is
    made: member -> weight."""

    stage: str
    held: Said
    test: Sequence[Prediction]
    shares: Mapping[str, float]


@dataclass(frozen=True)
class Standing:
    """The submission on disk, as the journal tells."""

    stage: str
    held: Said


def standing(folder: Path, entries: Sequence[Mapping[str, Any]]) -> Standing | None:
    """The last stage that was submitted; None before the first."""
    name = next((entry["name"] for entry in reversed(entries) if entry.get("taken")), None)
    if name is None:
        return None
    return Standing(name, {item["id"]: item for item in read_predictions(folder / HELD / f"{name}.jsonl")})


def replaces(gain: Gain, *, wider: bool) -> bool:
    """Whether a contender takes the place of what stands: it does when it is better on the rows that both answer.

    `wider`: it is several runs, known on all rows, and what stands is one, known on a part. What their mean is worth
    no held-out row shows, so it also does when those rows do not show that it is worse.
    """
    return gain.value > 0 or (wider and gain.ci95 is not None and gain.ci95[1] >= 0)


def submit(
    contender: Contender, judge: Judge, shape: Submission, names: Mapping[str, str], folder: Path, output: Path
) -> Generator[Event, None, None]:
    """Write what the contender says of the test rows, whole and checked, and keep what it says of held-out rows."""
    limits = yield from thresholds(contender, judge, shape, folder)
    test = [limits.applied(item) for item in contender.test] if limits else list(contender.test)
    said = shape.write(output, test, names)
    (folder / HELD).mkdir(exist_ok=True)
    lines = ({key: value for key, value in item.items() if key != KEY} for item in contender.held.values())
    write_predictions(folder / HELD / f"{contender.stage}.jsonl", lines)
    yield from map(note, said)
    yield Event("saved", {"what": "submission, checked against the sample", "path": str(output)})


def thresholds(
    contender: Contender, judge: Judge, shape: Submission, folder: Path
) -> Generator[Event, None, Thresholds | None]:
    """Limits of the labels' probabilities, fitted on the held-out rows, where labels are asked for and they help."""
    task = judge.task
    target = getattr(task.settings, "target", None)
    first = next(iter(contender.held.values()))
    if not contender.shares or target not in ("single", "multi") or not shape.asks_labels():
        return None
    names = list(first.get("probabilities") or ())
    if len(contender.held) < FEW or (target == "single" and len(names) != 2):
        return None
    found = judge.measured(contender.held)
    names = task.label_order if target == "single" else list(task.settings.labels or names)  # type: ignore[attr-defined]
    items = [contender.held[name] for name in found.ids]
    found.columns.update(chances(names, items, folder))
    try:
        return (yield from fitted(task, found, names, judge.metric, folder))
    except HfkitError:  # a metric without thresholds
        return None
