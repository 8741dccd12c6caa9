"""Tiny models with random weights, one for each task, as runs; rows in their few words; a verb run to its end."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
import tiny_models

from hfkit.events import Event

CLASSES = ("contradiction", "entailment", "neutral")  # not the order in which data number them
SENTENCES = (
    "the small river runs behind the old mill",
    "a boat on the river carries bread, salt and letters to the old town",
    "who built the mill? nobody knows who built it",
)


def classifier(folder: Path, names: Iterable[str], settings: dict[str, Any], task: str = "classify") -> None:
    labels = dict(enumerate(names))
    tiny_models.save(
        "bert", folder, "AutoModelForSequenceClassification",
        num_labels=len(labels), id2label=labels, label2id={name: number for number, name in labels.items()},
    )  # fmt: skip
    saved(folder, task, settings)


def saved(folder: Path, task: str, settings: dict[str, Any]) -> None:
    content = {"hfkit": "0", "task": task, "settings": settings}
    (folder / "hfkit.json").write_text(json.dumps(content), encoding="utf-8")


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A runs folder with the runs 1-qa, 2-nli, 3-two, 4-many, 5-one, 6-numbers, 7-lm, in the order of their age."""
    runs = tmp_path_factory.mktemp("runs")
    qa = {"max_length": 64, "stride": 16, "max_question_length": 16, "max_answer_length": 8}
    tiny_models.save("bert", runs / "1-qa" / "model", "AutoModelForQuestionAnswering")
    saved(runs / "1-qa" / "model", "qa", qa)
    classifier(
        runs / "2-nli" / "model", CLASSES, {"labels": {"0": "entailment", "1": "neutral", "2": "contradiction"}}, "nli"
    )
    classifier(runs / "3-two" / "model", ("0", "1"), {"target": "single", "labels": ["0", "1"]})
    classifier(runs / "4-many" / "model", ("new", "old", "wet"), {"target": "multi", "labels": ["new", "old", "wet"]})
    one = {"target": "regression", "labels": ["value"], "mean": [50.0], "std": [10.0]}
    classifier(runs / "5-one" / "model", ("value",), one)
    several = {"target": "regression", "labels": ["depth", "width"], "mean": [1.0, 2.0], "std": [1.0, 1.0]}
    classifier(runs / "6-numbers" / "model", ("depth", "width"), several)
    tiny_models.save("gpt2", runs / "7-lm" / "model", "AutoModelForCausalLM")
    saved(runs / "7-lm" / "model", "lm", {"block_size": 16, "stride": 8})
    return runs


@pytest.fixture
def runs(made: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Path]:
    """The runs, found by name; the working directory is empty. Evaluations written there are removed."""
    import shutil

    monkeypatch.setenv("HFKIT_RUNS", str(made))
    monkeypatch.chdir(tmp_path)
    yield made
    for folder in (*made.glob("*/eval"), *made.glob("eval-*")):
        shutil.rmtree(folder)


@pytest.fixture(scope="session")
def finish() -> Callable[[Iterable[Event]], tuple[dict[str, Any], list[Event]]]:
    """Run a verb to its end: (its result, all its events)."""

    def run(events: Iterable[Event]) -> tuple[dict[str, Any], list[Event]]:
        found = list(events)
        assert found[-1].kind == "result"
        return dict(found[-1].fields), found

    return run


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., Path]:
    """Write rows as JSON lines to a file of this name in the working directory."""

    def jsonl(name: str, rows: Iterable[dict[str, Any]]) -> Path:
        path = tmp_path / name
        path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
        return path

    return jsonl


@pytest.fixture
def questions() -> list[dict[str, Any]]:
    """qa rows with gold; the second context needs several windows."""
    answers = {"text": ["old mill"], "answer_start": [32]}
    long = " ".join(SENTENCES * 8)
    return [
        {"id": "b", "question": "who built the mill?", "context": SENTENCES[0], "answers": answers},
        {"id": "a", "question": "who built it?", "context": long, "answers": answers},
        {
            "id": "c",
            "question": "who?",
            "context": "the river 中 runs",
            "answers": {"text": ["river"], "answer_start": [4]},
        },
    ]


@pytest.fixture
def pairs() -> list[dict[str, Any]]:
    """nli rows with labels by number, one of them without gold."""
    rows = []
    for number, label in enumerate([0, 1, 2, 0, -1, 2]):
        premise = SENTENCES[number % 3] + " the" * number
        rows.append({"id": f"p{number}", "premise": premise, "hypothesis": "the mill stands still", "label": label})
    return rows


@pytest.fixture
def texts() -> list[dict[str, Any]]:
    """classify rows without gold."""
    return [{"id": f"t{number}", "text": SENTENCES[number % 3] + " mill" * number} for number in range(5)]
