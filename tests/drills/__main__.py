"""`python tests/drills FD02 [--full]`: one drill, one JSON line; `all` runs every one. table.py says what each is."""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:1] = [str(HERE.parent), str(HERE.parent / "engine"), str(HERE.parent / "models")]


def main() -> int:
    """Run what was named; 1 when a trial failed."""
    from drills.table import DRILLS, run_drill

    parser = argparse.ArgumentParser(prog="python tests/drills", description="Fault drills, each one JSON line.")
    parser.add_argument("name", help="FD01 to FD23, or all")
    parser.add_argument("--full", action="store_true", help="the long form; without it what CI runs")
    parser.add_argument("--trials", type=int, help="trials of the long form, where it is a matter of chance")
    parser.add_argument("--minutes", type=float, help="begin no further trial after so long")
    given = parser.parse_args()
    names = sorted(DRILLS) if given.name == "all" else [given.name.upper()]
    failed = 0
    for name in names:
        with tempfile.TemporaryDirectory(prefix="hfkit-drill-") as folder:
            os.environ.update(
                OMP_NUM_THREADS="1", HFKIT_CACHE=f"{folder}/cache", HF_HOME=f"{folder}/hf", HF_HUB_OFFLINE="1"
            )
            line = run_drill(name, Path(folder), full=given.full, trials=given.trials, minutes=given.minutes)
        failed += line["fail"]
        sys.stdout.write(json.dumps(line) + "\n")
        sys.stdout.flush()
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
