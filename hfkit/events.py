"""The frozen values that a verb yields; screen, log on disk and `--json` read this one stream. Imports nothing."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

Kind = Literal[
    "note",  # text: a line the user should see
    "warning",  # text: a line the user should act on
    "resolved",  # key, value, why: what an `auto` became
    "plan",  # title, items {label: value}: what is about to happen
    "progress",  # stage, done, total (None when unknown), unit, tokens_per_s: moves a bar, not kept on disk
    "step",  # loss, lr, epoch, steps, rows_per_s, tokens_per_s, eta_s: one optimizer step (Event.step says which)
    "scored",  # name, metrics {key: value}, ci95 {key: [low, high]}, rows, definitions, before, slices, ...
    "saved",  # what (checkpoint | model | predictions | ...), path
    "answered",  # items: predictions to show, one mapping each
    "text",  # text: a piece of generated text, streamed to stdout as it comes
    "next",  # commands: what the user may type now
    "result",  # the JSON object of the command; always last
]


@dataclass(frozen=True, slots=True)
class Event:
    """One thing that happened.

    `fields` holds what the kind promises (see `Kind`); `step` is the optimizer step where there is one; `attempt`
    counts the starts of a run (0 for the first); `time` is in seconds since the epoch.
    """

    kind: Kind
    fields: Mapping[str, Any]
    step: int | None = None
    attempt: int = 0
    time: float = field(default_factory=time.time)


def note(text: str) -> Event:
    """A line for the user."""
    return Event("note", {"text": text})


def warning(text: str) -> Event:
    """A line that the user should act on."""
    return Event("warning", {"text": text})


def resolved(key: str, value: Any, why: str) -> Event:
    """What an `auto` became."""
    return Event("resolved", {"key": key, "value": value, "why": why})


def progress(stage: str, done: int, total: int | None, unit: str, tokens_per_s: float | None = None) -> Event:
    """How far a stage is, and how fast where tokens are counted; moves a bar."""
    fields = {"stage": stage, "done": done, "total": total, "unit": unit}
    return Event("progress", fields | ({"tokens_per_s": tokens_per_s} if tokens_per_s else {}))


def finite(value: Any) -> Any:
    """`value` with NaN and infinities as None, and numpy numbers as Python's."""
    if isinstance(value, Mapping):
        return {str(key): finite(part) for key, part in value.items()}
    if isinstance(value, (list, tuple)):
        return [finite(part) for part in value]
    if hasattr(value, "item") and not isinstance(value, (str, bytes)):
        value = value.item()
    return None if isinstance(value, float) and not math.isfinite(value) else value
