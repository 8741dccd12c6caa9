"""Which drill is what, and how one is run."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from drills import bundle, contract, damage, disk, finite, hub, kills, signals, world
from drills.harness import Drill

PARTS = (kills, signals, damage, disk, finite, contract, world, hub, bundle)
DRILLS: dict[str, Callable[[Drill], None]] = {name: drill for part in PARTS for name, drill in part.DRILLS.items()}


def run_drill(
    name: str,
    folder: Path,
    *,
    full: bool,
    trials: int | None = None,
    minutes: float | None = None,
    home: Path | None = None,
) -> dict[str, Any]:
    """Run one drill in an empty folder; returns {drill, n, pass, fail, seconds, ...}."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    drill = Drill(name, folder, full, trials, minutes, home)
    begun = time.monotonic()
    try:
        DRILLS[name](drill)
    finally:
        torch.set_num_threads(before)
    return {**drill.line(), "seconds": round(time.monotonic() - begun, 1)}
