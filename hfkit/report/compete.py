"""The human view of a competition: what was tried, what each stage scored and gained, what was submitted."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hfkit.report.text import duration, number, one_line, safe, score, table


def compete_text(fields: Mapping[str, Any]) -> str:
    """A line for each stage, in the order of the work; below it where the submission is."""
    head = ["stage", safe(fields["metric"]), "95 % interval", "rows", "gain", "of", "time", "submitted"]
    rows = [_cells(stage) for stage in fields["stages"]]
    lines = ["\n" + table(head, rows)]
    if fields["left_out"]:
        left = [[safe(name), one_line(why, 100)] for name, why in fields["left_out"].items()]
        lines.append("\n" + table(["left out", "why"], left))
    lines.append(f"\nsubmission of {safe(fields['submitted']['stage'])}: {safe(fields['submission'])}")
    return "\n".join(lines)


def _cells(stage: Mapping[str, Any]) -> list[str]:
    scored = stage.get("score") is not None
    bounds = stage.get("ci95")
    gain = stage.get("trial") or stage.get("gain")
    return [
        safe(stage["name"]),
        score(stage["score"]) if scored else safe(stage["status"]),
        f"{score(bounds[0])} to {score(bounds[1])}" if bounds else "",
        number(stage["rows"]) if scored else "",
        *(_gain(gain) if gain else ["", ""]),
        duration(stage["seconds"]),
        "yes" if stage.get("taken") else "",
    ]


def _gain(gain: Mapping[str, Any]) -> list[str]:
    """Cells: the gain with its interval, and on what; the metric too, where it is not the competition's."""
    bounds = gain["ci95"]
    interval = f" ({bounds[0]:+.2f} to {bounds[1]:+.2f})" if bounds else ""
    of = f" {safe(gain['metric'])}" if gain.get("metric") else ""
    return [f"{gain['difference']:+.2f}{of}{interval}", safe(gain["against"])]
