"""Peak memory of `hfkit eval` at 10,000 and at 100,000 rows: the difference is to be at most 10 %.

    python tests/benchmarks/eval_memory.py [--rows 10000 100000] [--task qa]

Makes a tiny model with random weights and rows of its own, in a folder that is removed; needs no data and no network.
Each size runs in a process of its own and encodes anew. One JSON line: peaks with the pages of files that were mapped,
and of the process's own memory. Takes about 3 minutes on two cores; Linux only.
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
EVERY = 0.02  # seconds between two looks at what is held
# Linux alone tells memory of the process's own from pages of files, which it can give up at any time. The peak that
# getrusage gives would not do: it begins with what the process that started this one held.
COMMAND = f"""
import sys, threading

def held(*names):
    with open("/proc/self/status") as lines:
        found = dict(line.split(":", 1) for line in lines)
    return [int(found[name].split()[0]) * 1024 for name in names]

def look():
    while not ended.wait({EVERY}):
        most[0] = max(most[0], *held("RssAnon"))

most, ended = [0], threading.Event()
threading.Thread(target=look, daemon=True).start()
from hfkit.cli import main
code = main(sys.argv[1:])
ended.set()
print("peak", *held("VmHWM"), *most, file=sys.stderr)
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


def peak(arguments: list[str], environment: dict[str, str]) -> tuple[int, int]:
    """Bytes that one hfkit command held at most: with pages of files, and of its own."""
    command = [sys.executable, "-c", COMMAND, *arguments]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, encoding="utf-8", check=False)
    if done.returncode:
        raise SystemExit(f"{arguments[0]} ended with {done.returncode}:\n{done.stderr[-2000:]}")
    whole, own = map(int, done.stderr.rsplit("peak ", 1)[1].split())
    return whole, own


LIMIT = 1.1  # times the smaller set's peak


def report(name: str, found: dict[int, tuple[int, int]], **more: object) -> int:
    """One JSON line: the peaks of the two sizes and how many times the smaller one's the larger one's is.

    Returns the exit code: 1 where that is over the limit.
    """
    few, many = found.values()
    line = {
        "benchmark": name,
        **more,
        "bytes": {rows: whole for rows, (whole, _) in found.items()},
        "own_bytes": {rows: own for rows, (_, own) in found.items()},
        "ratio": round(many[0] / few[0], 3),
        "own_ratio": round(many[1] / few[1], 3),
        "limit": LIMIT,
    }
    print(json.dumps(line))
    return int(many[0] > LIMIT * few[0])


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, nargs=2, default=[10_000, 100_000], metavar="N")
    parser.add_argument("--task", choices=sorted(SETTINGS), default="qa")
    asked = parser.parse_args()
    found: dict[int, tuple[int, int]] = {}
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        make_model(asked.task, folder / "model")
        environment = {**os.environ, "HFKIT_CACHE": str(folder / "cache"), "HFKIT_RUNS": str(folder / "runs")}
        for count in asked.rows:
            data = folder / f"{count}.jsonl"
            with data.open("w", encoding="utf-8") as lines:
                lines.writelines(json.dumps(row) + "\n" for row in rows(asked.task, count))
            evaluation = ["eval", str(folder / "model"), "--data", str(data), "--cpu", "--overwrite", "--json"]
            found[count] = peak(evaluation, environment)
    return report("eval_memory", found, task=asked.task)


if __name__ == "__main__":
    sys.exit(main())
