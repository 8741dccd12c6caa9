"""1,000 sound rows of a task in the words of the tiny models, and the same with faults of every kind planted."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from typing import Any

Row = dict[str, Any]
TEXT = "the small river runs behind old mill and stands still who built nobody knows it does not say a boat on"
WORDS = [*TEXT.split(), *["carries", "bread", "salt", "letters", "to", "town"]]
GERMAN = "der fluss ist nicht still und das boot ist alt und die stadt"
ROWS = 1000


def words(draw: random.Random, count: int) -> str:
    return " ".join(draw.choice(WORDS) for _ in range(count))


def gold(text: str, start: int) -> Row:
    return {"text": [text], "answer_start": [start]}


def question(draw: random.Random, number: int) -> Row:
    context = words(draw, 24)
    parts = context.split()
    place = draw.randrange(20)
    start = len(" ".join(parts[:place])) + (place > 0)
    text = " ".join(parts[place : place + 3])
    return {"id": f"q{number}", "question": f"who {words(draw, 5)}?", "context": context, "answers": gold(text, start)}


def pair(draw: random.Random, number: int) -> Row:
    label = ("entailment", "neutral", "contradiction")[number % 3]
    return {"id": f"p{number}", "premise": words(draw, 14), "hypothesis": words(draw, 8), "label": label}


def sound(task: str, *, seed: int = 1) -> list[Row]:
    draw = random.Random(seed)
    return [(question if task == "qa" else pair)(draw, number) for number in range(ROWS)]


def jsonl(rows: list[Any]) -> str:
    """Rows as lines; a text stands as it is, for lines that are no JSON."""
    lines = (row if isinstance(row, str) else json.dumps(row, ensure_ascii=False) for row in rows)
    return "".join(line + "\n" for line in lines)


def planting(rows: list[Any]) -> Callable[..., list[Row]]:
    """A function that changes so many of the rows, each every tenth row that no earlier call took."""
    places = iter(range(10, ROWS, 10))

    def plant(count: int, **changes: Any) -> list[Row]:
        chosen = [rows[next(places)] for _ in range(count)]
        for row in chosen:
            row.update(changes)
        return chosen

    return plant


def faulty_questions() -> tuple[list[Any], list[Row], dict[str, int]]:
    """(lines of the file, validation rows, what must be found: code -> count)."""
    rows: list[Any] = sound("qa")
    plant = planting(rows)

    plant(4, question=None)
    plant(5, question=" \n")
    plant(2, context=17)
    plant(3, answers=None)
    for row in plant(4):
        row["id"] = "q1"
    for number, row in enumerate(plant(6)):
        row.update({**rows[number * 10 + 1], "id": row["id"]})
    for number, row in enumerate(plant(5)):
        other = rows[number * 10 + 2]
        row.update({**other, "id": row["id"], "context": f"town {other['context']}"})
        rows[number * 10 + 2]["context"] = row["context"]
        row["answers"], other["answers"] = gold("town", 0), {"text": [], "answer_start": []}
    for row in plant(7):  # the text stands once, at another place
        row["context"], row["answers"] = row["context"] + " elsewhere", gold("elsewhere", 3)
    for row in plant(6):  # offsets of a JavaScript tool
        row["context"] = f"\U0001f600\U0001f600 the end {row['context']}"
        row["answers"] = gold("the end", 5)
    for row in plant(5):  # offsets of a tool that counts bytes
        row["context"] = f"mühle mühle the end {row['context']}"
        row["answers"] = gold("the end", 14)
    for row in plant(8):
        row["answers"] = gold("a castle", 2)
    for row in plant(3):  # as long as a window, so that none holds it
        long = words(random.Random(row["id"]), 100)
        row["context"], row["answers"] = long, gold(long[:400].rsplit(" ", 1)[0], 0)
    for row in plant(4):
        row.update(context="xqz zqx " * 8 + "the end", answers=gold("the end", 64))
    for row in plant(9):
        row.update(context=f"{GERMAN} {row['id']}", answers=gold("boot", GERMAN.index("boot")))
    for row in plant(5):
        row["question"] += " \ufffd"
    validation = sound("qa", seed=2)[:100]
    for row, copy in zip(validation, plant(7), strict=False):
        row.update({**copy, "id": row["id"]})
    shared = rows[3]["context"]
    validation[50].update(context=shared, answers=rows[3]["answers"])
    for number in (400, 600, 800):
        rows[number + 5] = '{"id": "broken'
    found = {
        "unreadable_rows": 3, "null_text": 4, "empty_text": 5, "not_text": 2, "no_answers": 3, "duplicate_ids": 4,
        "repeated_rows": 6, "contradictory_rows": 10, "answers_not_located": 7 + 6 + 5 + 8, "answers_lost": 8,
        "answers_cut": 3, "unknown_tokens": 4, "language_mix": 9, "broken_characters": 5, "overlap": 7,
        "shared_groups": 8,
    }  # fmt: skip
    return rows, validation, found


def faulty_pairs() -> tuple[list[Any], list[Row], dict[str, int]]:
    """As `faulty_questions`, of premises and hypotheses."""
    rows: list[Any] = sound("nli")
    plant = planting(rows)

    plant(4, premise=None)
    plant(5, hypothesis="")
    plant(2, hypothesis=["a", "list"])
    plant(6, label="perhaps")
    for row in plant(4):
        row["id"] = "p1"
    for number, row in enumerate(plant(6)):
        row.update({**rows[number * 10 + 1], "id": row["id"]})
    for number, row in enumerate(plant(5)):
        other = rows[number * 10 + 2]
        row.update({**other, "id": row["id"], "label": "neutral"})
        other["label"] = "entailment"
    for row in plant(3):
        row["premise"] = words(random.Random(row["id"]), 140)
    plant_unknown = plant(4)
    for row in plant_unknown:
        row["hypothesis"] = "xqz " * 12 + row["id"][1:]
    for row in plant(9):
        row["hypothesis"] = f"{GERMAN} {row['id']}"
    for row in plant(5):
        row["premise"] = "the mill\u00e2\u20ac\u2122s " + row["premise"]
    validation = sound("nli", seed=2)[:100]
    for row, copy in zip(validation, plant(7), strict=False):
        row.update({**copy, "id": row["id"]})
    validation[50]["premise"] = rows[3]["premise"]
    for number in (400, 600, 800):
        rows[number + 5] = '{"id": "broken"'
    found = {
        "unreadable_rows": 3, "null_text": 4, "empty_text": 5, "not_text": 2, "unknown_labels": 6, "duplicate_ids": 4,
        "repeated_rows": 6, "contradictory_rows": 10, "too_long": 3, "unknown_tokens": 4, "language_mix": 9,
        "broken_characters": 5, "overlap": 7, "shared_groups": 8,
    }  # fmt: skip
    return rows, validation, found
