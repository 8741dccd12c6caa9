"""What a competition keeps of itself: a line for each stage that began, submits or ended, and the time spent."""

from __future__ import annotations

import json
import os
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hfkit.files import cannot_write, json_line, write_json

STAGES, TIME = "stages.jsonl", "time.json"
BEAT_SECONDS = 5.0  # between two notes of the time spent: a kill loses no more


@dataclass
class Journal:
    """The stages in the folder of a competition; `entries` are the lines, oldest first."""

    folder: Path
    entries: list[dict[str, Any]] = field(default_factory=list)
    _noted: float = 0.0

    @classmethod
    def open(cls, folder: Path) -> Journal:
        """What stands there; a torn last line is cut off, since what it says has to be done again."""
        path = folder / STAGES
        content = path.read_bytes() if path.exists() else b""
        whole = content[: content.rfind(b"\n") + 1]
        if whole != content:
            os.truncate(path, len(whole))
        return cls(folder, [json.loads(line) for line in whole.splitlines()])

    def add(self, entry: dict[str, Any]) -> None:
        """One more line, on the disk when this returns. Raises ResourceError."""
        path = self.folder / STAGES
        try:
            with open(path, "a", encoding="utf-8", newline="\n") as handle:
                handle.write(json_line(entry))
                handle.flush()
                os.fsync(handle.fileno())
        except OSError as error:
            raise cannot_write(path, error) from error
        self.entries.append(entry)

    def ended(self) -> list[dict[str, Any]]:
        """The stages that came to an end, in order."""
        return [entry for entry in self.entries if entry["event"] == "ended"]

    def begun(self) -> dict[str, Any] | None:
        """The stage that was at work when the last attempt ended; None when none was."""
        last = next((entry for entry in reversed(self.entries) if entry["event"] in ("begun", "ended")), None)
        return last if last is not None and last["event"] == "begun" else None

    def spent(self) -> float:
        """Seconds that all attempts used so far."""
        try:
            return float(json.loads((self.folder / TIME).read_text(encoding="utf-8"))["seconds"])
        except (OSError, ValueError, KeyError, TypeError):
            return 0.0

    def beat(self, seconds: float, *, now: bool = False) -> None:
        """Note the time spent, at most every few seconds unless asked to do it now."""
        if now or time.monotonic() - self._noted > BEAT_SECONDS:
            self._noted = time.monotonic()
            write_json(self.folder / TIME, {"seconds": seconds})
