"""Characters as people see them: which code points belong together. For answers of qa and for streamed text."""

from __future__ import annotations

import unicodedata

_JOINER = "\u200d"
_FIRST_MARK = "\u0300"  # no combining mark comes before it
_FLAGS = ("\U0001f1e6", "\U0001f1ff")  # two regional letters are one flag
_PARTS = (  # never the first of a character: joiner, vowels and finals of Korean syllables, skin tones, tags
    ("\u200d", "\u200d"), ("\u1160", "\u11ff"), ("\U0001f3fb", "\U0001f3ff"), ("\U000e0020", "\U000e007f"),
)  # fmt: skip


def whole(context: str, start: int, end: int) -> tuple[int, int]:
    """The span [start, end) widened to whole characters as people see them: no accent, flag or family is cut apart.

    A simple form of Unicode's grapheme clusters (UAX 29): marks, joiners, skin tones, flags, tags, Korean syllables.
    """
    while 0 < start < len(context) and goes_on(context, start) and not context[start - 1].isspace():
        start -= 1
    while 0 < end < len(context) and goes_on(context, end):
        end += 1
    return start, end


def goes_on(context: str, place: int) -> bool:
    """Whether the code point at `place` belongs to the character before it."""
    char, before = context[place], context[place - 1]
    if before == _JOINER:
        return True
    if char < _FIRST_MARK:
        return False
    if _FLAGS[0] <= char <= _FLAGS[1]:
        first = place
        while first > max(0, place - 100) and _FLAGS[0] <= context[first - 1] <= _FLAGS[1]:
            first -= 1
        return (place - first) % 2 == 1
    inside = any(low <= char <= high for low, high in _PARTS)
    return inside or unicodedata.category(char)[0] == "M"
