"""The file of completions on its way: grown window by window under another name, so that a killed job goes on."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any

from hfkit import __version__
from hfkit.errors import UsageError
from hfkit.files import cannot_write, json_line, sync_folder, write_json
from hfkit.run import probe_writable, shown_path

OTHERWISE = "start over with --overwrite, or choose another file with --output"


class Output:
    """NAME.partial, which becomes NAME when the last line is in it; .NAME.job.json says what made it.

    Lines come in input order, a window of prompts at a time, each synced. A job goes on at the last whole window: the
    windows are then those of a job that was never stopped, and so are its lines, byte for byte on the same machine.
    `rows` are the lines that are there, `counts` their finish reasons and how many are truncated.
    """

    def __init__(self, target: Path, *, resume: bool) -> None:
        self.target, self.resume = target, resume
        self.partial = target.with_name(f"{target.name}.partial")
        self.record = target.with_name(f".{target.name}.job.json")
        self.rows = 0
        self.counts: Counter[str] = Counter()
        self.finished: dict[str, Any] | None = None
        self._held: dict[str, Any] = {}
        self._size = 0

    def begin(self, identity: Mapping[str, Any], window: int) -> int:
        """Start, or go on where the job was stopped; returns how many prompts a window has.

        `identity` is all that lines depend on, by name: a setting, or the name and digest of a file. Raises UsageError
        naming what is not as it was, ResourceError.
        """
        self._held = self._read() if self.resume else {}
        if self._held:
            self._refuse_changed(identity)
            if self.target.exists() and not self.partial.exists():
                self.finished = self._held["result"]
            if self.finished is None:
                self._recover()
                self._name_finished()
            return int(self._held["window"])
        self._held = {"hfkit": __version__, "window": window, "identity": dict(identity), "result": None}
        # In this order: killed in between, the job leaves lines without a record, which --resume refuses, and never a
        # record beside lines of another job, nor a record without its lines, which would be taken for done.
        self.record.unlink(missing_ok=True)
        self.partial.unlink(missing_ok=True)
        write_json(self.record, self._held)
        return window

    def add(self, lines: Sequence[Mapping[str, Any]]) -> None:
        """Write the lines of a window. Raises ResourceError; UsageError when another process writes there too."""
        text = "".join(map(json_line, lines)).encode()
        try:
            with open(self.partial, "ab") as handle:
                if handle.seek(0, os.SEEK_END) != self._size:
                    raise UsageError(f"{self.partial} is written by another process too", "let one of them run")
                handle.write(text)
                handle.flush()
                os.fsync(handle.fileno())
        except OSError as error:
            raise cannot_write(self.partial, error) from error
        self._take(lines, len(text))

    def finish(self, result: Mapping[str, Any]) -> None:
        """All lines are there: the file takes its name. Raises ResourceError."""
        write_json(self.record, {**self._held, "result": dict(result)})
        self._take_name()

    def _take_name(self) -> None:
        try:
            os.replace(self.partial, self.target)
            sync_folder(self.target.parent)
        except OSError as error:
            raise cannot_write(self.target, error) from error

    def _read(self) -> dict[str, Any]:
        """What the record says; empty where nothing was begun. Raises UsageError for files without a whole record."""
        try:
            held: dict[str, Any] = json.loads(self.record.read_text(encoding="utf-8"))
            if missing := {"window", "identity", "result"} - held.keys():
                raise ValueError(f"it lacks {', '.join(sorted(missing))}")
            return held
        except FileNotFoundError:
            pass
        except (OSError, ValueError, AttributeError) as error:
            raise UsageError(f"{self.record}: cannot be read ({error})", OTHERWISE) from error
        there = next((path for path in (self.target, self.partial) if path.exists()), None)
        if there is not None:
            raise UsageError(f"{there} exists, but {self.record.name}, which says what made it, does not", OTHERWISE)
        return {}

    def _refuse_changed(self, identity: Mapping[str, Any]) -> None:
        then = self._held["identity"]
        now = json.loads(json.dumps(identity))
        changed = [
            f"{key}: {_shown(then.get(key))} -> {_shown(now.get(key))}"
            for key in {**then, **now}
            if _essence(then.get(key)) != _essence(now.get(key))
        ]
        if changed:
            began = f"{shown_path(self.target)} was begun with something else:"
            raise UsageError("\n".join([began, *changed[:8]]), OTHERWISE)

    def _take(self, lines: Sequence[Mapping[str, Any]], size: int) -> None:
        self.rows += len(lines)
        self.counts.update(_counted(lines))
        self._size += size

    def _recover(self) -> None:
        """Count the lines of whole windows, and cut what is behind them: a torn line, a window that was not synced."""
        try:
            with open(self.partial, "a+b") as handle:
                handle.seek(0)
                self._take_whole(handle)
                handle.truncate(self._size)
        except OSError as error:
            raise cannot_write(self.partial, error) from error

    def _name_finished(self) -> None:
        """Finish the job that was killed when all its lines and its result were written, but not under its name."""
        if self._held["result"] is not None and self.rows == int(self._held["identity"]["rows"]):
            self._take_name()
            self.finished = self._held["result"]

    def _take_whole(self, handle: IO[bytes]) -> None:
        window, total = int(self._held["window"]), int(self._held["identity"]["rows"])
        waiting: list[dict[str, Any]] = []
        size = 0
        for text in handle:
            if not text.endswith(b"\n"):  # all but the end of the line reached the disk: not whole either
                return
            try:
                waiting.append(json.loads(text))
            except ValueError:
                return
            size += len(text)
            if len(waiting) == window or self.rows + len(waiting) == total:
                self._take(waiting, size)
                waiting, size = [], 0


class Kept:
    """Completions without a file: their lines in memory."""

    def __init__(self) -> None:
        self.found: list[Mapping[str, Any]] = []
        self.counts: Counter[str] = Counter()
        self.rows = 0

    def add(self, lines: Sequence[Mapping[str, Any]]) -> None:
        """Keep the lines of a window."""
        self.found += lines
        self.counts.update(_counted(lines))


def output_at(path: Path | None, *, resume: bool, overwrite: bool) -> Output | None:
    """The file to write, nothing of it touched yet. Raises UsageError when something stands there, ResourceError."""
    if path is None:
        if resume:
            raise UsageError("--resume goes on with a file, and none is named", "add -o FILE")
        return None
    if resume and overwrite:
        raise UsageError("--resume and --overwrite are given together", "go on with the file, or start over")
    target = Path(path).expanduser().absolute()
    found = Output(target, resume=resume)
    if target.is_dir():
        raise UsageError(f"{target} is a folder", "name a file such as completions.jsonl with --output")
    if not (resume or overwrite):
        if target.exists():
            raise UsageError(f"{target} exists", "choose another file with --output, or replace it with --overwrite")
        if found.partial.exists():
            raise UsageError(
                f"{shown_path(found.partial)} is there: a job for {target.name} was stopped",
                "go on with --resume, or start over with --overwrite",
            )
    probe_writable(target.parent)
    return found


def _counted(lines: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """What of each line is counted: its finish reason, and that its prompt was cut."""
    for line in lines:
        yield line["finish_reason"]
        if line.get("truncated"):
            yield "truncated"


def _essence(value: Any) -> Any:
    """What is compared: of files their digest alone, since they may be moved."""
    return value["digest"] if isinstance(value, dict) else value


def _shown(value: Any) -> str:
    if isinstance(value, dict):
        return f"{value['name']} ({str(value['digest'])[:8]})"
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 80 else text[:77] + "..."
