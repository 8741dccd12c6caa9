"""Plain text: data made safe for a terminal, numbers, tables. Used by every view of report; knows no event."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from hfkit.report.streams import columns_there

LEAST_ROOM = 24  # terminal columns in which the last column of a table can still be read
MARGIN = "    "  # before the lines on which a row goes on
_CONTROLS = {code: f"\\x{code:02x}" for code in (*range(0x20), *range(0x7F, 0xA0)) if code not in (0x09, 0x0A)}
_CONTROLS |= {code: f"\\u{code:04x}" for code in (*range(0x202A, 0x202F), *range(0x2066, 0x206A))}  # turn text around


def safe(text: object) -> str:
    """`text` with its C0, C1 and direction controls written out: data cannot steer a terminal. Newline and tab stay."""
    return str(text).translate(_CONTROLS)


def one_line(text: object, width: int = 400) -> str:
    """`safe` text on one line, cut to `width` characters."""
    flat = " ".join(safe(text).split())
    return flat if len(flat) <= width else flat[: width - 3] + "..."


def number(value: Any) -> str:
    """A number as people read it: integers with separators, floats to four digits."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return safe(value)
    if isinstance(value, int):
        return f"{value:,}"
    return f"{value:,.4g}" if abs(value) < 1e6 else f"{value:.4g}"


def score(value: Any) -> str:
    """A metric: two decimals where it is large (percent, perplexity), four where it is small."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return safe(value)
    return f"{value:,.2f}" if abs(value) >= 10 or value == 0 else f"{value:.4f}"


def duration(seconds: float) -> str:
    """Seconds as 12 s, 3 min 05 s, 2 h 07 min."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


def columns_of(text: str) -> int:
    """Terminal columns that `text` takes: two for wide characters, none for combining ones."""
    return sum(0 if unicodedata.combining(c) else 2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in text)


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Rows under a head, columns two blanks apart; the last column may be long and is not padded.

    On a terminal that is too narrow the last column is wrapped inside its own room, or, where little is left for it,
    each row goes on in lines of its own, set in. Elsewhere a row is a line.
    """
    lines = [list(head), *(list(row) for row in rows)]
    widths = [max(columns_of(line[i]) for line in lines) for i in range(len(head))]
    columns = columns_there()
    if columns is None or sum(widths) + 2 * len(widths) - 2 <= columns:
        return "\n".join(_line(line, widths) for line in lines)
    room = columns - sum(widths[:-1]) - 2 * len(widths) + 2
    if room >= LEAST_ROOM:
        blank = [""] * (len(widths) - 1)
        wrapped = ((line, wrapped_at(line[-1], room)) for line in lines)
        parts = ([[*line[:-1], texts[0]], *([*blank, text] for text in texts[1:])] for line, texts in wrapped)
        return "\n".join(_line(part, widths) for block in parts for part in block)
    return "\n".join(text for line in lines for text in _folded(line, widths, columns))


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    padded = (cell + " " * (width - columns_of(cell)) for cell, width in zip(cells, widths, strict=True))
    return "  ".join(padded).rstrip()


def _folded(cells: Sequence[str], widths: Sequence[int], columns: int) -> Iterator[str]:
    """The lines of one row, each as many cells as fit; of those behind the first, which are set in, no empty ones."""
    start, margin = 0, ""
    while start < len(cells):
        end, used = start + 1, len(margin) + widths[start]
        while end < len(cells) and used + 2 + widths[end] <= columns:
            used += 2 + widths[end]
            end += 1
        text = _line(cells[start:end], widths[start:end])
        if text or not margin:
            yield from (margin + part for part in wrapped_at(text, columns - len(margin)))
        start, margin = end, MARGIN


def wrapped_at(text: str, room: int) -> list[str]:
    """A text on lines of at most `room` terminal columns, broken between words, and inside one that is longer."""
    lines, line = [], ""
    for word in text.split(" "):
        if line and columns_of(f"{line} {word}") > room:
            lines.append(line)
            line = ""
        line = f"{line} {word}" if line else word
        while columns_of(line) > room:
            fits = next(size for size in range(len(line), 0, -1) if columns_of(line[:size]) <= room or size == 1)
            lines.append(line[:fits])
            line = line[fits:]
    return [*lines, line]


def scores_table(metrics: dict[str, Any], ci95: dict[str, Any], before: Mapping[str, Any] | None = None) -> str:
    """Metrics with their 95 % intervals where there are any; `before` holds metrics and ci95 from before training."""
    found = [("value", "95 % interval", metrics, ci95)]
    if before:
        found = [
            ("before", "95 % interval", before["metrics"], before.get("ci95") or {}),
            ("after", "95 % interval", metrics, ci95),
        ]
    head = ["metric"]
    rows = [[name] for name in metrics]
    for title, bounds_title, values, bounds in found:
        head.append(title)
        for row in rows:
            row.append(score(values[row[0]]) if row[0] in values else "")
        if any(name in bounds for name in metrics):
            head.append(bounds_title)
            for row in rows:
                low_high = bounds.get(row[0])
                row.append(f"{score(low_high[0])} to {score(low_high[1])}" if low_high else "")
    return table(head, rows)
