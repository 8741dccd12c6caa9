"""What must hold of QA rows before a model is loaded: texts that can be tokenised, answers that can be found."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from hfkit.errors import DataError
from hfkit.tasks.base import Row
from hfkit.tasks.qa.answers import locate

LARGEST_LOST_SHARE = 0.2


def check(rows: Sequence[Row], *, training: bool) -> list[str]:
    """Lines to tell the user. Raises DataError for texts that are no text and, to train, for answers that are lost."""
    if len(rows) == 0:
        raise DataError("there are no questions", "check the data's path and data.columns")
    for row in rows:
        _texts(row)
    return _answers(rows) if training else []


def _texts(row: Row) -> None:
    for column in ("question", "context"):
        text = row.get(column)
        if not isinstance(text, str):
            raise DataError(f"row '{row['id']}': {column} is not a text", "check data.columns")
        if any("\ud800" <= character <= "\udfff" for character in (() if text.isascii() else text)):
            raise DataError(f"row '{row['id']}': {column} holds half of a surrogate pair", "repair the file's escapes")
    if not row["question"].strip():
        raise DataError(f"row '{row['id']}': the question is empty", "leave the row out")


def _answers(rows: Sequence[Row]) -> list[str]:
    """Counts answers by how they were found, and questions that are left without any."""
    found: Counter[str] = Counter()
    answerable = lost = 0
    first_lost = ""
    for row in rows:
        answers = row.get("answers")
        if answers is None:
            raise DataError(f"row '{row['id']}' has no answers", "name their column: data.columns.answers=NAME")
        ways = [locate(row["context"], answer["text"], answer["start"])[1] for answer in answers]
        found.update(ways)
        answerable += bool(ways)
        if ways and all(way == "lost" for way in ways):
            first_lost = first_lost or row["id"]
            lost += 1
    if lost > LARGEST_LOST_SHARE * answerable:
        raise DataError(
            f"{lost} of {answerable} questions have no answer that stands in their context (first: row '{first_lost}')",
            "check that contexts are the ones the answers were taken from",
        )
    lines = []
    if found["moved"]:
        lines.append(f"{found['moved']} of {found.total()} answers stand elsewhere than at their start")
    if found["lost"]:
        lines.append(
            f"{found['lost']} of {found.total()} answers cannot be located and give no labels"
            f" ({lost} questions are left without one)"
        )
    return lines
