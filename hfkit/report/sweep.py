"""The human view of a sweep: every trial with a bar for its score, and what of the gain is noise."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from hfkit.report.text import duration, one_line, safe, score, table

BAR = 24  # characters of the best score


def sweep_text(fields: Mapping[str, Any]) -> str:
    """The table, the best first; a bar's length says where a score lies between the worst and the best."""
    trials, metric = fields["trials"], fields["metric"]
    keys = list(trials[0]["values"])
    scores = [trial["score"] for trial in trials if trial["score"] is not None]
    head = ["trial", *map(safe, keys), safe(metric), "95 % interval", "", "time"]
    rows = [
        [
            str(trial["number"]),
            *(one_line(trial["values"].get(key, ""), 24) for key in keys),
            score(trial["score"]) if trial["score"] is not None else safe(trial["state"]),
            _interval(trial["ci95"]),
            bar(trial["score"], scores),
            duration(trial["seconds"]) if trial["seconds"] is not None else "",
        ]
        for trial in trials
    ]
    failed = [f"trial {trial['number']}: {one_line(trial['error'], 200)}" for trial in trials if trial["error"]]
    parts = [
        table(head, rows),
        *(["\n".join(failed)] if failed else []),
        f"winner: trial {fields['best']['number']}, {safe(fields['winner'])}",
    ]
    noise = fields["noise"]
    if noise:
        sides = [
            [name, f"{score(side['mean'])} ± {side['spread']:.2g}", ", ".join(map(score, side["each"]))]
            for name, side in ((name, noise[name]) for name in ("winner", "default"))
        ]
        parts += [table(["new seeds", f"mean {safe(metric)}", "each"], sides), safe(noise["sentence"])]
    return "\n\n".join(parts)


def bar(value: float | None, scores: Sequence[float]) -> str:
    """One mark for the worst score, BAR for the best; where less is better the list is the other way round."""
    if value is None:
        return ""
    best, worst = scores[0], scores[-1]
    share = 1.0 if best == worst else (value - worst) / (best - worst)
    return "#" * max(1, round(share * BAR))


def _interval(bounds: Sequence[float] | None) -> str:
    return f"{score(bounds[0])} to {score(bounds[1])}" if bounds else ""
