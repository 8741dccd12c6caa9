"""One event -> what the user sees of it: lines on a screen (stderr) and, for people, data on stdout."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, assert_never

from hfkit.errors import ReaderGone
from hfkit.events import Event
from hfkit.report.analysis import analysis_text
from hfkit.report.human import answer_text, result_text
from hfkit.report.screen import Screen
from hfkit.report.streams import to_data
from hfkit.report.text import number, one_line, safe, score, scores_table


@dataclass(slots=True)
class View:
    """Shows events in turn. `data`: whether stdout gets the human view (not with `--json`)."""

    screen: Screen
    command: str
    data: bool
    scored: bool = False
    answered: bool = False
    commands: list[str] = field(default_factory=list)  # what to type now; shown below everything else
    inside_line: bool = False  # streamed text stopped in the middle of a line

    def show(self, event: Event) -> None:
        """Show one event."""
        fields = event.fields
        if event.kind not in ("text", "progress", "step"):
            self.end_line()
        match event.kind:
            case "note":
                self.screen.line(safe(fields["text"]))
            case "warning":
                self.screen.line(f"warning: {safe(fields['text'])}", "warning")
            case "resolved":
                self.screen.line(f"{fields['key']} = {one_line(fields['value'])} ({one_line(fields['why'])})", "dim")
            case "plan":
                self.plan(fields)
            case "progress":
                self.screen.progress(event)
            case "step":
                self.screen.step(event)
            case "scored":
                self.scores(event)
            case "saved":
                self.screen.line(f"saved {fields['what']}: {safe(fields['path'])}", "dim")
            case "answered":
                self.answers(fields["items"])
            case "text":
                self.text(fields["text"])
            case "next":
                self.commands = [safe(command) for command in fields["commands"]]
            case "result":
                self.result(fields)
            case _:
                assert_never(event.kind)

    def out(self, text: str) -> None:
        """A block of data on stdout, which ends its line."""
        if self.data and text:
            self.screen.pause()
            to_data(("\n" if self.inside_line else "") + text + "\n")
            self.inside_line = False

    def plan(self, fields: Mapping[str, Any]) -> None:
        """What is about to happen, label by label."""
        width = max((len(label) for label in fields["items"]), default=0)
        lines = [
            safe(fields["title"]),
            *(f"  {label:<{width}}  {one_line(value)}" for label, value in fields["items"].items()),
        ]
        self.screen.line("\n".join(lines))

    def scores(self, event: Event) -> None:
        """An evaluation on the way is one line; one outside training is the table that was asked for."""
        fields = event.fields
        title = f"{safe(fields['name'])}, {number(fields['rows'])} rows" if fields.get("rows") else safe(fields["name"])
        if event.step is not None:
            values = "  ".join(f"{name} {score(value)}" for name, value in fields["metrics"].items())
            self.screen.line(f"step {event.step}  {title}: {values}", "title")
            return
        self.scored = True
        self.screen.line(title, "title")
        self.out(scores_table(dict(fields["metrics"]), dict(fields.get("ci95") or {}), fields.get("before")))
        self.definitions(fields)
        behind = analysis_text(fields)
        self.out(f"\n{behind}" if behind else "")

    def definitions(self, fields: Mapping[str, Any]) -> None:
        """What each metric is, exactly, and how the intervals were made."""
        methods: dict[str, list[str]] = {}
        for name, method in (fields.get("ci95_method") or {}).items():
            methods.setdefault(method, []).append(name)
        for method, names in methods.items():
            of = "" if len(methods) == 1 else f" of {', '.join(names)}"
            self.screen.line(f"95 % intervals{of}: {method}", "dim")
        for name, meaning in (fields.get("definitions") or {}).items():
            self.screen.line(f"{name}: {one_line(meaning)}", "dim")

    def answers(self, items: Any) -> None:
        """Predictions as people read them."""
        self.answered = True
        many = len(items) > 1
        self.out("\n".join(answer_text(item, many=many) for item in items))

    def text(self, piece: str) -> None:
        """Generated text as it comes: made safe on a terminal, exact into a file.

        It is all that its command makes. Raises ReaderGone when nothing reads it any more.
        """
        if not self.data or not piece:
            return
        self.screen.pause()
        self.answered = True
        if not to_data(safe(piece) if sys.stdout.isatty() else piece):
            raise ReaderGone
        self.inside_line = not piece.endswith("\n")

    def end_line(self) -> None:
        """On a terminal, nothing else stands behind streamed text; a file gets the text alone."""
        if self.inside_line and self.data and sys.stdout.isatty():
            to_data("\n")
            self.inside_line = False

    def result(self, fields: Mapping[str, Any]) -> None:
        """What of the result no event before it has shown."""
        metrics = fields.get("metrics") or (fields.get("best") or {}).get("metrics")
        if metrics and not self.scored:
            self.out(scores_table(dict(metrics), dict(fields.get("ci95") or {}), fields.get("before")))
            self.definitions(fields)
        if fields.get("predictions") and not self.answered:
            self.answers(fields["predictions"])
        self.out(result_text(self.command, fields))

    def close(self) -> None:
        """Leave the terminal at the start of a line, whatever happened."""
        self.screen.pause()
        self.end_line()
        if self.commands:
            self.screen.line("\n".join(["next:", *(f"  {command}" for command in self.commands)]), "good")
        self.screen.close()
