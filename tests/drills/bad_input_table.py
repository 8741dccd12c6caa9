"""`python tests/drills/bad_input_table.py`: every line of the table of bad input, B01 to B70, in one process."""

from __future__ import annotations

import json
import os
import sys
import tempfile
from pathlib import Path

TESTS = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(TESTS), str(TESTS / "models")]


def main() -> int:
    """Prints one JSON line; 1 when a line of the table is not answered as it says."""
    wrong: dict[str, str] = {}
    with tempfile.TemporaryDirectory(prefix="hfkit-drill-") as name:
        folder = Path(name)
        os.environ.update(OMP_NUM_THREADS="1", HFKIT_CACHE=f"{name}/cache", HF_HOME=f"{name}/hf", HF_HUB_OFFLINE="1")
        from bad_input import checkpoints
        from bad_input.perform import perform
        from bad_input.table import TABLE

        checkpoints.sound(folder / "models")
        for line, cases in TABLE.items():
            for number, case in enumerate(cases):
                here = folder / line / str(number)
                here.mkdir(parents=True)
                os.chdir(here)
                try:
                    perform(case, folder / "models", folder / line)
                except BaseException as error:
                    wrong.setdefault(line, f"{case.name}: {type(error).__name__}: {str(error)[-300:]}")
        os.chdir(TESTS)
    for line, problem in wrong.items():
        sys.stderr.write(f"{line} {problem}\n")
    total = len(TABLE)
    sys.stdout.write(
        json.dumps({"drill": "bad_input", "n": total, "pass": total - len(wrong), "fail": len(wrong)}) + "\n"
    )
    return bool(wrong)


if __name__ == "__main__":
    sys.exit(main())
