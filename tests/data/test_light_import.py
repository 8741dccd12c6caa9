"""Importing hfkit.data loads nothing heavy; reading local text files does not either."""

import subprocess
import sys
from pathlib import Path

HEAVY = ("torch", "transformers", "datasets", "accelerate", "pandas", "pyarrow")
SCRIPT = """
import sys
from hfkit.data import load
from hfkit.recipe.keys import Data
from hfkit.tasks.base import Column
rows = load(sys.argv[1], columns=(Column("text", True),), settings=Data(), need_gold=True)
assert rows[0]["text"] == "a"
print(",".join(name for name in sys.argv[2:] if name in sys.modules))
"""


def test_nothing_heavy_is_loaded_for_local_files(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("text\na\n", encoding="utf-8")
    command = [sys.executable, "-c", SCRIPT, str(path), *HEAVY]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.strip() == ""
