"""score, init, data check and data show do their work where torch is not installed, or cannot be imported."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import tiny_models
from faulty_data import jsonl, sound

ROOT = Path(__file__).resolve().parents[2]
BLOCK = """
import sys

class Broken:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] == "torch":
            raise ImportError("libtorch_cpu.so: cannot open shared object file")

class Without:
    "A finder that does not find torch: it is not installed."
    def __init__(self, finder):
        self.finder = finder
    def find_spec(self, name, path=None, target=None):
        return None if name.split(".")[0] == "torch" else self.finder.find_spec(name, path, target)
    def __getattr__(self, name):
        return getattr(self.finder, name)

if HOW == "broken":
    sys.meta_path.insert(0, Broken())
else:
    sys.meta_path[:] = [Without(finder) for finder in sys.meta_path]
from hfkit.cli import main
code = main(ARGUMENTS)
assert "torch" not in sys.modules
sys.exit(code)
"""


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("place")
    rows = sound("nli")[:60]
    (folder / "train.jsonl").write_text(jsonl(rows), encoding="utf-8")
    said = [{"id": row["id"], "prediction": row["label"]} for row in rows]
    (folder / "said.jsonl").write_text(jsonl(said), encoding="utf-8")
    tiny_models.save("bert", folder / "bert")
    return folder


@pytest.mark.parametrize("how", ["missing", "broken"])
@pytest.mark.parametrize(
    "words",
    [
        "score said.jsonl --data train.jsonl --task nli",
        "init train.jsonl",
        "data check train.jsonl --task nli",
        "data check train.jsonl --task nli --model bert",
    ],
)
def test_a_command_without_torch(words: str, how: str, place: Path) -> None:
    program = f"HOW = {how!r}\nARGUMENTS = {[*words.split(), '--json']!r}\n{BLOCK}"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=120, cwd=place, check=False,
        env={"PYTHONPATH": str(ROOT), "PATH": "", "HF_HUB_OFFLINE": "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert result["ok"]
    if "--model" in words:
        skipped = [part["message"] for part in result["passed"] if part["code"] == "tokens_skipped"]
        assert bool(skipped) == (how == "broken")
        assert how != "missing" or result["counts"]["tokens"]["all"] > 0
        assert all("cannot be imported" in message for message in skipped)
