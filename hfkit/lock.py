"""The lock of a run folder: one process at a time writes there. It names host and process, and its time moves.

A lock outlives a killed process; it is then stale and taken over. On this host the process itself is looked at; of
another host only the file is seen, so it is watched: a live holder touches it every few seconds. No clock is compared.
"""

from __future__ import annotations

import json
import os
import socket
import sys
import threading
import time
import uuid
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from hfkit.errors import UsageError
from hfkit.files import cannot_write

NAME = ".lock"
BEAT_SECONDS = 4.0  # between two touches of a held lock
WATCH_SECONDS = 14.0  # a lock of another host that is not touched for so long is stale
SETTLE_SECONDS = 0.05  # after taking over: of two who do so at once the later one has it


@dataclass(frozen=True)
class Holder:
    """Who holds a folder: `born` tells a process from a later one with the same number, where the system says it."""

    host: str
    pid: int
    born: str | None
    token: str

    @classmethod
    def here(cls) -> Holder:
        return cls(socket.gethostname(), os.getpid(), _born(os.getpid()), uuid.uuid4().hex)

    @property
    def local(self) -> bool:
        return self.host == socket.gethostname()

    def __str__(self) -> str:
        return f"process {self.pid} on {self.host}"


class Hold:
    """What this process holds: nothing, or one folder from `take` to the end of the with-block."""

    def __init__(self) -> None:
        self._folder: Path | None = None
        self._mine = Holder.here()
        self._lost = False
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._beat, daemon=True)

    def __enter__(self) -> Hold:
        return self

    def __exit__(self, *_: object) -> None:
        if self._folder is None:
            return
        self._end.set()
        self._thread.join()
        if read(self._folder) == self._mine:
            with suppress(OSError):
                (self._folder / NAME).unlink()

    def take(self, folder: Path) -> None:
        """Hold `folder`, which exists. Raises UsageError when a live process has it, ResourceError."""
        temporary = folder / f"{NAME}.{self._mine.token}.tmp"
        try:
            temporary.write_text(json.dumps(asdict(self._mine)), encoding="utf-8")
            try:
                if not _placed(temporary, folder / NAME):
                    _refuse(folder, patient=True)
                    os.replace(temporary, folder / NAME)  # stale
                    time.sleep(SETTLE_SECONDS)
                    if (found := read(folder)) != self._mine:
                        raise _in_use(folder, found)
            finally:
                temporary.unlink(missing_ok=True)
        except OSError as error:
            raise cannot_write(folder, error) from error
        self._folder = folder
        self._thread.start()

    def check(self) -> None:
        """Raise UsageError when another process took the folder over."""
        if self._lost and self._folder is not None:
            raise UsageError(
                f"{self._folder} was taken by {read(self._folder) or 'another process'} while this one ran",
                "let one of them run, and give the other a folder of its own with --output",
            )

    def _beat(self) -> None:
        assert self._folder is not None
        while not self._end.wait(BEAT_SECONDS):
            found = read(self._folder)
            if found is not None and found != self._mine:
                self._lost = True
                return
            with suppress(OSError):  # the folder is gone: the next write of the run says so
                os.utime(self._folder / NAME)


def refuse_held(folder: Path) -> None:
    """Raise UsageError when a process on this host holds `folder`: a quick look, before anything is loaded."""
    _refuse(folder, patient=False)


def is_held(folder: Path) -> bool:
    """Whether a process seems to be at work in `folder`: for lists, so nothing is waited for."""
    found = read(folder)
    if found is None:
        return False
    if found.local:
        return _alive(found)
    with suppress(OSError):
        return abs(time.time() - (folder / NAME).stat().st_mtime) < 60
    return False


def foreign(folder: Path) -> Holder | None:
    """Who holds `folder` from another host, dead or alive."""
    found = read(folder)
    return found if found is not None and not found.local else None


def read(folder: Path) -> Holder | None:
    """What the lock of `folder` says; None without a readable one."""
    try:
        values: dict[str, Any] = json.loads((folder / NAME).read_text(encoding="utf-8"))
        return Holder(str(values["host"]), int(values["pid"]), values["born"], str(values["token"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _refuse(folder: Path, *, patient: bool) -> None:
    found = read(folder)
    if found is None or (not found.local and not patient):
        return
    if _alive(found) if found.local else _moves(folder / NAME):
        raise _in_use(folder, found)


def _in_use(folder: Path, holder: Holder | None) -> UsageError:
    return UsageError(
        f"{folder} is in use by {holder or 'another process'}",
        "wait for it or stop it, or choose another folder with --output",
    )


def _placed(temporary: Path, path: Path) -> bool:
    """Give the file its name unless it is taken; whole in one moment where the file system has hard links."""
    try:
        os.link(temporary, path)
        return True
    except FileExistsError:
        return False
    except OSError:
        try:
            with open(path, "x", encoding="utf-8") as handle:
                handle.write(temporary.read_text(encoding="utf-8"))
            return True
        except FileExistsError:
            return False


def _moves(path: Path) -> bool:
    """Whether somebody touches the file within WATCH_SECONDS."""
    try:
        before = path.stat().st_mtime_ns
        end = time.monotonic() + WATCH_SECONDS
        while time.monotonic() < end:
            time.sleep(min(0.5, WATCH_SECONDS / 4))
            if path.stat().st_mtime_ns != before:
                return True
    except FileNotFoundError:  # released meanwhile
        return False
    return False


def _alive(holder: Holder) -> bool:
    if sys.platform == "linux":
        born = _born(holder.pid)
        return born is not None and holder.born in (None, born)
    import psutil

    return bool(psutil.pid_exists(holder.pid))


def _born(pid: int) -> str | None:
    """When a process started, in the system's count; None for one that is dead, or where there is no /proc."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] in "ZX" else fields[19]
