"""What a mistake is, and the sound rows, files and commands that mistakes are made from."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

LABELS = ("entailment", "neutral", "contradiction")
Files = Mapping[str, str | bytes]


@dataclass(frozen=True)
class Case:
    """A command line, the files it meets, and what must come of it. {name} is a model, sound or damaged."""

    name: str
    command: str
    code: int
    says: str  # a pattern that stderr matches
    files: Files = field(default_factory=dict)
    environment: Mapping[str, str] = field(default_factory=dict)
    holds: Callable[[dict[str, Any]], bool] | None = None  # of the JSON of a command that works (code 0)


def jsonl(*rows: Any) -> str:
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


CONTEXT = "the small river runs behind the old mill"


def qa(number: int = 0, **changes: Any) -> dict[str, Any]:
    row = {"id": f"q{number}", "question": "who built the mill?", "context": CONTEXT + " the" * number}
    return row | {"answers": {"text": ["old mill"], "answer_start": [32]}} | changes


def nli(number: int = 0, label: Any = "neutral", **changes: Any) -> dict[str, Any]:
    return {"id": f"n{number}", "premise": CONTEXT + " the" * number, "hypothesis": "a boat", "label": label} | changes


def text(number: int = 0, label: Any = "good", **changes: Any) -> dict[str, Any]:
    return {"id": f"c{number}", "text": "the river" + " the" * number, "label": label} | changes


def without(row: dict[str, Any], *names: str) -> dict[str, Any]:
    return {name: value for name, value in row.items() if name not in names}


QAS = jsonl(*(qa(number) for number in range(12)))
NLIS = jsonl(*(nli(number, LABELS[number % 3]) for number in range(12)))
TEXTS = jsonl(*(text(number, ("good", "bad")[number % 2]) for number in range(12)))
GOOD = {"qa.jsonl": QAS, "nli.jsonl": NLIS, "text.jsonl": TEXTS}

SMALL = "qa.max_length=64 qa.stride=16 qa.max_question_length=16 train.max_steps=1"
LONG = "finetune qa --model {bert} --cpu --train qa.jsonl qa.max_length=64"
QA = f"finetune qa --model {{bert}} --cpu -o out {SMALL} --train"
NLI = "finetune nli --model {bert} --cpu -o out train.max_steps=1 --train"
CLASSIFY = "finetune classify --model {bert} --cpu -o out train.max_steps=1 --train"
EVAL = "eval {qa} --cpu --data"
PREDICT = "predict {qa} --cpu -o out.jsonl --data"
ASK = "--cpu question='who built the mill?' context='the old mill'"
ESCAPES = "\x1b[31m[bold red]\x1b]0;owned\x07\x9b2J"
