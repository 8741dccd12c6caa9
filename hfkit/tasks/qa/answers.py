"""Where gold answers stand in their context: pure functions on strings that encode and the task's checks share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any


def locate(context: str, text: str, start: int | None) -> tuple[int, int] | None:
    """The characters [start, end) of a gold text in its context; None when it is blank, absent or ambiguous.

    Tried in turn: `start` as code points; a text that stands only once; `start` as UTF-16 units or as UTF-8 bytes, as
    annotation tools in other languages count.
    """
    if not text.strip():
        return None
    found: int | None = start
    if start is None or start < 0 or not context.startswith(text, start):
        found = context.find(text)
        if found < 0:
            return None
        if context.find(text, found + 1) >= 0:
            found = _in_units(context, text, start)
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


def _in_units(context: str, text: str, start: int | None) -> int | None:
    """The code point of an offset counted in UTF-16 units or UTF-8 bytes, if `text` stands there."""
    if start is None or start <= 0 or context.isascii():
        return None
    for encoding, width in (("utf-16-le", 2), ("utf-8", 1)):
        try:
            point = len(context.encode(encoding)[: start * width].decode(encoding))
        except UnicodeError:
            continue
        if context.startswith(text, point):
            return point
    return None
