"""A run folder: created once, appended to, its files written whole."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shlex
import shutil
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from hfkit.errors import ResourceError, UsageError
from hfkit.events import Event, finite
from hfkit.files import cannot_write, write_json, write_text

NOT_ON_DISK = ("progress", "text")


def runs_folder() -> Path:
    """Where runs live: HFKIT_RUNS, else ./runs."""
    return Path(os.environ.get("HFKIT_RUNS") or "runs").expanduser()


def slug(text: str, length: int = 40) -> str:
    """A part of a folder name: letters, digits, dot, dash, underscore."""
    cleaned = re.sub(r"[^A-Za-z0-9._-]+", "-", text).strip("-._")
    return cleaned[:length].rstrip("-._") or "x"


@dataclass(frozen=True)
class Run:
    """One run folder. Every file but events.jsonl is written to a temporary name, synced and renamed."""

    path: Path
    attempt: int = 0

    @property
    def model(self) -> Path:
        return self.path / "model"

    @property
    def checkpoints(self) -> Path:
        return self.path / "checkpoints"

    def append(self, event: Event) -> None:
        """Add an event to events.jsonl, whole line at once. Raises ResourceError."""
        if event.kind in NOT_ON_DISK:
            return
        values = finite({**asdict(event), "attempt": self.attempt})  # other readers than Python's know no NaN
        line = json.dumps(values, ensure_ascii=False, allow_nan=False, default=str) + "\n"
        path = self.path / "events.jsonl"
        try:
            with open(path, "a", encoding="utf-8", newline="\n") as handle:
                handle.write(line)
        except OSError as error:
            raise cannot_write(path, error) from error

    def events(self) -> Iterator[dict[str, Any]]:
        """The events on disk; a torn last line is left out."""
        path = self.path / "events.jsonl"
        if not path.exists():
            return
        for line in path.read_text(encoding="utf-8", errors="replace").split("\n"):
            try:
                yield json.loads(line)
            except json.JSONDecodeError:
                return

    def facts(self) -> dict[str, Any]:
        """What run.json says; empty when there is none."""
        path = self.path / "run.json"
        return json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}

    def update(self, **changes: Any) -> None:
        """Merge `changes` into run.json."""
        write_json(self.path / "run.json", {**self.facts(), **changes})

    def write(self, name: str, text: str) -> None:
        """Write a text file of the run."""
        write_text(self.path / name, text)


def make_folder(recipe_name: str, model: str, suffix: str, output: Path | None) -> Path:
    """The folder of a new run, made if need be; one that is made here has a name no other process got.

    Raises UsageError when it cannot become a run, ResourceError when it is not writable.
    """
    if output is not None:
        check_output(output)
        _make(output, there=True)
        return output.absolute()
    stamp = time.strftime("%Y%m%d-%H%M%S")
    base = runs_folder() / f"{stamp}-{slug(recipe_name)}-{slug(Path(model).name or model)}-{suffix}"
    check_output(base)
    return next(path.absolute() for path in _numbered(base) if _make(path, there=False))


def create(folder: Path, *, overwrite: bool) -> Run:
    """A new run in `folder`, which this process holds. Raises UsageError when it is not empty, ResourceError."""
    if is_taken(folder):
        if not overwrite:
            raise UsageError(
                f"{folder} is not empty", "add --resume or --overwrite, or choose another folder with --output"
            )
        try:
            _empty(folder)
        except OSError as error:
            raise cannot_write(folder, error) from error
    return Run(folder)


def _make(folder: Path, *, there: bool) -> bool:
    """Make a folder; returns whether it was made, or may be there already. Raises ResourceError."""
    try:
        folder.mkdir(parents=True, exist_ok=there)
    except FileExistsError:
        return False
    except OSError as error:
        raise cannot_write(folder, error) from error
    return True


def check_output(output: Path) -> None:
    """Refuse what could not become a run, or could only by harm: a file, a strange folder, a place not writable.

    Raises UsageError and ResourceError; called before anything heavy is loaded, and again before the folder is made.
    """
    if output.exists() and not output.is_dir():
        raise UsageError(f"{output} is a file, not a folder", "choose another folder with --output")
    if is_taken(output) and output != runs_folder() and not is_ours(output):
        raise UsageError(
            f"{output} was not written by hfkit, so it is not overwritten", "choose another folder with --output"
        )
    probe_writable(output)


def is_ours(folder: Path) -> bool:
    """Whether a run or an evaluation was written here."""
    return (folder / "run.json").exists() or (folder / "metrics.json").exists()


def _numbered(base: Path) -> Iterator[Path]:
    yield base
    number = 2
    while True:
        yield base.with_name(f"{base.name}-{number}")
        number += 1


def is_taken(folder: Path) -> bool:
    """Whether a folder holds anything but what a run leaves that was killed in its first moment."""
    return folder.is_dir() and any(not _is_scrap(item) for item in folder.iterdir())


def _is_scrap(item: Path) -> bool:
    """A lock, a probe, or a file whose writer was killed."""
    return item.name in (".lock", ".probe") or (item.name.startswith(".") and item.suffix == ".tmp")


def _empty(folder: Path) -> None:
    """Remove what a run writes; not the lock, which is ours by now."""
    for item in folder.iterdir():
        if item.name == ".lock":
            continue
        if item.is_dir() and not item.is_symlink():
            shutil.rmtree(item)
        else:
            item.unlink()


def probe_writable(folder: Path) -> None:
    """Write, sync and rename a small file in `folder`, or where it will be made, before hours are spent.

    Nothing is left behind. Raises ResourceError.
    """
    place = folder.absolute()
    while not place.exists() and place != place.parent:
        if place.is_symlink():
            raise ResourceError(
                f"{folder}: cannot be made, {place.name} is a link to {place.readlink()}, which is not there",
                "make that folder, or choose another place with --output",
            )
        place = place.parent
    if not place.is_dir():
        raise ResourceError(f"{folder}: cannot be made, {place} is a file", "choose another place with --output")
    probe = place / f".probe-{os.getpid()}"  # several processes may look at once
    try:
        write_text(probe, "x")
        probe.unlink()
    except OSError as error:
        raise cannot_write(folder, error) from error
    except ResourceError as error:
        raise ResourceError(error.message.replace(str(probe), str(folder)), error.hint) from error


def open_run(path: Path) -> Run:
    """An existing run folder, one attempt further, its torn last event line cut off."""
    attempt = int(Run(path).facts().get("attempt", 0)) + 1
    run = Run(path.absolute(), attempt)
    for scrap in (scrap for left in (".*.tmp", ".tmp-*", "eval/*/.*.tmp", "eval/.tmp-*") for scrap in path.glob(left)):
        shutil.rmtree(scrap, ignore_errors=True) if scrap.is_dir() else scrap.unlink(missing_ok=True)
    _cut_torn_line(path / "events.jsonl")
    run.update(attempt=attempt)
    return run


def _cut_torn_line(path: Path) -> None:
    if not path.exists():
        return
    with open(path, "rb+") as handle:
        content = handle.read()
        if content and not content.endswith(b"\n"):
            handle.truncate(content.rfind(b"\n") + 1)


def all_runs() -> list[Run]:
    """Every run below the runs folder, oldest first."""
    folder = runs_folder()
    names = sorted(folder.iterdir()) if folder.is_dir() else []
    return [Run(path) for path in names if (path / "run.json").exists()]


def digest(value: Any) -> str:
    """64 hex digits of plain data, equal for equal data."""
    return hashlib.sha256(json.dumps(value, sort_keys=True, ensure_ascii=False).encode()).hexdigest()


def shown_path(path: Path) -> str:
    """A path as a user would type it: relative when it is below the current directory."""
    try:
        return shlex.quote(str(path.relative_to(Path.cwd())))
    except ValueError:
        return shlex.quote(str(path))
