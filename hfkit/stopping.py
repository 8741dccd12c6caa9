"""Being asked to stop by SIGTERM, SIGINT or SIGUSR1: the exit codes, and when a command answers.

The command line listens from its first moment. A request is raised at once as `AskedToStop`, unless the work says that
it has something to save first (`saving_first`): then it looks at `asked` between steps and ends by itself. A second
request ends the process at once. A thread reads the signals, so that this holds while the main thread is in C code.
"""

from __future__ import annotations

import os
import select
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Literal

from hfkit.errors import HfkitError, Stopped

CODES = {"SIGTERM": 143, "SIGINT": 130, "SIGUSR1": 75}
NUMBERS = {int(getattr(signal, name)): name for name in CODES if hasattr(signal, name)}
AGAIN_SECONDS = 0.3  # a terminal and a launcher may both deliver the same request
GRACE_SECONDS = 8.0  # for a request that is raised to be seen: the main thread may be deep in a library
NUDGE: int | None = getattr(signal, "SIGURG", None)  # says nothing, but ends a wait; Windows has none
NUDGE_SECONDS = 1.0

Mode = Literal["raise", "save", "forward", "converse"]


class AskedToStop(KeyboardInterrupt):
    """Raised where the main thread is when the process is asked to stop and has nothing to save. No `Exception`, so
    that no library takes it for a failure of its own."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.name = name
        self.code = CODES[name]


class Left(Exception):
    """Work was left between two of its parts because the process was asked to stop."""


class _Ears:
    """What was heard, and what is to be done about it."""

    def __init__(self) -> None:
        self.mode: Mode = "raise"
        self.first: tuple[str, float] | None = None
        self.let_go_at = 0.0  # when work last ceased to look at requests itself: what follows has its own grace
        self.raised = False
        self.last_words: Callable[[HfkitError], int] | None = None
        self.interrupted = self.reading = False  # of a conversation
        self.nudge_until = 0.0

    def hear(self, name: str) -> None:
        now = time.monotonic()
        if self.mode == "converse" and name == "SIGINT":
            self.nudge_until = now + NUDGE_SECONDS
            return
        if self.first is None:
            self.first = (name, now)
        elif now - self.first[1] > AGAIN_SECONDS and self.mode != "forward":
            end_now(CODES[self.first[0]])

    def enforce(self) -> None:
        if not self.first or self.mode not in ("raise", "converse"):
            return
        if time.monotonic() - max(self.first[1], self.let_go_at) > GRACE_SECONDS:
            end_now(CODES[self.first[0]])

    def watch(self, reader: socket.socket) -> None:
        while True:
            nudging = self.reading and time.monotonic() < self.nudge_until
            ready, _, _ = select.select([reader], [], [], 0.1 if nudging else 0.5 if self.first else None)
            if nudging and not ready:
                self.nudge()
            if ready:
                numbers = reader.recv(64)
                if not numbers:
                    return
                for number in numbers:
                    if number in NUMBERS:
                        self.hear(NUMBERS[number])
            self.enforce()

    def nudge(self) -> None:
        """Let the main thread see a signal that came while readline was busy with a key: what waits for the next key
        looks at signals only when one ends its wait (CPython's `readline_until_enter_or_signal`)."""
        if NUDGE is not None:
            signal.pthread_kill(threading.main_thread().ident or 0, NUDGE)

    def handle(self, number: int, frame: FrameType | None) -> None:
        if self.mode == "converse" and NUMBERS[number] == "SIGINT":
            self.interrupted = True
            if self.reading:
                raise KeyboardInterrupt
        elif self.mode in ("raise", "converse") and not self.raised:
            self.raised = True
            raise AskedToStop(NUMBERS[number])


_ears: _Ears | None = None


@contextmanager
def listening(last_words: Callable[[HfkitError], int] | None = None) -> Iterator[None]:
    """Inside, requests to stop are heard; `last_words` shows an error for `die`. Only in the main thread."""
    global _ears  # noqa: PLW0603 - signals come to the process, not to an object
    if _ears is not None or threading.current_thread() is not threading.main_thread():
        yield
        return
    ears = _Ears()
    ears.last_words = last_words
    reader, writer = socket.socketpair()
    writer.setblocking(False)
    previous = {number: signal.signal(number, ears.handle) for number in NUMBERS}
    if NUDGE is not None:
        previous[NUDGE] = signal.signal(NUDGE, _nothing)
    descriptor = signal.set_wakeup_fd(writer.fileno(), warn_on_full_buffer=False)
    thread = threading.Thread(target=ears.watch, args=(reader,), daemon=True)
    thread.start()
    _ears = ears
    try:
        yield
    finally:
        _ears = None
        signal.set_wakeup_fd(descriptor)
        for number, handler in previous.items():
            signal.signal(number, handler)
        writer.close()
        thread.join()
        reader.close()


def asked() -> str | None:
    """The name of the signal that asked this process to stop; None when there was none."""
    return _ears.first[0] if _ears is not None and _ears.first else None


def stopped(name: str, what: str) -> Stopped:
    """The error to end with after `what` was done about a request."""
    hint = "add --resume to the same command to go on"
    return Stopped(f"stopped by {name} {what}", hint, code=CODES[name])


@contextmanager
def saving_first() -> Iterator[None]:
    """Inside, a first request is not raised: the work asks for it. Raises one that came before."""
    with _mode("save"):
        if name := asked():
            raise AskedToStop(name)
        yield


@contextmanager
def forwarding() -> Iterator[None]:
    """Inside, signals are another's business: the parent of several processes hands them on."""
    with _mode("forward"):
        yield


@contextmanager
def conversing() -> Iterator[None]:
    """Inside, SIGINT ends what is being said, not the command, however often it comes: see `interrupted`, `reading`."""
    with _mode("converse"):
        yield


@contextmanager
def reading() -> Iterator[None]:
    """Inside a conversation a line is being typed: SIGINT raises KeyboardInterrupt at once."""
    ears = _ears
    if ears is not None:
        ears.reading = True
    try:
        yield
    finally:
        if ears is not None:
            ears.reading = False


def interrupted() -> bool:
    """Whether SIGINT came in this conversation since this was last asked."""
    found = _ears is not None and _ears.interrupted
    if _ears is not None:
        _ears.interrupted = False
    return found


@contextmanager
def _mode(mode: Mode) -> Iterator[None]:
    ears = _ears
    if ears is None:
        yield
        return
    before, ears.mode = ears.mode, mode
    try:
        yield
    finally:
        ears.let_go_at = time.monotonic()
        ears.mode = before


def _nothing(number: int, frame: FrameType | None) -> None:
    """The handler of NUDGE; without one the signal would not end a wait."""


def die(error: HfkitError) -> None:
    """End the process from any thread, though its main thread may never come back: say why, then leave."""
    if _ears is not None and _ears.last_words is not None:
        with suppress(Exception):
            _ears.last_words(error)
    end_now(error.code)


def end_now(code: int) -> None:
    """Leave without cleaning up; what is half written has a temporary name, and the lock is found stale."""
    with suppress(Exception):
        if sys.stderr.isatty():
            os.write(2, b"\x1b[?25h\n")  # a live bar hides the cursor
        sys.stdout.flush()
        sys.stderr.flush()
    os._exit(code)
