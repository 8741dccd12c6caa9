"""The screen on a terminal: a live bar per stage and lines above it. Alone draws with rich."""

from __future__ import annotations

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn
from rich.text import Text

from hfkit.events import Event
from hfkit.report.screen import Style, rates
from hfkit.report.text import duration, number, one_line

STYLES: dict[Style, str] = {
    "plain": "",
    "title": "bold",
    "dim": "dim",
    "warning": "yellow",
    "error": "red",
    "good": "green",
}


def console() -> Console:
    """A console on stderr that takes text as it is: no markup, highlighting or emoji codes; it honours NO_COLOR."""
    return Console(stderr=True, markup=False, highlight=False, emoji=False, soft_wrap=True)


class Live:
    """Bars that vanish when their stage is done; they come with the first progress and leave before data is written."""

    def __init__(self) -> None:
        self.console = console()
        self.bars: Progress | None = None
        self.stages: dict[str, TaskID] = {}

    def line(self, text: str, style: Style = "plain") -> None:
        self.console.print(Text(text, style=STYLES[style]))

    def progress(self, event: Event) -> None:
        fields = event.fields
        total = fields["total"]
        of = f"/{number(total)}" if total is not None else ""
        text = "  ".join([f"{number(fields['done'])}{of} {fields['unit']}", *rates(event)])
        self.move(fields["stage"], fields["done"], total, text, with_eta=True)

    def step(self, event: Event) -> None:
        fields = event.fields
        steps = fields.get("steps")
        parts = [f"{event.step}/{steps}" if steps else f"{event.step}"]
        if fields.get("loss") is not None:
            parts.append(f"loss {fields['loss']:.4f}")
        if fields.get("lr") is not None:
            parts.append(f"lr {fields['lr']:.1e}")
        parts += rates(event)[:1]
        if fields.get("eta_s") is not None:
            parts.append(f"ETA {duration(fields['eta_s'])}")
        self.move("train", event.step or 0, steps, "  ".join(parts), with_eta=False)

    def move(self, stage: str, done: int, total: int | None, text: str, *, with_eta: bool) -> None:
        """Move a stage's bar; a finished stage's bar goes."""
        if total is not None and done >= total:
            self.finish(stage)
            return
        bars = self.running()
        if stage not in self.stages:
            self.stages[stage] = bars.add_task(one_line(stage, 30), total=total, text=text)
        task = self.stages[stage]
        bars.update(task, completed=done, total=total)
        left = next(found.time_remaining for found in bars.tasks if found.id == task) if with_eta else None
        bars.update(task, text=text + (f"  ETA {duration(left)}" if left is not None else ""))

    def running(self) -> Progress:
        """The bars, started when they are needed."""
        if self.bars is None:
            self.bars = Progress(
                TextColumn("{task.description}", markup=False),
                BarColumn(bar_width=24),
                TextColumn("{task.fields[text]}", markup=False),
                console=self.console,
                transient=True,
                refresh_per_second=5,
                redirect_stdout=False,  # data goes where the user sent it
            )
            self.bars.start()
        return self.bars

    def finish(self, stage: str) -> None:
        """Take a stage's bar away; the last one leaves the terminal as it was."""
        task = self.stages.pop(stage, None)
        if self.bars is not None and task is not None:
            self.bars.remove_task(task)
        if not self.stages:
            self.pause()

    def pause(self) -> None:
        if self.bars is not None:
            self.bars.stop()
        self.bars = None
        self.stages = {}

    def close(self) -> None:
        self.pause()
