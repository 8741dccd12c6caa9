"""Where gold answers stand in their context: pure functions on strings that encode and the task's checks share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from hfkit.data.validators import locate_answer


def locate(context: str, text: str, start: int | None) -> tuple[int, int] | None:
    """The characters [start, end) of a gold text in its context; None when it is blank, absent or ambiguous.

    `hfkit.data.validators.locate_answer` says what is tried.
    """
    if not text.strip():
        return None
    _, found = locate_answer(context, text, start)
    return None if found is None else (found, found + len(text))


def first_usable(context: str, answers: Sequence[Mapping[str, Any]]) -> tuple[int, int] | None:
    """The span of the first answer that can be located, without white space at its ends; None when there is none."""
    for answer in answers:
        span = locate(context, answer["text"], answer["start"])
        if span is not None:
            return trimmed(context, *span)
    return None


def trimmed(context: str, start: int, end: int) -> tuple[int, int]:
    """The span [start, end) without the white space at its ends; an empty span when it holds nothing else."""
    text = context[start:end]
    inner = text.strip()
    left = start + len(text) - len(text.lstrip())
    return left, left + len(inner)
