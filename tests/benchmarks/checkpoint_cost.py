"""What checkpoints cost: seconds of one against seconds of a step, as the share of a run that saves every 200 steps.

    python tests/benchmarks/checkpoint_cost.py [--model starter] [--words 20] [--steps 40]

Rows of `--words` words, 16 a step: short rows are the dear case, since a checkpoint costs the same whatever they are.
One JSON line. Takes about a minute.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import itertools
import json
import statistics
import sys
import tempfile
from pathlib import Path

WORDS = ("the", "river", "runs", "behind", "an", "old", "mill", "and", "bread", "salt", "letters", "boats", "town")
EVERY = 200


def main() -> int:
    """Train for some steps, saving twice; read what they took from the run's own events."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="starter")
    parser.add_argument("--words", type=int, default=20)
    parser.add_argument("--steps", type=int, default=40)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=Path.cwd()) as name:  # on the disk that runs are on, not in memory
        folder = Path(name)
        data = rows(folder / "rows.jsonl", given.words)
        files = ["--train", data, "--validation", data, "--limit", "400", "-o", str(folder / "run")]
        keys = [f"train.max_steps={given.steps}", f"train.save_steps={given.steps // 2}", "train.eval_steps=null"]
        from hfkit.cli import main as hfkit

        with contextlib.redirect_stdout(io.StringIO()):
            code = hfkit(["finetune", "classify", "--model", given.model, *files, "--json", *keys])
        if code:
            return code
        print(json.dumps(cost(folder / "run", given.model, given.words)))
    return 0


def rows(path: Path, words: int) -> str:
    """400 rows of `words` words, of two classes."""
    with open(path, "w", encoding="utf-8") as handle:
        for number in range(400):
            text = " ".join(WORDS[(number * 5 + place * 7) % len(WORDS)] for place in range(words))
            handle.write(json.dumps({"text": f"{number} {text}", "label": ("a", "b")[number % 2]}) + "\n")
    return str(path)


def cost(run: Path, model: str, words: int) -> dict[str, object]:
    """Medians of the steps between two checkpoints, and of the checkpoints."""
    events = [json.loads(line) for line in (run / "events.jsonl").read_text(encoding="utf-8").splitlines()]
    kinds = ("step", "saved")
    marks = [e for e in events if e["kind"] in kinds and e["fields"].get("what") in (None, "checkpoint")]
    pairs = list(itertools.pairwise(marks))
    steps = [b["time"] - a["time"] for a, b in pairs if a["kind"] == b["kind"] == "step"]
    facts = json.loads((run / "run.json").read_text(encoding="utf-8"))
    saved = [mark for mark in marks if mark["kind"] == "saved"]
    save = facts["result"]["throughput"]["checkpoint_seconds"] / len(saved)
    step = statistics.median(steps)
    size = sum(path.stat().st_size for path in Path(saved[-1]["fields"]["path"]).iterdir())
    return {
        "model": model, "words": words, "seconds_per_step": round(step, 4), "seconds_per_checkpoint": round(save, 3),
        "megabytes": round(size / 1e6, 1), "percent_of_a_run": round(100 * save / (EVERY * step + save), 2),
    }  # fmt: skip


if __name__ == "__main__":
    sys.exit(main())
