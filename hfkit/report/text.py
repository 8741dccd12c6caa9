"""Plain text: data made safe for a terminal, numbers, tables. Used by every view of report; knows no event."""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping, Sequence
from typing import Any

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
    """Rows under a head, columns two blanks apart; the last column may be long and is not padded."""
    lines = [list(head), *(list(row) for row in rows)]
    widths = [max(columns_of(line[i]) for line in lines) for i in range(len(head))]
    return "\n".join(
        "  ".join(cell + " " * (width - columns_of(cell)) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in lines
    )


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
