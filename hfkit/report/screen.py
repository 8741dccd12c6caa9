"""What stands on stderr while a verb works: the protocol of a screen, and plain lines and silence."""

from __future__ import annotations

import sys
from typing import Literal, Protocol

from hfkit.events import Event
from hfkit.report.streams import write
from hfkit.report.text import duration, number, one_line

Style = Literal["plain", "title", "dim", "warning", "error", "good"]
SECONDS_BETWEEN_LINES = 10


class Screen(Protocol):
    """Somewhere to show lines and how far the work is."""

    def line(self, text: str, style: Style = "plain") -> None:
        """One or several lines; the text is already safe."""

    def progress(self, event: Event) -> None:
        """Move the bar of a stage."""

    def step(self, event: Event) -> None:
        """Move the bar of training."""

    def pause(self) -> None:
        """Leave the place of the bar, because data is about to be written to stdout."""

    def close(self) -> None:
        """Nothing more comes."""


class Silent:
    """Shows warnings alone (`--quiet`), or nothing (a process that is not the first)."""

    def __init__(self, *, warnings: bool) -> None:
        self.warnings = warnings

    def line(self, text: str, style: Style = "plain") -> None:
        if self.warnings and style in ("warning", "error"):
            write(sys.stderr, text + "\n")

    def progress(self, event: Event) -> None:
        return None

    def step(self, event: Event) -> None:
        return None

    def pause(self) -> None:
        return None

    def close(self) -> None:
        return None


class Plain:
    """Lines for a log: a step or a stage speaks at most every ten seconds, the first and the last step always."""

    def __init__(self) -> None:
        self.step_time = float("-inf")
        self.stages: dict[str, float] = {}
        self.spoke: set[str] = set()

    def line(self, text: str, style: Style = "plain") -> None:
        write(sys.stderr, text + "\n")

    def progress(self, event: Event) -> None:
        stage, done, total = event.fields["stage"], event.fields["done"], event.fields["total"]
        last = self.stages.setdefault(stage, event.time)
        finished = total is not None and done >= total
        if event.time - last >= SECONDS_BETWEEN_LINES or (finished and stage in self.spoke):
            of = f"/{number(total)}" if total is not None else ""
            self.line("  ".join([f"{one_line(stage)}: {number(done)}{of} {event.fields['unit']}", *rates(event)]))
            self.stages[stage] = event.time
            self.spoke.add(stage)
        if finished:
            del self.stages[stage]
            self.spoke.discard(stage)

    def step(self, event: Event) -> None:
        steps = event.fields.get("steps")
        if event.time - self.step_time < SECONDS_BETWEEN_LINES and event.step != steps:
            return
        self.step_time = event.time
        self.line(step_text(event))

    def pause(self) -> None:
        return None

    def close(self) -> None:
        return None


def step_text(event: Event) -> str:
    """`step 200/1000  epoch 0.40  loss 1.234  lr 1.0e-04  51 rows/s  9,800 tokens/s  ETA 3 min 05 s`."""
    fields = event.fields
    parts = [f"step {event.step}" + (f"/{fields['steps']}" if fields.get("steps") else "")]
    if fields.get("epoch") is not None:
        parts.append(f"epoch {fields['epoch']:.2f}")
    if fields.get("loss") is not None:
        parts.append(f"loss {fields['loss']:.4f}")
    if fields.get("lr") is not None:
        parts.append(f"lr {fields['lr']:.2e}")
    parts += rates(event)
    if fields.get("eta_s") is not None:
        parts.append(f"ETA {duration(fields['eta_s'])}")
    return "  ".join(parts)


def rates(event: Event) -> list[str]:
    """Rows and tokens per second, where the event has them."""
    names = (("rows_per_s", "rows/s"), ("tokens_per_s", "tokens/s"))
    return [f"{round(event.fields[name]):,} {unit}" for name, unit in names if event.fields.get(name)]
