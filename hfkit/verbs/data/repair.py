"""`hfkit data check --fix`: rows without their faults, and a list of what was done to each; nothing is made up."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from hfkit.data.repeats import equal_rows
from hfkit.errors import DataError, UsageError
from hfkit.files import atomic_write, json_line
from hfkit.tasks.base import Row, Task
from hfkit.tasks.qa.answers import locate
from hfkit.verbs.data.reading import encodable, text_columns

if TYPE_CHECKING:
    from hfkit.data.rows import Rows

Action = Literal["changed", "left out"]
# findings that repairing does something about
REPAIRED = (
    "null_text", "not_text", "empty_text", "lone_surrogate", "no_answers", "answers_not_located", "answers_lost",
    "no_label", "no_gold", "unknown_labels", "repeated_rows", "contradictory_rows", "overlap", "duplicate_ids",
    "unreadable_rows",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Change:
    """What was done to one row: its number from 0 (-1: it could not be read), its id or place as it was, and why."""

    row: int
    id: str
    action: Action
    code: str
    what: str


def check_target(path: Path) -> None:
    """Raise UsageError for a file that is there, or whose form is not written."""
    if path.suffix not in (".jsonl", ".json"):
        raise UsageError(
            f"{path}: repaired rows are written as .jsonl or .json", "choose a name such as repaired.jsonl"
        )
    if path.exists() or log_of(path).exists():
        raise UsageError(f"{path if path.exists() else log_of(path)} is there already", "choose another name for --fix")


def log_of(path: Path) -> Path:
    """The file that says what was done to each row, beside the repaired rows."""
    return path.with_name(f"{path.stem}.changes.jsonl")


def repaired(task: Task, rows: Rows, other: Rows | None) -> tuple[list[dict[str, Any]], list[Change]]:
    """(rows to keep, by the task's column names; what was done to the others).

    Left out are rows without text or gold, with a label of unknown meaning or answers that cannot be found, rows that
    repeat an earlier one, contradict another, or stand in the validation data `other`. Changed are numbers where text
    belongs, offsets of answers that stand elsewhere, and ids that were given before.
    """
    texts = text_columns(task, rows)
    gold = next((c.name for c in task.columns if c.gold and c.name in rows.mapping), None)
    again, against = equal_rows(rows, texts, gold)
    known = {_key(row, texts) for row in other} if other is not None else set()
    kept: list[dict[str, Any]] = []
    changes: list[Change] = []
    seen: Counter[str] = Counter()
    repeated, contradictory = set(again), set(against)
    for number, row in enumerate(rows):
        new = dict(row)
        done = _texts(new, texts)
        if gold and not _lost(done):
            done += _gold(task, new, gold)
        if number in contradictory:
            done = [("left out", "contradictory_rows", f"a row with the same texts disagrees by {gold}")]
        elif number in repeated:
            done = [("left out", "repeated_rows", "an earlier row says the same")]
        elif _key(row, texts) in known:
            done = [("left out", "overlap", "it stands in the validation data too")]
        done = _lost(done)[:1] or [*done, *_id(new, seen)]
        if not _lost(done):
            kept.append(_plain(new))
        changes += [Change(number, row["id"], *step) for step in done]
    changes += [Change(-1, item["at"], "left out", "unreadable_rows", item["problem"]) for item in rows.rejected]
    return kept, changes


def write_repaired(path: Path, kept: Sequence[Mapping[str, Any]], changes: Sequence[Change]) -> dict[str, Any]:
    """Write the rows and, beside them, a line for each change; returns what JSON says of it."""
    with atomic_write(path) as handle:
        if path.suffix == ".json":
            handle.write(json.dumps(kept, ensure_ascii=False, indent=1, default=str) + "\n")
        else:
            handle.writelines(json.dumps(row, ensure_ascii=False, default=str) + "\n" for row in kept)
    with atomic_write(log_of(path)) as handle:
        handle.writelines(json_line(asdict(change)) for change in changes)
    done = Counter(f"{change.action}: {change.code}" for change in changes)
    return {
        "file": str(path),
        "changes": str(log_of(path)),
        "rows": len(kept),
        "changed": len({change.row for change in changes if change.action == "changed"}),
        "left_out": len([change for change in changes if change.action == "left out"]),
        "what": dict(done.most_common()),
    }


Step = tuple[Action, str, str]


def _lost(done: Sequence[Step]) -> list[Step]:
    """The steps that leave a row out."""
    return [step for step in done if step[0] == "left out"]


def _key(row: Row, texts: Sequence[str]) -> tuple[str, ...]:
    return tuple(str(row.get(name)) for name in texts)


def _texts(row: dict[str, Any], texts: Sequence[str]) -> list[Step]:
    """Texts that are none make the row unusable, but for numbers, which are written out."""
    done: list[Step] = []
    for name in texts:
        value = row.get(name)
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            row[name] = value = str(value)
            done.append(("changed", "not_text", f"{name}: the number {value} is text now"))
        if value is None:
            return [("left out", "null_text", f"{name} is null")]
        if not isinstance(value, str):
            return [("left out", "not_text", f"{name} is a {type(value).__name__}, not text")]
        if not value.strip():
            return [("left out", "empty_text", f"{name} is empty")]
        if not encodable(value):
            return [("left out", "lone_surrogate", f"{name} holds half of a surrogate pair")]
    return done


def _gold(task: Task, row: dict[str, Any], gold: str) -> list[Step]:
    if gold == "answers":
        return _answers(row)
    try:
        if task.usable(row):
            return []
    except DataError:
        return [("left out", "unknown_labels", f"the meaning of label {row.get(gold)!r} is not known")]
    return [("left out", "no_gold", f"the label {row.get(gold)!r} says no class")]


def _answers(row: dict[str, Any]) -> list[Step]:
    """Answers at their places; those that stand nowhere are taken out, and the row with its last one."""
    answers = row.get("answers")
    if answers is None:
        return [("left out", "no_answers", "it has no answers")]
    done: list[Step] = []
    kept = []
    for answer in answers:
        text, start = answer["text"], answer["start"]
        span = locate(row["context"], text, start)
        if span is None:
            done.append(("changed", "answers_lost", f"the answer {text!r} at {start} is not in the context: taken out"))
            continue
        if span[0] != start:
            done.append(("changed", "answers_not_located", f"the answer {text!r} starts at {span[0]}, not at {start}"))
        kept.append({"text": text, "start": span[0]})
    row["answers"] = kept
    if answers and not kept:
        return [("left out", "answers_lost", "none of its answers is in the context")]
    return done


def _id(row: dict[str, Any], seen: Counter[str]) -> list[Step]:
    """An id that was given before gets the first free number behind it."""
    name = row["id"]
    seen[name] += 1
    if seen[name] == 1:
        return []
    number = seen[name]
    while f"{name}-{number}" in seen:
        number += 1
    row["id"] = f"{name}-{number}"
    seen[row["id"]] += 1
    return [("changed", "duplicate_ids", f"the id was given before: {row['id']} now")]


def _plain(row: Row) -> dict[str, Any]:
    """A row as a file holds it: answers in the form of the Hub's SQuAD, several label columns as columns."""
    plain = dict(row)
    if isinstance(plain.get("answers"), list):
        answers = plain["answers"]
        plain["answers"] = {"text": [a["text"] for a in answers], "answer_start": [a["start"] for a in answers]}
    if isinstance(plain.get("label"), Mapping):
        plain |= plain.pop("label")
    return plain
