"""Commands of hfkit run as child processes, a few at a time, each on a device of its own; signals are handed on."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass
from typing import IO, Any

import torch

from hfkit.engine.processes.launch import Children, forward_signals
from hfkit.errors import HfkitError, ResourceError, UsageError, error_of
from hfkit.machine import cpus
from hfkit.stopping import CODES, NUMBERS, asked, forwarding, stopped

GRACE_SECONDS = 60.0  # for the others to save what they have when one failed
Slot = Mapping[str, str]  # environment variables that tie a process to its device


@dataclass(frozen=True)
class Job:
    """One command, without `hfkit` in front; it must end with one JSON object (`--json`)."""

    name: str
    arguments: Sequence[str]


@dataclass
class _Running:
    job: Job
    slot: Slot
    process: subprocess.Popen[bytes]
    out: IO[bytes]

    def answer(self, request: str | None) -> dict[str, Any]:
        """The JSON object that the command ended with; words for one that could not say any.

        `request` is the signal that asked all to stop, if any: a command that says nothing then is taken as stopped.
        """
        self.out.seek(0)
        lines = self.out.read().decode("utf-8", "replace").strip().splitlines()
        if lines:
            return dict(json.loads(lines[-1]))
        code = self.process.returncode
        error: HfkitError = ResourceError(
            f"{self.job.name}: the process ended with {code} and said nothing", "memory may have run out; add --resume"
        )
        if name := request or NUMBERS.get(-code):  # asked to stop before it listened, or once more while it saved
            error = stopped(name, "without a word")
        said = {"code": error.code, "kind": error.kind, "message": error.message, "hint": error.hint}
        return {"ok": False, "error": said}


def slots_for(*, cpu: bool, processes: int | None) -> list[Slot]:
    """The places where jobs run at once: every GPU, or `processes` of them; on a CPU one, or `processes`.

    Raises UsageError for more processes than GPUs.
    """
    gpus = 0 if cpu else torch.cuda.device_count()
    count = processes or max(1, gpus)
    if not gpus:
        threads = {} if "OMP_NUM_THREADS" in os.environ else {"OMP_NUM_THREADS": str(max(1, cpus() // count))}
        return [threads] * count
    if count > gpus:
        raise UsageError(
            f"{count} processes were asked for, but this machine has {gpus} GPU" + ("s" if gpus > 1 else ""),
            "ask for at most one process per GPU, or add --cpu",
        )
    visible = [name for name in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if name]
    names = visible or [str(number) for number in range(gpus)]
    return [{"CUDA_VISIBLE_DEVICES": name} for name in names[:count]]


def run_jobs(jobs: Sequence[Job], slots: Sequence[Slot]) -> Generator[tuple[Job, dict[str, Any]], None, None]:
    """Run every job, as many at once as there are slots; yields each with the JSON object that it ended with.

    When one fails the others are asked to stop, and its error is raised; a request to stop goes to all of them, and
    Stopped is raised when they have saved what they have.
    """
    waiting, free = list(jobs), list(slots)
    running: list[_Running] = []
    children = Children()
    restore = forward_signals(children)
    try:
        with forwarding():
            while waiting or running:
                while waiting and free and _request(children) is None:
                    running.append(_start(waiting.pop(0), free.pop(0)))
                    children.add(running[-1].process)
                if _request(children):
                    waiting.clear()
                time.sleep(0.05)
                for one in [one for one in running if one.process.poll() is not None]:
                    running.remove(one)
                    children.processes.remove(one.process)
                    free.append(one.slot)
                    answer = one.answer(_request(children))
                    if answer.get("ok"):
                        yield one.job, answer
                    elif _request(children) is None or answer["error"]["code"] not in CODES.values():
                        raise error_of(**answer["error"])
            if name := _request(children):
                raise stopped(name, "and saved")
    finally:
        restore()
        _end(running)


def _request(children: Children) -> str | None:
    """The name of the signal that asks to stop; from Python nothing but the handler of `children` hears one."""
    return asked() or next((NUMBERS[number] for _, number in children.heard), None)


def _start(job: Job, slot: Slot) -> _Running:
    out = tempfile.TemporaryFile(prefix="hfkit-job-")  # noqa: SIM115 - read when the process has ended
    process = subprocess.Popen(
        [sys.executable, "-m", "hfkit", *job.arguments],
        env={**os.environ, **slot}, stdout=out, stderr=subprocess.DEVNULL, stdin=subprocess.DEVNULL,
    )  # fmt: skip
    return _Running(job, slot, process, out)


def _end(running: Sequence[_Running]) -> None:
    """Ask the processes to stop, and make them after a while."""
    for one in running:
        one.process.terminate()
    deadline = time.monotonic() + GRACE_SECONDS
    for one in running:
        try:
            one.process.wait(max(0.0, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            one.process.kill()
            one.process.wait()
