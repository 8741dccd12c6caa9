"""`python tests/drills/fuzz_files.py [-n 5000]`: mutated data files; exit codes 0, 2 and 3 only, nothing hangs."""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from pathlib import Path

TESTS = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(TESTS), str(TESTS / "models")]


def main() -> int:
    """Prints one JSON line; 1 when a file was answered otherwise."""
    parser = argparse.ArgumentParser(description="Mutated data files, each one command.")
    parser.add_argument("-n", type=int, default=5000, help="how many files")
    parser.add_argument("--seed", type=int, default=4)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="hfkit-drill-") as name:
        os.environ.update(OMP_NUM_THREADS="1", HFKIT_CACHE=f"{name}/cache", HF_HOME=f"{name}/hf", HF_HUB_OFFLINE="1")
        from bad_input import checkpoints
        from bad_input.fuzz import fuzz

        checkpoints.sound(Path(name) / "models")
        here = Path(name) / "here"
        here.mkdir()
        os.chdir(here)
        wrong = fuzz(given.n, Path(name) / "models" / "bytes", here, given.seed)
        os.chdir(TESTS)
    for line in wrong:
        sys.stderr.write(line + "\n")
    sys.stdout.write(
        json.dumps({"drill": "fuzz_files", "n": given.n, "pass": given.n - len(wrong), "fail": len(wrong)}) + "\n"
    )
    return bool(wrong)


if __name__ == "__main__":
    sys.exit(main())
