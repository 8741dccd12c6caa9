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
from hfkit.files import sha256_of
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
    """The submission on disk."""

    stage: str
    held: Said


def announced(entry: Mapping[str, Any], output: Path) -> dict[str, Any]:
    """The line that the journal gets before a stage replaces the submission, which may be cut off once it is there."""
    said = {name: entry[name] for name in ("name", "score", "ci95", "rows", "shares") if name in entry}
    return {"event": "submitting", **said, "over": _digest(output)}


def submitted(entries: Sequence[Mapping[str, Any]], output: Path, *, besides: str = "") -> Mapping[str, Any] | None:
    """The line of the stage whose submission is on disk, but for that of the stage `besides`; None before the first.

    It is the last that ended so, or one after it that was cut off behind its one rename: the file is not that over
    which it was to be written.
    """
    file = _digest(output)
    for entry in reversed(entries):
        if entry.get("taken"):
            return entry
        if entry["event"] == "submitting":
            if entry["name"] != besides and file not in (None, entry["over"]):
                return entry
            file = entry["over"]
    return None


def _digest(path: Path) -> str | None:
    return sha256_of(path) if path.exists() else None


def standing(folder: Path, entry: Mapping[str, Any] | None) -> Standing | None:
    """What a line of `submitted` tells of; None without one."""
    if entry is None:
        return None
    name = entry["name"]
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
    """Keep what the contender says of held-out rows, and write what it says of the test rows, whole and checked."""
    limits = yield from thresholds(contender, judge, shape, folder)
    test = [limits.applied(item) for item in contender.test] if limits else list(contender.test)
    (folder / HELD).mkdir(exist_ok=True)
    lines = ({key: value for key, value in item.items() if key != KEY} for item in contender.held.values())
    write_predictions(folder / HELD / f"{contender.stage}.jsonl", lines)
    said = shape.write(output, test, names)
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
