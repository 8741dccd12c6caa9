"""What an expert would run for a text or pair classifier with plain Trainer: sst2, banking77, snli or ocnli.

  python tests/benchmarks/peers/trainer_classify.py snli --epochs 2 --lr 1e-4 --batch-size 32

Score: accuracy in percent on the set's evaluation file. snli is scored on hans and mnli too: the argmax over three
classes, then entailment or not (HANS readme, McCoy et al. 2019).
"""

import argparse
import csv
import json
import time
from dataclasses import dataclass
from pathlib import Path

from common import forward, load_model, load_tokenizer, parser, prepare, report, sample, train, write_predictions
from datasets import Dataset
from transformers import AutoModelForSequenceClassification

PAIR = ("sentence1", "sentence2")
NLI = ("entailment", "neutral", "contradiction")


@dataclass(frozen=True)
class File:
    path: str
    text: tuple[str, ...]
    label: str


@dataclass(frozen=True)
class Task:
    train: File
    tests: tuple[File, ...]
    max_length: int


TASKS = {
    "sst2": Task(
        File("sst2/train.tsv", ("sentence",), "label"), (File("sst2/dev.tsv", ("sentence",), "label"),), max_length=128
    ),
    "banking77": Task(
        File("banking77/train.csv", ("text",), "category"),
        (File("banking77/test.csv", ("text",), "category"),),
        max_length=128,
    ),
    "snli": Task(
        File("snli/train.jsonl", ("premise", "hypothesis"), "label"),
        (
            File("snli/validation.jsonl", ("premise", "hypothesis"), "label"),
            File("hans/eval.jsonl", PAIR, "gold_label"),
            File("mnli/dev_matched.jsonl", ("premise", "hypothesis"), "label"),
        ),
        max_length=128,
    ),
    "ocnli": Task(File("ocnli/train.jsonl", PAIR, "label"), (File("ocnli/dev.jsonl", PAIR, "label"),), max_length=128),
}


def read_rows(root: Path, file: File, limit: int | None) -> tuple[list[tuple[str, ...]], list[str]]:
    """(texts, labels) of the rows that have a label; "-", -1 and null mean none."""
    with open(root / file.path, encoding="utf-8", newline="") as f:
        if file.path.endswith(".jsonl"):
            records = [json.loads(line) for line in f]
        elif file.path.endswith(".tsv"):
            records = list(csv.DictReader(f, delimiter="\t", quoting=csv.QUOTE_NONE))
        else:
            records = list(csv.DictReader(f))
    records = sample([r for r in records if r[file.label] not in ("-", -1, None)], limit)
    texts = [tuple(r[name] for name in file.text) for r in records]
    return texts, [r[file.label] if isinstance(r[file.label], str) else NLI[r[file.label]] for r in records]


def encode(tokenizer, texts: list[tuple[str, ...]], max_length: int) -> list[dict]:
    columns = [list(column) for column in zip(*texts, strict=True)]
    encoded = tokenizer(*columns, truncation=True, max_length=max_length)
    return [{name: encoded[name][i] for name in encoded} for i in range(len(texts))]


def accuracy(gold: list[str], predicted: list[str]) -> float:
    return round(100 * sum(g == p for g, p in zip(gold, predicted, strict=True)) / len(gold), 3)


def two_way(label: str) -> str:
    return "entailment" if label == "entailment" else "non-entailment"


def scores(path: str, gold: list[str], predicted: list[str]) -> dict:
    """Accuracy under the file's name; two-way too (only, for hans) where the gold is of another set."""
    out = {}
    if not path.startswith("hans"):
        out[path] = accuracy(gold, predicted)
    if path.startswith(("hans", "mnli")):
        out[f"{path} 2-way"] = accuracy([two_way(g) for g in gold], [two_way(p) for p in predicted])
    return out


def main() -> None:
    p = parser(__doc__, epochs=2, batch_size=32, lr=1e-4)
    p.add_argument("task", choices=TASKS)
    a: argparse.Namespace = p.parse_args()
    prepare(a)
    task = TASKS[a.task]
    tokenizer = load_tokenizer(a.model)
    texts, labels = read_rows(a.data_dir, task.train, a.limit)
    names = sorted(set(labels))
    features = encode(tokenizer, texts, task.max_length)
    dataset = Dataset.from_list([f | {"labels": names.index(y)} for f, y in zip(features, labels, strict=True)])
    model = load_model(AutoModelForSequenceClassification, a.model, num_labels=len(names))
    trained = train(a, model, tokenizer, dataset)

    begin, found, rows = time.perf_counter(), {}, {}
    for file in task.tests:
        texts, gold = read_rows(a.data_dir, file, a.limit)
        predicted = [""] * len(texts)
        for indices, outputs in forward(a, model, tokenizer, encode(tokenizer, texts, task.max_length)):
            for i, k in zip(indices, outputs.logits.argmax(-1).tolist(), strict=True):
                predicted[i] = names[k]
        found |= scores(file.path, gold, predicted)
        rows[file.path] = len(gold)
        if file is task.tests[0]:
            write_predictions(a.predictions, {str(i): name for i, name in enumerate(predicted)})
    report(
        a,
        peer="Trainer classify",
        data=a.task,
        metric="accuracy",
        score=found[task.tests[0].path],
        scores=found,
        rows=len(labels),
        eval_rows=rows,
        **trained,
        eval_seconds=round(time.perf_counter() - begin, 1),
        settings={"max_length": task.max_length},
    )


if __name__ == "__main__":
    main()
