"""The parent of several processes: starts a copy of this command per device, forwards signals, ends all together."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from types import FrameType

from hfkit.engine.processes.world import Launch
from hfkit.errors import Delegated, ResourceError
from hfkit.machine import cpus
from hfkit.stopping import AGAIN_SECONDS, CODES, NUMBERS, forwarding, stopped

GRACE_SECONDS = 10.0


@dataclass
class Children:
    """Child processes that signals are handed on to, and the signals that came: (when, number)."""

    processes: list[subprocess.Popen[bytes]] = field(default_factory=list)
    heard: list[tuple[float, int]] = field(default_factory=list)

    def add(self, process: subprocess.Popen[bytes]) -> None:
        """Take in a child that was just started. What came while it was not among the others is handed on to it.

        It is taken in first: a signal in between reaches it twice, which is one request, and none is missed.
        """
        self.processes.append(process)
        if self.heard:
            process.send_signal(self.heard[-1][1])

    def hand_on(self, number: int, frame: FrameType | None) -> None:
        """The handler of a signal: it goes to all children that run."""
        self.heard.append((time.monotonic(), number))
        for process in self.processes:
            if process.poll() is None:
                process.send_signal(number)


def launch(plan: Launch, command: Sequence[str] | None = None) -> Delegated:
    """Start the processes of `plan` and wait; returns how it ended: 0, or the exit code of the first that failed."""
    command = list(command) if command is not None else [sys.executable, "-m", "hfkit", *sys.argv[1:]]
    port = plan.port or free_port()
    family = Children()
    restore = forward_signals(family)
    try:
        with forwarding():
            for local_rank in range(plan.local_size):
                if family.heard:
                    break
                family.add(subprocess.Popen(command, env=_environment(plan, local_rank, port)))
            children = family.processes
            code, first = _wait(family)
            if (name := _unheard(family, first)) is not None:
                return Delegated(CODES[name], stopped(name, "before it had begun"), said=False)
            return Delegated(code, _killed(plan, first, children), said=(children[0].returncode or 0) >= 0)
    finally:
        restore()
        for child in family.processes:
            if child.poll() is None:
                child.kill()
                child.wait()


def free_port() -> int:
    """A TCP port that is free on this machine now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _environment(plan: Launch, local_rank: int, port: int) -> dict[str, str]:
    threads = {"OMP_NUM_THREADS": str(max(1, cpus() // plan.local_size))} if "OMP_NUM_THREADS" not in os.environ else {}
    started_by = {"HFKIT_STARTED_BY": plan.how}
    return {**os.environ, **threads, **started_by, **plan.place(local_rank).environment(plan.master, port)}


def _unheard(family: Children, first: int | None) -> str | None:
    """The signal that was handed on to a child which did not listen yet, and which ended it; None without one."""
    if not family.processes:
        return NUMBERS[family.heard[0][1]]
    code = 0 if first is None else family.processes[first].returncode or 0
    return NUMBERS.get(-code) if any(number == -code for _, number in family.heard) else None


def _killed(plan: Launch, first: int | None, children: list[subprocess.Popen[bytes]]) -> ResourceError | None:
    """Words for the child that failed first, where a signal killed it."""
    if first is None or (code := children[first].returncode) is None or code >= 0:
        return None
    rank = plan.first_rank + first
    problem = ResourceError(
        f"process {rank} of {plan.size} was killed by {signal.Signals(-code).name}",
        "memory may have run out; add --resume to the same command to go on",
    )
    problem.code = _exit_code(code)
    return problem


def _wait(family: Children) -> tuple[int, int | None]:
    """(exit code, number of the child that failed first)."""
    children, heard = family.processes, family.heard
    failed: int | None = None
    first: int | None = None
    deadline = 0.0
    while True:
        codes = [child.poll() for child in children]
        if failed is None:
            first = next((i for i, code in enumerate(codes) if code), None)
            failed = _exit_code(codes[first] or 0) if first is not None else None
            deadline = time.monotonic() + GRACE_SECONDS
        if len(heard) > 1 and heard[-1][0] - heard[0][0] > AGAIN_SECONDS:  # asked twice: they leave, or are made to
            failed, deadline = failed or 130, min(deadline, heard[-1][0] + 1)
        if all(code is not None for code in codes):
            return failed or 0, first
        if failed is not None and time.monotonic() > deadline:
            for child in children:
                if child.poll() is None:
                    child.kill()
        time.sleep(0.05)


def _exit_code(code: int) -> int:
    """A child killed by a signal counts as 128 + signal, as shells do."""
    return 128 - code if code < 0 else code


def forward_signals(children: Children) -> Callable[[], None]:
    """Hand signals on to `children` from now on; returns what undoes it."""
    try:
        previous = {number: signal.signal(number, children.hand_on) for number in NUMBERS}
    except ValueError:  # not in the main thread (a notebook's worker): nothing to forward
        return lambda: None

    def restore() -> None:
        for number, handler in previous.items():
            signal.signal(number, handler)

    return restore
