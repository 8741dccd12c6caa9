"""Peak memory of `hfkit eval` at 10,000 and at 100,000 rows: the difference is to be at most 10 %.

    python tests/benchmarks/eval_memory.py [--rows 10000 100000] [--task qa]

Makes a tiny model with random weights and rows of its own, in a folder that is removed; needs no data and no network.
Each size runs in a process of its own and encodes anew. One JSON line. Takes about 3 minutes on two cores.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "models"))

import tiny_models

SETTINGS = {
    "qa": {"max_length": 64, "stride": 16, "max_question_length": 16, "max_answer_length": 8, "scorer": "squad"},
    "classify": {"target": "single", "labels": ["bread", "salt"], "max_length": 32},
}
HEADS = {"qa": "AutoModelForQuestionAnswering", "classify": "AutoModelForSequenceClassification"}
CONTEXT = "the small river runs behind the old mill and the mill stands still {}"
DIGITS = ("bread", "salt", "boat", "letters", "town", "who", "nobody", "carries")  # eight words of the tiny tokenizer
# The peak of this process alone, where the shell's would hold the largest child of all.
EVAL = """
import json, resource, sys
from hfkit.cli import main
code = main(sys.argv[1:])
unit = 1 if sys.platform == "darwin" else 1024
print("peak", resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit, file=sys.stderr)
sys.exit(code)
"""


def rows(task: str, count: int) -> Iterator[dict[str, object]]:
    for number in range(count):
        # A number in figures would be an unknown token, and eval refuses texts that hold many.
        text = CONTEXT.format(" ".join(DIGITS[int(digit)] for digit in f"{number:06o}"))
        if task == "qa":
            answer = {"text": "old mill", "start": text.index("old mill")}
            yield {"id": str(number), "question": "where does the river run?", "context": text, "answers": [answer]}
        else:
            yield {"id": str(number), "text": text, "label": ("bread", "salt")[number % 2]}


def make_model(task: str, folder: Path) -> None:
    labels = {0: "bread", 1: "salt"} if task == "classify" else {}
    heads = {"id2label": labels, "label2id": {name: i for i, name in labels.items()}} if labels else {}
    tiny_models.save("bert", folder, HEADS[task], **heads)
    content = {"hfkit": "0", "task": task, "settings": SETTINGS[task]}
    (folder / "hfkit.json").write_text(json.dumps(content), encoding="utf-8")


def peak(model: Path, data: Path, environment: dict[str, str]) -> int:
    """Bytes that one `hfkit eval` held at most."""
    command = [sys.executable, "-c", EVAL, "eval", str(model), "--data", str(data), "--cpu", "--overwrite", "--json"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, encoding="utf-8", check=False)
    if done.returncode:
        raise SystemExit(f"eval ended with {done.returncode}:\n{done.stderr[-2000:]}")
    return int(done.stderr.rsplit("peak ", 1)[1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, nargs=2, default=[10_000, 100_000], metavar="N")
    parser.add_argument("--task", choices=sorted(SETTINGS), default="qa")
    asked = parser.parse_args()
    found: dict[int, int] = {}
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        make_model(asked.task, folder / "model")
        environment = {**os.environ, "HFKIT_CACHE": str(folder / "cache"), "HFKIT_RUNS": str(folder / "runs")}
        for count in asked.rows:
            data = folder / f"{count}.jsonl"
            with data.open("w", encoding="utf-8") as lines:
                lines.writelines(json.dumps(row) + "\n" for row in rows(asked.task, count))
            found[count] = peak(folder / "model", data, environment)
    few, many = found.values()
    ratio = round(many / few, 3)
    print(json.dumps({"benchmark": "eval_memory", "task": asked.task, "bytes": found, "ratio": ratio, "limit": 1.1}))


if __name__ == "__main__":
    main()
