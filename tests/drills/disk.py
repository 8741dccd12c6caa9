"""Disks that fail: FD10 (full), FD11 (read-only, gone, broken). Exit code 5; the checkpoint before is untouched."""

from __future__ import annotations

import errno
import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from drills.harness import Drill, at_call, clean, digests, patched


def refuse(number: int) -> Callable[[], None]:
    def raise_it() -> None:
        raise OSError(number, os.strerror(number))

    return raise_it


def full(drill: Drill) -> None:
    """FD10: no space at each write of a save, and a real limit on the size of files."""
    for name, count in (("fsync", 16), ("replace", 3), ("rename", 1)):
        for number in range(1, count + 1) if drill.full else (count,):
            failing(drill, name, number, errno.ENOSPC, "no space left on the disk")
    for share in (0.2, 0.5, 0.9) if drill.full else ():
        run = drill.stopped("limited", 6)
        before = digests(run / "checkpoints" / "step-00000006")
        size = (run / "checkpoints/step-00000006/optimizer.safetensors").stat().st_size
        process = drill.start(run, "--resume", largest_file=int(size * share))
        process.join(120)
        err = run.with_name(f"{run.name}-log.err").read_text("utf-8")
        drill.note(process.exitcode == 5 and "Traceback" not in err and clean(run), f"{process.exitcode} {err}")
        drill.note(digests(run / "checkpoints" / "step-00000006") == before, "the earlier checkpoint changed")
        drill.resume(run, "when there is space again")


def failing(drill: Drill, name: str, number: int, kind: int, words: str) -> None:
    """A call of the operating system fails in a save; the run ends with 5 and goes on when the disk works again."""
    import hfkit.verbs.finetune.saving as saving

    run = drill.stopped("failing", 6)
    before = digests(run / "checkpoints" / "step-00000006")
    original = saving.save

    def save(*arguments: Any, **named: Any) -> Any:
        with at_call(os, name, number, refuse(kind)):
            return original(*arguments, **named)

    with patched(saving, "save", save):
        code, result, err = drill.call(run, "--resume")
    if code == 0:  # the save has fewer such calls
        shutil.rmtree(run)
        return
    good = code == 5 and words in result["error"]["message"] and str(run) in result["error"]["message"]
    drill.note(good and clean(run), f"{name} {number}: {code} {err}")
    drill.note(digests(run / "checkpoints" / "step-00000006") == before, f"{name} {number}: it changed")
    if drill.full or name == "rename":
        drill.resume(run, f"{name} {number}")


def gone(drill: Drill) -> None:
    """FD11: the folder becomes read-only or breaks, or is removed, while the run writes there."""
    failing(drill, "replace", 1, errno.EROFS, "Read-only file system")
    failing(drill, "fsync", 2, errno.EIO, "Input/output error")
    from hfkit.engine.train import Training

    for at in ("_apply",) if not drill.full else ("_apply", "finished"):
        run = drill.path("gone")
        removed: list[float] = []

        def remove(run: Path = run, removed: list[float] = removed) -> None:
            shutil.rmtree(run)
            removed.append(time.monotonic())

        with at_call(Training, at, 3, remove):
            code, result, err = drill.call(run)
        quick = time.monotonic() - removed[0] < 5
        good = code == 5 and str(run) in result["error"]["message"] and not run.exists()
        drill.note(good and quick, f"removed: {code} {err}")
    run = drill.path("readonly")
    with patched(os, "replace", lambda *_: refuse(errno.EROFS)()):
        code, result, err = drill.call(run)
    drill.note(code == 5 and str(run) in result["error"]["message"], f"read-only from the start: {code} {err}")


DRILLS = {"FD10": full, "FD11": gone}
