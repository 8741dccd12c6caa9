"""Times of commands run in turn (A B A B ...), so that a busy machine slows all alike; medians and ratios.

Wall time is what a user waits; processor time is steadier where other work runs beside.
"""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Iterable, Mapping, Sequence
from statistics import median
from typing import Any

ROUNDS = 9
Taken = tuple[float, float]  # seconds: wall, processor (0 where the system does not count that of children)


def once(command: Sequence[str], environment: Mapping[str, str] | None = None) -> Taken:
    """What one run takes. Ends the program with what the command printed when it fails."""
    return spoken(command, environment)[0]


def spoken(command: Sequence[str], environment: Mapping[str, str] | None = None) -> tuple[Taken, dict[str, Any]]:
    """What one run takes, and the JSON object in the last line it printed (empty where that is no JSON)."""
    begun, before = time.perf_counter(), os.times()
    done = subprocess.run(command, env=environment, capture_output=True, text=True, encoding="utf-8", check=False)
    wall, after = time.perf_counter() - begun, os.times()
    if done.returncode:
        raise SystemExit(f"{' '.join(command)} ended with {done.returncode}:\n{done.stderr[-2000:]}")
    worked = after.children_user + after.children_system - before.children_user - before.children_system
    last = (done.stdout.strip().splitlines() or [""])[-1]
    try:
        said = json.loads(last)
    except ValueError:
        said = {}
    return (wall, worked), said if isinstance(said, dict) else {}


def in_turn(
    commands: Mapping[str, Sequence[str]], *, rounds: int = ROUNDS, environment: Mapping[str, str] | None = None
) -> dict[str, list[Taken]]:
    """What each command takes, `rounds` times, after one run each that warms the file cache."""
    for command in commands.values():
        once(command, environment)
    found: dict[str, list[Taken]] = {name: [] for name in commands}
    for _ in range(rounds):
        for name, command in commands.items():
            found[name].append(once(command, environment))
    return found


def summary(found: Mapping[str, Sequence[Taken]]) -> dict[str, Any]:
    """Median seconds of both; of wall and of processor time the ratio of the first's median to the second's, and the
    least and largest ratio of one round; the machine's load.
    """
    ours, theirs = found.values()
    line: dict[str, Any] = {
        "seconds": {name: round(median(wall for wall, _ in values), 3) for name, values in found.items()}
    }
    for number, clock in enumerate(("wall", "processor")):
        pairs = [(one[number], other[number]) for one, other in zip(ours, theirs, strict=True)]
        if not all(other for _, other in pairs):
            continue
        each = sorted(one / other for one, other in pairs)
        middle = median(one for one, _ in pairs) / median(other for _, other in pairs)
        line[clock] = {"ratio": round(middle, 3), "least": round(each[0], 3), "largest": round(each[-1], 3)}
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else None
    return {**line, "rounds": len(ours), "load": load}


def middle(values: Iterable[float], digits: int = 2) -> str:
    """Median, and least to largest where there are several: `14.1 (13.2-14.9)`."""
    found = sorted(values)
    if not found:
        return "-"
    shown = f"{median(found):,.{digits}f}"
    return shown if len(found) == 1 else f"{shown} ({found[0]:,.{digits}f}-{found[-1]:,.{digits}f})"


def ratios(ours: Sequence[float], theirs: Sequence[float]) -> list[float]:
    """One ratio a round: the two ran side by side, so a busy machine slowed both."""
    return [one / other for one, other in zip(ours, theirs, strict=True)]


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table."""
    lines = [list(head), *map(list, rows)]
    widths = [max(len(line[i]) for line in lines) for i in range(len(head))]
    shown = ["| " + " | ".join(cell.ljust(w) for cell, w in zip(line, widths, strict=True)) + " |" for line in lines]
    return "\n".join([shown[0], "|" + "|".join("-" * (w + 2) for w in widths) + "|", *shown[1:]])
