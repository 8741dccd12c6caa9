"""`runs note`: words and leaderboard scores kept beside a run, in notes.json; `runs list --notes` compares them."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from hfkit.errors import UsageError
from hfkit.events import Event, note
from hfkit.files import write_json
from hfkit.run import shown_path
from hfkit.verbs.runs import find

NAME = "notes.json"
SCORES = ("public", "private")


def note_run(
    name: str, text: str | None = None, *, public: float | None = None, private: float | None = None
) -> Iterator[Event]:
    """Add a note to a run: a text, and the scores that a competition gave it. Without any, show the notes there are.

    Yields events, last "result" with `run`, `notes` and the latest `public` and `private`. Raises UsageError.
    """
    run = find(name)
    notes = read_notes(run.path)
    given = {"text": text, "public": public, "private": private}
    new = {key: value for key, value in given.items() if value is not None}
    for key in SCORES:
        if key in new and not math.isfinite(float(new[key])):
            raise UsageError(f"--{key} {new[key]} is not a finite number", "give the score that the leaderboard shows")
    if new:
        notes = [*notes, {"time": time.time(), **new}]
        write_json(run.path / NAME, notes)
        yield Event("saved", {"what": "note", "path": shown_path(run.path / NAME)})
    elif not notes:
        yield note(f"{run.path.name} has no notes")
    yield Event("next", {"commands": ["hfkit runs list --notes"]})
    result = {"run": str(run.path), "notes": notes, **{key: latest(notes, key) for key in SCORES}}
    yield Event("result", result)


def read_notes(folder: Path) -> list[dict[str, Any]]:
    """The notes of a run, oldest first: time, and what was given of text, public and private. Raises UsageError."""
    path = folder / NAME
    if not path.exists():
        return []
    try:
        notes = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(notes, list) or not all(isinstance(item, dict) for item in notes):
            raise ValueError("not a list of notes")
    except (OSError, ValueError) as error:
        raise UsageError(f"{path}: cannot be read ({error})", "correct the file, or move it away") from error
    return notes


def latest(notes: Sequence[Mapping[str, Any]], key: str) -> Any:
    """The newest value of a key among notes; None when none has it."""
    return next((item[key] for item in reversed(notes) if item.get(key) is not None), None)
