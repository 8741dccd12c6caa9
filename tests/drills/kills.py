"""Runs that end without notice: FD01 to FD04, FD20, FD21."""

from __future__ import annotations

import multiprocessing
import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import engine_helpers as helpers

from drills.harness import Drill, at_call, clean, digests, stepping, valid, wait_for

CALLS = ("fsync", "replace", "rename")


def twice(drill: Drill) -> None:
    """FD01: the same command again gives the same bits."""
    for _ in drill.times(3, 1):
        run = drill.path("again")
        code, _, err = drill.call(run)
        drill.note(code == 0 and drill.identical(run), err)


def kills(drill: Drill) -> None:
    """FD02: kill -9 at random moments, then the same command with --resume."""
    drill.whole()
    begun = time.monotonic()
    if drill.full:
        drill.start(drill.path("timed")).join()
    length = time.monotonic() - begun
    moments: list[int] = []
    for _ in drill.times(100, 1):
        run = drill.path("killed")
        killed_at(drill, run, drill.draw.uniform(0.02, 0.98) * length)
        moments.append(len(valid(run)))
        drill.resume(run, f"killed with {moments[-1]} checkpoints")
        shutil.rmtree(run)
    drill.details["before_first_checkpoint"] = moments.count(0)


def killed_at(drill: Drill, run: Path, seconds: float) -> None:
    process = drill.start(run)
    if not drill.full:  # a machine that is slow once is not taken for one that always is: it is killed while it steps
        wait_for(lambda: stepping(run), process)
        seconds = drill.draw.uniform(0, 0.1)
    process.join(seconds)
    process.kill()
    process.join()


def chain(drill: Drill) -> None:
    """FD04: several kills in one run, each a while after the run went on."""
    for _ in drill.times(10, 1):
        run = drill.path("chain")
        for number in range(5 if drill.full else 2):
            process = drill.start(run, *(["--resume"] if number else []))
            before = len(valid(run))
            wait_for(lambda run=run, before=before: len(list(run.glob("checkpoints/step-*"))) > min(before, 2), process)
            time.sleep(drill.draw.uniform(0, 0.15))
            process.kill()
            process.join()
        drill.resume(run, "after the chain")


def system_calls(drill: Drill) -> None:
    """FD03: die before and after each call of a save that touches the disk's order of things."""
    run = drill.stopped("base", 6)
    before = ("step-00000006", digests(run / "checkpoints" / "step-00000006"))
    count = dying(drill, run, 10**6, after=False)
    shutil.rmtree(run)
    drill.details["calls"] = count
    numbers = list(range(1, count + 1)) if drill.full else [count // 2, count - 1]
    for number in (numbers[i] for i in drill.times(len(numbers), len(numbers))):
        for after in (False, True) if drill.full else (number % 2 == 0,):
            run = drill.stopped("cut", 6)
            dying(drill, run, number, after=after)
            kept = valid(run)
            good = len(kept) > 0 and (kept[0] != before[0] or digests(run / "checkpoints" / before[0]) == before[1])
            if drill.full:
                code, _, err = drill.call(run, "--resume")
                good = good and code == 0 and drill.identical(run) and clean(run)
                drill.note(good, f"call {number}, after={after}: {kept}, {err}")
            else:
                drill.note(good, f"call {number}, after={after}: {kept}")
            shutil.rmtree(run)


def dying(drill: Drill, run: Path, number: int, *, after: bool) -> int:
    """Go on with a run in a child that dies at a call of its next save; returns the calls of that save so far."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(helpers.PRELOAD)
    mine, theirs = context.Pipe(duplex=False)
    arguments = (drill.command(run, "--resume", keep_checkpoints=1), number, after, theirs)
    process = context.Process(target=_die_in_save, args=arguments)
    process.start()
    theirs.close()
    count = 0
    try:
        while True:
            count = mine.recv()
    except EOFError:
        process.join()
    return count


def _die_in_save(command: list[str], number: int, after: bool, tell: Any) -> None:
    import torch

    from hfkit.engine import checkpoint

    torch.set_num_threads(1)
    os.environ.update(OMP_NUM_THREADS="1", HF_HUB_OFFLINE="1")
    count = [0]

    def hooked(original: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **named: Any) -> Any:
            count[0] += 1
            tell.send(count[0])
            if count[0] == number and not after:
                os._exit(9)
            result = original(*arguments, **named)
            if count[0] == number:
                os._exit(9)
            return result

        return call

    save, rotate = checkpoint.save, checkpoint.rotate

    def armed(*arguments: Any, **named: Any) -> Any:
        originals = {name: getattr(os, name) for name in CALLS}
        for name, original in originals.items():
            setattr(os, name, hooked(original))
        return save(*arguments, **named)

    def ended(*arguments: Any, **named: Any) -> Any:
        rotate(*arguments, **named)
        os._exit(0)  # one save with its rotation is enough

    import hfkit.verbs.finetune.fit as fit
    import hfkit.verbs.finetune.saving as saving

    saving.save, fit.rotate = armed, ended
    helpers.call(command)
    os._exit(0)


def rotation(drill: Drill) -> None:
    """FD20: one checkpoint kept, a clock that jumps, and a death at each call of the save and its rotation."""
    jumps = [drill.draw.uniform(-1e6, 1e6) for _ in range(1000)]
    real = time.time

    def jumping() -> float:
        return real() + jumps[int(real() * 50) % len(jumps)]

    run = drill.path("jumping")
    time.time = jumping
    try:
        code, _, err = drill.call(run, keep_checkpoints=1)
    finally:
        time.time = real
    drill.note(code == 0 and drill.identical(run), f"a clock that jumps: {err}")
    if not drill.full:
        return  # FD03 dies in the rotation too
    for _ in drill.times(20, 0):
        run = drill.path("rotating")
        process = drill.start(run, keep_checkpoints=1, save_steps=1)
        wait_for(lambda run=run: len(valid(run)) > 0, process)
        time.sleep(drill.draw.uniform(0, 0.3))
        process.kill()
        process.join()
        drill.note(len(valid(run)) >= 1, f"{sorted(p.name for p in run.glob('checkpoints/*'))}")
        drill.resume(run, "after a kill in the rotation", keep_checkpoints=1, save_steps=1)


def predictions(drill: Drill) -> None:
    """FD21: predict and eval killed at random moments leave a whole file or none, and again give the same bytes."""
    whole = drill.whole()
    data = str(drill.data / "train.jsonl")
    expected = drill.path("expected")
    code, _, err = helpers.call(["predict", str(whole), "--data", data, "-o", str(expected), "--cpu"])
    assert code == 0, err
    for number in drill.times(10, 2):
        target = drill.path("predictions")
        command = ["predict", str(whole), "--data", data, "-o", str(target), "--cpu"]
        if drill.full:
            process = helpers.start(command, drill.path("log"))
            process.join(drill.draw.uniform(0.05, 1.0))
            process.kill()
            process.join()
        else:
            with at_call(os, ("fsync", "replace")[number], 2, _interrupt):  # the first is the probe's
                helpers.call(command)
        good = not target.exists() or target.read_bytes() == expected.read_bytes()
        code, _, err = helpers.call([*command, "--overwrite"])
        drill.note(good and code == 0 and target.read_bytes() == expected.read_bytes(), err)
        left = [path.name for path in target.parent.glob(f".{target.name}*")]
        drill.note(drill.full or not left, f"left: {left}")


def _interrupt() -> None:
    raise KeyboardInterrupt


DRILLS = {
    "FD01": twice, "FD02": kills, "FD03": system_calls, "FD04": chain, "FD20": rotation, "FD21": predictions,
}  # fmt: skip
