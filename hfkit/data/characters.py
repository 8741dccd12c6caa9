"""Characters that a wrong decoding leaves behind, or that no text has. Beside validators."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from hfkit.data.findings import Finding
from hfkit.data.validators import Tally

if TYPE_CHECKING:
    from hfkit.tasks.base import Row

# UTF-8 read as Latin-1 or Windows-1252: é becomes Ã©, ’ becomes â€™, a no-break space Â and one
_TWICE = re.compile(
    "\u00c3[\u0080-\u00bf\u0152-\u0178\u2018-\u203a]|\u00e2\u20ac[\u0090-\u00a6\u0152-\u0178\u2018-\u203a\u2122]"
)


def broken_characters(rows: Sequence[Row], columns: Sequence[str]) -> Iterator[Finding]:
    """Texts with U+FFFD, with UTF-8 decoded as something else, or with NUL and other control characters."""
    for column in columns:
        lost, twice, control = Tally(), Tally(), Tally()
        for row in rows:
            text = row.get(column)
            if not isinstance(text, str) or (text.isascii() and text.isprintable()):
                continue
            if "\ufffd" in text:
                lost.add(row)
            if _TWICE.search(text):
                twice.add(row)
            if any(char < " " and char not in "\t\n\r\f\v" for char in text):
                control.add(row)
        for tally, words in (
            (lost, f"{column} holds characters that were lost (U+FFFD)"),
            (twice, f"{column} was decoded wrongly (as in Ã© for é)"),
            (control, f"{column} holds control characters"),
        ):
            if tally.count:
                yield tally.finding("warning", "broken_characters", words)
