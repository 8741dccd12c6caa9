"""Runs that are asked to stop: FD05 to FD07."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

from drills.harness import Drill, at_call, clean, facts, patched, signal_here, stepping, wait_for
from hfkit.stopping import AGAIN_SECONDS

GRACE_SECONDS = 10.0
HANDLERS_SECONDS = 0.2  # after the fork a process hears signals; before that, one ends it as it ends any program


def sigterm(drill: Drill) -> None:
    """FD05: SIGTERM at random moments as a process; in each stage in this process."""
    length = duration(drill) if drill.full else 0.0
    for _ in drill.times(50, 1):
        while not terminated(drill, length):
            pass  # the run was through before its signal: another moment is drawn
    for stage, hook in stages().items():
        run = drill.path("stage")
        cache = {"HFKIT_CACHE": str(drill.path("cache"))}  # so that there is something to tokenise
        with patched(os, "environ", {**os.environ, **cache}), hook(signal_here("SIGTERM")):
            code, result, err = drill.call(run)
        drill.note(code == 143 and result["error"]["kind"] == "stopped", f"{stage}: {code} {err}")
        drill.resume(run, stage)


def terminated(drill: Drill, length: float) -> bool:
    """One run that is sent SIGTERM, at a random moment of its `length` or once it steps; whether the signal met it."""
    run = drill.path("terminated")
    process = drill.start(run)
    if drill.full:
        process.join(drill.draw.uniform(HANDLERS_SECONDS, 0.9 * length))
    else:
        wait_for(lambda: stepping(run), process)
    return asked_to_end(drill, run, process, signal.SIGTERM, 143)


def duration(drill: Drill) -> float:
    """Seconds of a whole run as a process."""
    drill.whole()
    drill.start(drill.path("first")).join()  # it waits for the libraries that the later ones find loaded
    begun = time.monotonic()
    drill.start(drill.path("timed")).join()
    return time.monotonic() - begun


def asked_to_end(drill: Drill, run: Any, process: Any, number: int, code: int) -> bool:
    """Send a signal, count how it ends and that the run goes on to the same end; False: it was through before."""
    begun = time.monotonic()
    with suppress(ProcessLookupError):
        os.kill(process.pid, number)
    process.join(60)
    seconds = time.monotonic() - begun
    if process.exitcode == 0 and facts(run)["status"] == "done":
        drill.details["through_before"] = drill.details.get("through_before", 0) + 1
        return False
    drill.details["slowest"] = max(round(seconds, 2), drill.details.get("slowest", 0))
    good = process.exitcode == code and clean(run) and seconds <= GRACE_SECONDS
    drill.note(good, f"exit code {process.exitcode} after {seconds:.1f} s")
    drill.resume(run, f"after signal {number}")
    return True


def stages() -> dict[str, Callable[[Callable[[], None]], Any]]:
    """Stage -> a context in which an action happens in that stage."""
    import hfkit.data.features as features
    import hfkit.verbs.finetune.fit as fit
    import hfkit.verbs.finetune.saving as saving
    import hfkit.verbs.finetune.validation as validation
    from hfkit.engine.train import Training

    closing = sys.modules["hfkit.verbs.finetune.closing"]  # the package has a function of that name

    def evaluating(action: Callable[[], None]) -> Any:
        original = validation.answers_of

        def wrapped(*arguments: Any, **named: Any) -> Any:
            work = original(*arguments, **named)
            yield next(work)
            action()
            return (yield from work)

        return patched(validation, "answers_of", wrapped)

    return {
        "tokenisation": lambda action: at_call(features, "_write_features", 1, action),
        "first step": lambda action: at_call(Training, "advance", 1, action),
        "in a step": lambda action: at_call(Training, "_apply", 5, action),
        "evaluation": evaluating,
        "save": lambda action: at_call(saving, "save", 2, action, after=False),
        "after a save": lambda action: at_call(fit, "rotate", 2, action, after=True),
        "the model": lambda action: at_call(closing, "remove_folder", 1, action),
    }


def then_killed(drill: Drill) -> None:
    """FD06: SIGTERM, and SIGKILL two seconds later or, in the quick form, in the save that the first one began."""
    for _ in drill.times(10, 0):
        run = drill.path("both")
        process = drill.start(run)
        wait_for(lambda run=run: stepping(run), process)
        time.sleep(drill.draw.uniform(0, 0.5))
        os.kill(process.pid, signal.SIGTERM)
        process.join(drill.draw.uniform(0, 2))
        process.kill()
        process.join()
        drill.resume(run, "SIGTERM, then SIGKILL")
    if drill.full:
        return
    from hfkit.engine.train import Training

    run = drill.path("both")
    with at_call(Training, "_apply", 3, signal_here("SIGTERM")), broken_save():
        code, _, _ = drill.call(run)
    drill.note(code == 1, str(code))
    drill.resume(run, "the save after SIGTERM broke off")


@contextmanager
def broken_save() -> Iterator[None]:
    """Each save leaves a half-written temporary folder, as a killed one does."""
    import hfkit.verbs.finetune.saving as saving

    def save(folder: Any, **_: Any) -> None:
        half = folder / ".tmp-step-00000003-0123abcd"
        half.mkdir(parents=True)
        (half / "model.safetensors").write_bytes(b"half")
        raise ZeroDivisionError

    with patched(saving, "save", save):
        yield


def sigint(drill: Drill) -> None:
    """FD07: once saves and leaves with 130; twice leaves at once, and harms nothing."""
    for _ in drill.times(10, 1):
        run = drill.path("once")
        process = drill.start(run, **({} if drill.full else {"max_steps": 12}))
        wait_for(lambda run=run: stepping(run), process)
        asked_to_end(drill, run, process, signal.SIGINT, 130)
    for _ in drill.times(10, 0):
        run = drill.path("twice")
        process = drill.start(run)
        wait_for(lambda run=run: stepping(run), process)
        os.kill(process.pid, signal.SIGINT)
        time.sleep(drill.draw.uniform(0, 0.01))
        with frozen(process.pid):  # the tiny run would be through before a second one counts as such
            time.sleep(AGAIN_SECONDS + 0.05)
            os.kill(process.pid, signal.SIGINT)
        begun = time.monotonic()
        process.join(30)
        drill.note(process.exitcode == 130 and time.monotonic() - begun <= 1, f"{process.exitcode}")
        drill.resume(run, "SIGINT twice")


@contextmanager
def frozen(pid: int) -> Iterator[None]:
    """Inside, the process stands still."""
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


DRILLS = {"FD05": sigterm, "FD06": then_killed, "FD07": sigint}
