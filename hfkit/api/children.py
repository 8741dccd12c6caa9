"""Work that needs several processes: a command, never a fork of this process."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from hfkit.errors import error_of


def several_devices() -> bool:
    """Whether this machine has more than one GPU."""
    import torch

    return torch.cuda.device_count() > 1


def in_children(
    words: Sequence[str],
    output: Path | None,
    options: Mapping[str, bool],
    *,
    processes: int | None = None,
    quiet: bool,
) -> dict[str, Any]:
    """The result of `hfkit WORDS`, a process that may start one child per device. Raises HfkitError."""
    flags = [f"--{name.replace('_', '-')}" for name, on in options.items() if on]
    flags += ["--processes", str(processes)] if processes is not None else []
    place = ["--output", str(output)] if output is not None else []
    command = [sys.executable, "-m", "hfkit", *words, *place, *flags, "--json"]
    done = subprocess.run(
        command, check=False, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL if quiet else None, encoding="utf-8"
    )
    lines = done.stdout.strip().split("\n")
    answer = (
        json.loads(lines[-1])
        if lines[-1]
        else {"error": {"code": done.returncode, "message": f"{words[0]} was killed"}}
    )
    if answer.get("ok"):
        return answer
    raise error_of(**answer["error"])
