"""Checkpoints that were damaged: FD08 and FD09. Nothing damaged is used, nothing is passed over in silence."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import engine_helpers as helpers

from drills.harness import Drill, digests

NEWEST, OLDER = "step-00000008", "step-00000006"


def flip(path: Path, other: Path) -> None:
    """One bit in the middle."""
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


DAMAGES: dict[str, Callable[[Path, Path], object]] = {
    "delete": lambda path, other: path.unlink(),
    "empty": lambda path, other: path.write_bytes(b""),
    "half": lambda path, other: path.write_bytes(path.read_bytes()[: path.stat().st_size // 2]),
    "flip": flip,
    "swap": lambda path, other: shutil.copy(other, path),
}


def matrix(drill: Drill) -> None:
    """FD08: each file in each way: the older one is taken, the newer named; asked for by name it is refused (4)."""
    newest = drill.whole() / "checkpoints" / NEWEST
    names = sorted(path.relative_to(newest).as_posix() for path in newest.rglob("*") if path.is_file())
    cases = [(name, how) for name in names for how in DAMAGES]
    drill.details["silent"] = 0
    drill.draw.shuffle(cases)
    for name, how in (cases[i] for i in drill.times(len(cases), 4)):
        run = drill.stopped("damaged", 8)
        path, other = (run / "checkpoints" / step / name for step in (NEWEST, OLDER))
        if not other.exists():  # the evaluation of the best step
            other = path.with_name("metrics.json")
        before = path.read_bytes()
        DAMAGES[how](path, other)
        if path.exists() and path.read_bytes() == before:  # the same in both checkpoints
            shutil.rmtree(run)
            continue
        code, _, err = drill.call(run, "--resume")
        named = any(f"passed over: {NEWEST}: " in line and name in line for line in err.splitlines())
        drill.details["silent"] += not named
        drill.note(code == 0 and named and drill.identical(run), f"{name}, {how}: {code} {err}")
        shutil.rmtree(run)
    run = drill.stopped("named", 8)
    flip(run / "checkpoints" / NEWEST / "model.safetensors", run)
    command = drill.command(drill.path("other"))
    command[command.index("--model") + 1] = str(run / "checkpoints" / NEWEST)
    code, result, _ = helpers.call(command)
    drill.note(code == 4 and "model.safetensors differs" in result["error"]["message"], f"by name: {code} {result}")


def all_damaged(drill: Drill) -> None:
    """FD09: no checkpoint is valid: refused (4), nothing deleted, nothing trained."""
    for _ in drill.times(3, 1):
        run = drill.stopped("all", 8)
        for path in (run / "checkpoints").iterdir():
            flip(path / "optimizer.safetensors", path)
        before = digests(run / "checkpoints")
        code, result, err = drill.call(run, "--resume")
        good = code == 4 and "no checkpoint is valid" in result["error"]["message"]
        drill.note(good and digests(run / "checkpoints") == before and err.count("passed over") == 4, f"{code} {err}")


DRILLS = {"FD08": matrix, "FD09": all_damaged}
