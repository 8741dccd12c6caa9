"""Submissions without a model, within seconds: the sample itself, then what the training rows alone say is likely."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from hfkit.data.submission import Submission
from hfkit.data.submission.table import write_table
from hfkit.tasks.base import Prediction, Row, Task
from hfkit.tasks.labels import label_text
from hfkit.tasks.targets import decide, is_list, label_names, numbers_of, survey

SENTENCE = re.compile(r"[^.!?。！？]+[.!?。！？]*")
WORD = re.compile(r"\w+")


def write_sample(shape: Submission, path: Path) -> None:
    """The sample as it is: the first valid file, should everything else go wrong."""
    write_table(replace(shape.table, path=path), shape.check)


def prior(task: Task, rows: Sequence[Row], asked: Sequence[Row]) -> list[Prediction]:
    """A prediction for each row of `asked` from the gold of `rows` alone: shares of labels, means of numbers, and for
    qa a sentence, or no answer where most questions have none."""
    if task.name == "qa":
        none = sum(not row["answers"] for row in rows) > len(rows) / 2
        return [{"id": row["id"], "prediction": "" if none else likely_sentence(row)} for row in asked]
    if task.name == "nli":
        classes = Counter(name for row in rows if (name := task.settings.labels.get(label_text(row["label"]))))
        likely = _shares(classes, len(rows))
        return [_labelled(row, likely) for row in asked]
    found = survey(rows)
    target, _ = decide(found, task.settings.target)
    names = task.settings.labels or label_names(found, target)
    if target == "regression":
        return list(_means(rows, asked, names))
    if target == "single":
        return [_labelled(row, _shares(found.values, found.rows, names)) for row in asked]
    likely = _shares(_flags(rows, names), found.rows, names)
    chosen = [name for name, share in likely.items() if share > 0.5]
    return [{"id": row["id"], "prediction": chosen, "probabilities": likely} for row in asked]


def likely_sentence(row: Row) -> str:
    """The sentence of the context that has most of the question's words for its length."""
    words = set(WORD.findall(row["question"].lower()))
    sentences = [found.strip() for found in SENTENCE.findall(row["context"]) if found.strip()]

    def shared(text: str) -> tuple[float, int]:
        have = WORD.findall(text.lower())
        return (len(words & set(have)) / (8 + len(have)), -len(text))

    return max(sentences, key=shared, default="")


def _shares(counts: Mapping[str, int], rows: int, names: Sequence[str] | None = None) -> dict[str, float]:
    """The share of rows with each label; with one more row of each, so that no share is 0."""
    every = list(names) if names is not None else sorted(counts)
    return {name: (counts.get(name, 0) + 1) / (rows + len(every)) for name in every}


def _labelled(row: Row, likely: Mapping[str, float]) -> Prediction:
    return {"id": row["id"], "prediction": max(likely, key=lambda name: likely[name]), "probabilities": dict(likely)}


def _flags(rows: Sequence[Row], names: Sequence[str]) -> Counter[str]:
    """How many rows have each of several labels, which stand in lists or in columns of 0 and 1."""
    counts: Counter[str] = Counter()
    for row in rows:
        value = row["label"]
        if isinstance(value, Mapping):
            counts.update(name for name, flag in zip(names, numbers_of(value, names, row["id"]), strict=True) if flag)
        else:
            counts.update(label_text(each) for each in (value if is_list(value) else [value]))
    return counts


def _means(rows: Sequence[Row], asked: Sequence[Row], names: Sequence[str]) -> Iterator[Prediction]:
    """The mean of each number."""
    values: list[list[float]] = [numbers_of(row["label"], names, row["id"]) for row in rows]
    means = [sum(column) / len(values) for column in zip(*values, strict=True)]
    said: Any = dict(zip(names, means, strict=True)) if len(means) > 1 else means[0]
    return ({"id": row["id"], "prediction": said} for row in asked)
