"""`hfkit compete` on six competitions made of public data, beside one plain `hfkit finetune` with the same time.

    python tests/benchmarks/compete.py [--time 10m] [--rows 3000] [--only single qa] [--half] [--kill] [--data DIR]

Makes train, test and sample files, and keeps the answers of the test rows aside. Prints one table: whether each file is
valid, its score and the plain run's on the test rows, and the seconds. --half competes once more with half of the time,
--kill once more, killed by SIGKILL at a third of the time and continued. Takes about 2 hours on two cores: six times
twice the time, and as much again for --half and --kill.
"""

from __future__ import annotations

import argparse
import csv
import json
import math
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hfkit.engine.pace import parse_time
from hfkit.metrics.squad import measure_squad

HFKIT = [sys.executable, "-m", "hfkit"]
TOPICS = ("card", "transfer", "top", "exchange", "refund", "payment", "cash", "pin")  # words in the names of intents
SEED = 0
Rows = list[dict[str, Any]]


@dataclass(frozen=True)
class Folder:
    """A competition: its files, the answers of the test rows by id, and how a plain run is told what it is about."""

    name: str
    train: Path
    test: Path
    sample: Path
    gold: Mapping[str, Any]
    metric: str
    plain: Sequence[str]  # after `hfkit finetune`


def rows_of(path: Path) -> Rows:
    """The rows of a csv, tsv or JSON-lines file, in an order of their own."""
    with path.open(encoding="utf-8", newline="") as handle:
        if path.suffix == ".jsonl":
            found = [json.loads(line) for line in handle]
        elif path.suffix == ".tsv":
            names = next(handle).rstrip("\r\n").split("\t")
            found = [dict(zip(names, line.rstrip("\r\n").split("\t"), strict=True)) for line in handle]
        else:
            found = list(csv.DictReader(handle))
    random.Random(SEED).shuffle(found)
    return found


def write(path: Path, rows: Rows) -> Path:
    with path.open("w", encoding="utf-8", newline="") as handle:
        writer = csv.DictWriter(handle, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return path


def of_table(
    name: str,
    place: Path,
    rows: tuple[Rows, Rows],
    labels: Sequence[str],
    empty: Any,
    metric: str,
    plain: Sequence[str],
) -> Folder:
    """A competition in csv files: every row gets an id, the test file lacks the labels, the sample holds `empty`."""
    train, test = (
        [{"id": f"{part}{n}", **row} for n, row in enumerate(each)] for part, each in zip("ab", rows, strict=True)
    )
    asked = [{key: value for key, value in row.items() if key not in labels} for row in test]
    gold = {row["id"]: {label: row[label] for label in labels} for row in test}
    sample = write(place / "sample_submission.csv", [{"id": row["id"], **dict.fromkeys(labels, empty)} for row in test])
    files = write(place / "train.csv", train), write(place / "test.csv", asked)
    return Folder(name, *files, sample, gold, metric, plain)


def single(data: Path, place: Path, rows: int, test: int) -> Folder:
    train, other = rows_of(data / "sst2/train.tsv")[:rows], rows_of(data / "sst2/dev.tsv")[:test]
    return of_table("single", place, (train, other), ["label"], 0, "accuracy", ["classify"])


def many(data: Path, place: Path, rows: int, test: int) -> Folder:
    train, other = rows_of(data / "banking77/train.csv")[:rows], rows_of(data / "banking77/test.csv")[:test]
    return of_table("many", place, (train, other), ["category"], "card_arrival", "accuracy", ["classify"])


def several(data: Path, place: Path, rows: int, test: int) -> Folder:
    """Which of some topics the name of the intent speaks of: real columns, of which several may be 1."""

    def made(row: Mapping[str, str]) -> dict[str, Any]:
        words = row["category"].lower().split("_")
        return {"text": row["text"], **{topic: int(topic in words) for topic in TOPICS}}

    train, other = (list(map(made, rows_of(data / f"banking77/{name}.csv"))) for name in ("train", "test"))
    plain = ["classify", f"data.columns.label=[{', '.join(TOPICS)}]"]
    return of_table("several", place, (train[:rows], other[:test]), TOPICS, 0, "micro_f1", plain)


def pairs(data: Path, place: Path, rows: int, test: int) -> Folder:
    """Whether two texts contradict each other, as a probability."""
    found = [
        {"sentence1": row["premise"], "sentence2": row["hypothesis"], "opposed": int(row["label"] == "contradiction")}
        for row in rows_of(data / "mnli/dev_matched.jsonl")
    ]
    plain = ["classify", "--metric", "log_loss", "data.columns.label=opposed"]
    return of_table("pairs", place, (found[:rows], found[-test:]), ["opposed"], 0.5, "log_loss", plain)


def nli(data: Path, place: Path, rows: int, test: int) -> Folder:
    train, other = (rows_of(data / f"snli/{name}.jsonl") for name in ("train", "validation"))
    train, other = ([row for row in part if row["label"] in (0, 1, 2)] for part in (train, other))
    return of_table("nli", place, (train[:rows], other[:test]), ["label"], 0, "accuracy", ["nli"])


def qa(data: Path, place: Path, rows: int, test: int) -> Folder:
    """SQuAD's own form, the sample {id: answer}."""
    gold: dict[str, list[str]] = {}

    def part(name: str, most: int, *, hide: bool) -> Path:
        articles = json.loads((data / f"squad/{name}.json").read_text(encoding="utf-8"))["data"]
        found = [paragraph for article in articles for paragraph in article["paragraphs"]]
        random.Random(SEED).shuffle(found)
        kept, count = [], 0
        for paragraph in found:
            kept.append(paragraph)
            count += len(paragraph["qas"])
            if count >= most:
                break
        if hide:
            for question in (question for paragraph in kept for question in paragraph["qas"]):
                gold[question["id"]] = [answer["text"] for answer in question.pop("answers")]
        path = place / ("test.json" if hide else "train.json")
        path.write_text(json.dumps({"version": "1.1", "data": [{"title": "", "paragraphs": kept}]}), encoding="utf-8")
        return path

    train, asked = part("train", rows, hide=False), part("dev", test, hide=True)
    sample = place / "sample_submission.json"
    sample.write_text(json.dumps(dict.fromkeys(gold, "")), encoding="utf-8")
    return Folder("qa", train, asked, sample, gold, "f1", ["qa"])


KINDS: dict[str, Callable[[Path, Path, int, int], Folder]] = {
    "single": single, "many": many, "several": several, "pairs": pairs, "nli": nli, "qa": qa,
}  # fmt: skip


def submitted(folder: Folder, path: Path) -> dict[str, Any] | None:
    """What a file says by id; None unless it has the sample's ids in order, its columns, and a value everywhere."""
    try:
        if path.suffix == ".json":
            said = json.loads(path.read_text(encoding="utf-8"))
            asked = json.loads(folder.sample.read_text(encoding="utf-8"))
            return said if list(said) == list(asked) and all(isinstance(text, str) for text in said.values()) else None
        with path.open(encoding="utf-8", newline="") as one, folder.sample.open(encoding="utf-8", newline="") as other:
            rows, wanted = list(csv.DictReader(one)), list(csv.DictReader(other))
    except (OSError, ValueError):
        return None
    same = [row["id"] for row in rows] == [row["id"] for row in wanted] and list(rows[0]) == list(wanted[0])
    return {row.pop("id"): row for row in rows} if same and all(all(row.values()) for row in rows) else None


def score(folder: Folder, said: Mapping[str, Any] | None) -> float | None:
    """The metric on the test rows, by the answers that were kept aside."""
    if said is None:
        return None
    pairs = [(said[name], gold) for name, gold in folder.gold.items()]
    if folder.metric == "f1":
        return 100 * sum(measure_squad(text, golds)["f1"] for text, golds in pairs) / len(pairs)
    cells = [(row[name], str(gold[name])) for row, gold in pairs for name in gold]
    if folder.metric == "log_loss":
        chances = [float(chance) if gold == "1" else 1 - float(chance) for chance, gold in cells]
        return -sum(math.log(max(chance, 1e-15)) for chance in chances) / len(chances)
    if folder.metric == "micro_f1":
        right = sum(one == gold == "1" for one, gold in cells)
        return 200 * right / max(1, sum((one == "1") + (gold == "1") for one, gold in cells))
    return 100 * sum(one == gold for one, gold in cells) / len(cells)


def compete(folder: Folder, output: Path, limit: str, *words: str, kill: float | None = None) -> float:
    """Compete, or be killed after `kill` seconds; returns the seconds."""
    files = [str(folder.train), str(folder.test), str(folder.sample)]
    command = [*HFKIT, "compete", *files, "--time", limit, "-o", str(output), "--offline", *words]
    begun = time.monotonic()
    log = output.with_suffix(".log")
    with log.open("a", encoding="utf-8") as handle:
        process = subprocess.Popen(command, stdout=handle, stderr=subprocess.STDOUT)
        try:
            process.wait(kill)
        except subprocess.TimeoutExpired:
            os.kill(process.pid, signal.SIGKILL)
            process.wait()
    if process.returncode not in (0, -signal.SIGKILL):
        sys.stderr.write(f"{folder.name}: ended with {process.returncode}, see {log}\n")
    return time.monotonic() - begun


def plain(folder: Folder, output: Path, limit: str) -> tuple[Path, float]:
    """One run of the plain recipe with the same time, and its submission; returns the file and the seconds."""
    begun = time.monotonic()
    train = ["--train", str(folder.train), "--time", limit, "-o", str(output), "--offline", "--quiet"]
    subprocess.run([*HFKIT, "finetune", *folder.plain, *train], check=False)
    file = output.with_name(f"{output.name}{folder.sample.suffix}")
    answers = ["--test", str(folder.test), "--sample", str(folder.sample), "-o", str(file), "--offline", "--quiet"]
    subprocess.run([*HFKIT, "submission", str(output), *answers], check=False)
    return file, time.monotonic() - begun


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--time", default="10m")
    parser.add_argument("--rows", type=int, default=3000)
    parser.add_argument("--test-rows", type=int, default=800)
    parser.add_argument("--only", nargs="+", choices=list(KINDS), default=list(KINDS))
    parser.add_argument("--half", action="store_true")
    parser.add_argument("--kill", action="store_true")
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--output", type=Path, help="keep everything here")
    given = parser.parse_args()
    seconds = parse_time(given.time)
    place = given.output or Path(tempfile.mkdtemp(prefix="compete-"))
    lines = []
    for name in given.only:
        (place / name).mkdir(parents=True, exist_ok=True)
        folder = KINDS[name](given.data, place / name, given.rows, given.test_rows)
        file = f"submission{folder.sample.suffix}"
        took = compete(folder, place / name / "whole", given.time)
        said = submitted(folder, place / name / "whole" / file)
        other, plain_took = plain(folder, place / name / "plain", given.time)
        line = [name, folder.metric, "yes" if said else "NO", shown(score(folder, said)), f"{took:.0f}"]
        line += [shown(score(folder, submitted(folder, other))), f"{plain_took:.0f}"]
        if given.half:
            took = compete(folder, place / name / "half", f"{seconds / 2:.0f}s")
            line += [f"{shown(score(folder, submitted(folder, place / name / 'half' / file)))}, {took:.0f} s"]
        if given.kill:
            first = compete(folder, place / name / "killed", given.time, kill=seconds / 3)
            between = submitted(folder, place / name / "killed" / file)
            took = first + compete(folder, place / name / "killed", given.time, "--resume")
            after = submitted(folder, place / name / "killed" / file)
            line += [f"{shown(score(folder, between))}, then {shown(score(folder, after))}, {took:.0f} s"]
        lines.append(line)
        sys.stderr.write("  ".join(line) + "\n")
    head = ["folder", "metric", "valid", "score", "seconds", "plain", "seconds"]
    head += [*(["half the time"] if given.half else []), *(["killed, continued"] if given.kill else [])]
    print("\n".join("| " + " | ".join(row) + " |" for row in [head, ["---"] * len(head), *lines]))
    print(f"files and logs: {place}", file=sys.stderr)


def shown(value: float | None) -> str:
    return "NOT VALID" if value is None else f"{value:.4f}" if value < 10 else f"{value:.2f}"


if __name__ == "__main__":
    main()
