"""Where gold answers stand in their context: pure functions on strings that encode and the task's checks share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

Placing = Literal["given", "moved", "lost"]


def locate(context: str, text: str, start: int | None) -> tuple[tuple[int, int] | None, Placing]:
    """The characters [start, end) of a gold text in its context, and how they were found.

    "given": at `start`. "moved": the text stands only once in the context, or `start` counts UTF-16 units or UTF-8
    bytes, as annotation tools in other languages do. "lost": empty, absent, or ambiguous; the span is None.
    """
    if not text.strip():
        return None, "lost"
    if start is not None and start >= 0 and context.startswith(text, start):
        return (start, start + len(text)), "given"
    first = context.find(text)
    if first < 0:
        return None, "lost"
    if context.find(text, first + 1) < 0:
        return (first, first + len(text)), "moved"
    for encoding, width in (("utf-16-le", 2), ("utf-8", 1)):
        found = _in_units(context, text, start, encoding, width)
        if found is not None:
            return (found, found + len(text)), "moved"
    return None, "lost"


def first_usable(context: str, answers: Sequence[Mapping[str, Any]]) -> tuple[int, int] | None:
    """The span of the first answer that can be located, without white space at its ends; None when there is none."""
    for answer in answers:
        span, _ = locate(context, answer["text"], answer["start"])
        if span is not None:
            return trimmed(context, *span)
    return None


def trimmed(context: str, start: int, end: int) -> tuple[int, int]:
    """The span [start, end) without the white space at its ends; an empty span when it holds nothing else."""
    text = context[start:end]
    inner = text.strip()
    left = start + len(text) - len(text.lstrip())
    return left, left + len(inner)


def _in_units(context: str, text: str, start: int | None, encoding: str, width: int) -> int | None:
    """The code point of an offset counted in units of `width` bytes of `encoding`, if `text` stands there."""
    if start is None or start <= 0 or context.isascii():
        return None
    try:
        point = len(context.encode(encoding, "surrogatepass")[: start * width].decode(encoding))
    except UnicodeDecodeError:
        return None
    return point if context.startswith(text, point) else None
