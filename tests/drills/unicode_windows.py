"""`python tests/drills/unicode_windows.py [-n 20000]`: random Unicode contexts through windows, stride and back."""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path

TESTS = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(TESTS), str(TESTS / "tasks" / "qa")]


def main() -> int:
    """Prints one JSON line; 1 when an answer was not the part of its context that its offsets say."""
    parser = argparse.ArgumentParser(description="Random Unicode contexts through windows, stride and back.")
    parser.add_argument("-n", type=int, default=20_000, help="how many contexts")
    parser.add_argument("--seed", type=int, default=4)
    given = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = "1"
    from qa_roundtrip import TOKENIZERS, check

    wrong: list[str] = []
    kinds = list(TOKENIZERS)
    for number, kind in enumerate(kinds):
        count = given.n // len(kinds) + (number < given.n % len(kinds))
        for part in range(0, count, 1000):
            wrong += check(kind, min(1000, count - part), seed=given.seed + 1000 * number + part)[2]
    for line in wrong[:20]:
        sys.stderr.write(line + "\n")
    sys.stdout.write(
        json.dumps({"drill": "unicode_windows", "n": given.n, "pass": given.n - len(wrong), "fail": len(wrong)}) + "\n"
    )
    return bool(wrong)


if __name__ == "__main__":
    sys.exit(main())
