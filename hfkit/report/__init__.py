"""Events -> what a person or a program sees: a live bar, plain lines, JSON, or nothing. The only importer of rich."""

from __future__ import annotations

import json as jsonlib
import sys
from collections.abc import Iterable, Mapping
from typing import Any, Literal

from hfkit.errors import HfkitError
from hfkit.events import Event, finite
from hfkit.report.screen import Plain, Screen, Silent
from hfkit.report.streams import can_say, is_terminal, rank, to_data, write
from hfkit.report.text import safe
from hfkit.report.view import View

Mode = Literal["rich", "plain", "quiet"]
C1 = {code: f"\\u{code:04x}" for code in range(0x7F, 0xA0)}  # JSON leaves these control characters as they are
LINES = 15  # an error is read at a glance


def show(
    events: Iterable[Event], *, command: str, mode: Mode | None = None, json: bool = False, data: bool = True
) -> dict[str, Any]:
    """Show a verb's events as they come; returns the fields of its result.

    `mode` is what stderr gets: a live bar (rich), lines (plain), warnings (quiet); None asks the terminal. `json` ends
    with one object on stdout instead of the human view; `data=False` leaves stdout alone. The verb's generator is
    closed whatever happens. In a process that is not the first of its world nothing is shown.
    """
    first = rank() == 0
    view = View(screen(mode) if first else Silent(warnings=False), command, data and first and not json)
    result: dict[str, Any] = {}
    iterator = iter(events)
    try:
        for event in iterator:
            view.show(event)
            if event.kind == "result":
                result = dict(event.fields)
    finally:
        view.close()
        close = getattr(iterator, "close", None)
        if close is not None:
            close()
    if json:
        to_data(json_line({"command": command, "ok": True, **result}))
    return result


def screen(mode: Mode | None) -> Screen:
    """The screen for a mode."""
    chosen = mode or ("rich" if is_terminal(sys.stderr) else "plain")
    match chosen:
        case "rich":
            from hfkit.report.live import Live

            return Live()
        case "plain":
            return Plain()
        case "quiet":
            return Silent(warnings=True)


def json_line(value: Mapping[str, Any]) -> str:
    """One line of strict JSON: what is not finite is null; characters that stdout cannot say are escaped."""
    text = jsonlib.dumps(finite(value), ensure_ascii=False, allow_nan=False, default=str)
    if not can_say(text, sys.stdout):
        text = jsonlib.dumps(finite(value), allow_nan=False, default=str)
    return text.translate(C1) + "\n"


def show_error(error: HfkitError, *, command: str, json: bool = False) -> None:
    """An error on stderr, at most 15 lines, and with `json` as one object on stdout."""
    place = rank()
    if place == 0:
        show_lines(error_lines(error))
        if json:
            problem = {"code": error.code, "kind": error.kind, "message": error.message, "hint": error.hint}
            to_data(json_line({"command": command, "ok": False, "error": problem}))
    elif error.kind in ("bug", "resources"):  # may have happened here alone; the first process says the others
        write(sys.stderr, f"process {place}: error: {safe(error.message).splitlines()[0]}\n")


def error_lines(error: HfkitError) -> list[str]:
    """The message and the hint, cut to 15 lines; the hint is kept whole."""
    message = f"error: {safe(error.message)}".splitlines()
    hint = f"hint: {safe(error.hint)}".splitlines() if error.hint else []
    hint = hint[: LINES - 2]
    room = LINES - len(hint)
    if len(message) > room:
        left = len(message) - room + 1
        message = [*message[: room - 1], f"... and {left} more lines, all of them in the message of --json"]
    return message + hint


def show_lines(lines: list[str]) -> None:
    """An error's lines, coloured on a terminal."""
    if not is_terminal(sys.stderr):
        write(sys.stderr, "\n".join(lines) + "\n")
        return
    from hfkit.report.live import Live

    live = Live()
    for line in lines:
        live.line(line, "error" if line.startswith("error: ") else "plain")
