"""The plot of a sweep: an SVG with a panel for each key, a dot for each trial, the winner's filled."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from math import log10
from typing import Any

from hfkit.verbs.sweep.space import Axis

WIDTH, HEIGHT, MARGIN = 260, 200, 46  # of a panel, in pixels


def svg(axes: Sequence[Axis], trials: Sequence[Mapping[str, Any]], metric: str, winner: int) -> str:
    """The whole file. `trials` have `number`, `values` and `score`."""
    scores = [trial["score"] for trial in trials]
    low, high = min(scores), max(scores)
    panels = "".join(
        f'<g transform="translate({WIDTH * place},0)">{panel(axis, trials, low, high, winner)}</g>'
        for place, axis in enumerate(axes)
    )
    size = f'width="{WIDTH * len(axes)}" height="{HEIGHT + 24}"'
    title = f'<text x="8" y="{HEIGHT + 18}">{escape(metric)}; the filled dot is the winner, trial {winner}</text>'
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" {size} font-family="sans-serif" font-size="10">'
        f'<rect width="100%" height="100%" fill="white"/>{panels}{title}</svg>\n'
    )


def panel(axis: Axis, trials: Sequence[Mapping[str, Any]], low: float, high: float, winner: int) -> str:
    """One key: its values to the right, the metric upwards."""
    places = [place_of(axis, str(trial["values"][axis.key])) for trial in trials]
    dots = "".join(
        dot(x, (trial["score"] - low) / ((high - low) or 1), f"trial {trial['number']}: {trial['score']:.4g}",
            filled=trial["number"] == winner)
        for x, trial in zip(places, trials, strict=True)
    )  # fmt: skip
    left, bottom, top = MARGIN, HEIGHT - MARGIN, 24
    frame = f'<path d="M{left} {top}V{bottom}H{WIDTH - 12}" fill="none" stroke="gray"/>'
    ends = f'<text x="4" y="{bottom}">{low:.4g}</text><text x="4" y="{top + 8}">{high:.4g}</text>'
    return f'<text x="{left}" y="14">{escape(axis.key)}</text>{frame}{ends}{ticks(axis, bottom)}{dots}'


def place_of(axis: Axis, value: str) -> float:
    """Where a value stands, 0 to 1: listed ones evenly, numbers by size."""
    if axis.values:
        return axis.values.index(value) / max(1, len(axis.values) - 1)
    scale = log10 if axis.log else float
    return (scale(float(value)) - scale(axis.low)) / (scale(axis.high) - scale(axis.low))


def ticks(axis: Axis, bottom: int) -> str:
    """The values under a panel: listed ones, or the ends of a range."""
    shown = axis.values if 0 < len(axis.values) <= 6 else (f"{axis.low:g}", f"{axis.high:g}")
    if axis.values and len(axis.values) > 6:
        shown = (axis.values[0], axis.values[-1])
    names = {place_of(axis, text): text for text in shown}
    return "".join(
        f'<text x="{across(x):.0f}" y="{bottom + 14}" text-anchor="middle">{escape(text[:14])}</text>'
        for x, text in names.items()
    )


def across(x: float) -> float:
    """Pixels from a panel's left end."""
    return MARGIN + 10 + x * (WIDTH - MARGIN - 36)


def dot(x: float, y: float, words: str, *, filled: bool) -> str:
    """A trial; its words show when pointed at."""
    down = HEIGHT - MARGIN - 6 - y * (HEIGHT - MARGIN - 40)
    fill = "black" if filled else "none"
    circle = f'<circle cx="{across(x):.1f}" cy="{down:.1f}" r="4" fill="{fill}" stroke="black">'
    return f"{circle}<title>{escape(words)}</title></circle>"
