"""The human view of runs: the leaderboard, one run, two beside each other, notes, what a repetition gave."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from hfkit.report.analysis import comparison_text
from hfkit.report.text import duration, number, one_line, safe, score, table

HIDDEN = ("evaluations", "facts", "scored", "path", "headline", "notes")  # shown otherwise, or with --json alone
HEX = 4  # digits of a data fingerprint, as in the names of evaluations


def runs_text(fields: Mapping[str, Any]) -> str:
    """The runs of a list; with `agreement`, their scores beside those of a competition."""
    runs = fields["runs"]
    noted = "agreement" in fields
    if not runs:
        return "no run here has a note yet" if noted else "no runs here yet"
    if noted:
        head = ["run", "metric", "score", "95 % interval", "public", "private", "note"]
        return table(head, [[safe(run["name"]), *scored(run), *board(run)] for run in runs])
    head = ["run", "status", "task", "model", "parameters", "metric", "score", "95 % interval", "time", "data"]
    return table(head, [[*described(run), *scored(run), *cost(run)] for run in runs])


def described(run: Mapping[str, Any]) -> list[str]:
    """Cells: run, status, task, model, parameters."""
    words = [safe(run.get(key) or "") for key in ("name", "status", "task", "model")]
    return [*words, millions(run.get("parameters"))]


def scored(run: Mapping[str, Any]) -> list[str]:
    """Cells: metric, score, interval."""
    found = run.get("headline")
    if not found:
        return ["", "", ""]
    bounds = found.get("ci95")
    return [
        safe(found["metric"]),
        score(found["value"]),
        f"{score(bounds[0])} to {score(bounds[1])}" if bounds else "",
    ]


def cost(run: Mapping[str, Any]) -> list[str]:
    """Cells: time, and the first digits of the training and validation data's fingerprints."""
    data = run.get("data") or {}
    digits = "/".join(data[name][:HEX] for name in ("train", "validation") if name in data)
    return [duration(run["seconds"]) if run.get("seconds") is not None else "", digits]


def board(run: Mapping[str, Any]) -> list[str]:
    """Cells: what a leaderboard said, and the newest text."""
    texts = [item["text"] for item in run["notes"] if item.get("text")]
    scores = [score(run[key]) if run[key] is not None else "" for key in ("public", "private")]
    return [*scores, one_line(texts[-1], 60) if texts else ""]


def millions(count: int | None) -> str:
    """A number of parameters: 22.7 M, or all digits of a small one."""
    if count is None:
        return ""
    return f"{count / 1e6:.1f} M" if count >= 1e6 else number(count)


def metrics_line(metrics: Mapping[str, Any] | None) -> str:
    """The first two metrics on one line."""
    return "  ".join(f"{name} {score(value)}" for name, value in list((metrics or {}).items())[:2])


def run_text(run: Mapping[str, Any]) -> str:
    """One run, fact by fact."""
    rows = [(name, value) for name, value in run.items() if value not in (None, {}, [], "") and name not in HIDDEN]
    width = max((len(name) for name, _ in rows), default=0)
    lines = [f"{name:<{width}}  {one_line(fact(value), 160)}" for name, value in rows]
    for found in run.get("evaluations") or []:
        lines.append(f"{'eval':<{width}}  {safe(found['name'])}: {metrics_line(found['metrics'])}")
    lines += [f"{'note':<{width}}  {line}" for line in map(note_line, run.get("notes") or [])]
    return "\n".join(lines)


def fact(value: Any) -> str:
    """A value of run.json on one line."""
    if isinstance(value, Mapping):
        return ", ".join(
            f"{name} {score(part) if isinstance(part, float) else fact(part)}" for name, part in value.items()
        )
    if isinstance(value, (list, tuple)):
        return ", ".join(fact(part) for part in value)
    return str(value)


def notes_text(notes: Sequence[Mapping[str, Any]]) -> str:
    """One line a note, oldest first."""
    return "\n".join(map(note_line, notes))


def note_line(item: Mapping[str, Any]) -> str:
    """When, the scores, the text."""
    when = time.strftime("%Y-%m-%d %H:%M", time.localtime(item["time"])) if "time" in item else ""
    scores = [f"{key} {score(item[key])}" for key in ("public", "private") if item.get(key) is not None]
    return "  ".join(part for part in (when, *scores, one_line(item.get("text") or "", 200)) if part)


def diff_text(fields: Mapping[str, Any]) -> str:
    """What differs, part by part; then the scores, and what `compare` says of the evaluations both have."""
    return "\n\n".join(_diff_parts(fields))


def _diff_parts(fields: Mapping[str, Any]) -> Iterator[str]:
    yield f"a  {safe(fields['a']['name'])}\nb  {safe(fields['b']['name'])}"
    parts = ("recipe", "resolved", "versions", "facts", "data")
    rows = [[part, safe(key), *map(_value, pair)] for part in parts for key, pair in fields[part].items()]
    yield table(["part", "key", "a", "b"], rows) if rows else "recipe, versions and data are equal"
    if fields["metrics"]:
        yield "best checkpoints\n" + beside_text(fields["metrics"])
    for name, found in fields["evaluations"].items():
        text = comparison_text(found) if "verdict" in found else slices_text(found["slices"])
        yield f"evaluation {safe(name)}\n{text}"


def _value(value: Any) -> str:
    return "" if value is None else one_line(fact(value), 60)


def beside_text(metrics: Mapping[str, Mapping[str, Any]]) -> str:
    """Each metric of both sides, and b - a."""
    rows = [
        [safe(name), *(score(pair[key]) if pair[key] is not None else "" for key in ("a", "b")), _signed(pair)]
        for name, pair in metrics.items()
    ]
    return table(["metric", "a", "b", "b - a"], rows)


def _signed(pair: Mapping[str, Any]) -> str:
    return "" if pair["difference"] is None else f"{pair['difference']:+.4f}"


def slices_text(slices: Mapping[str, Mapping[str, Any]]) -> str:
    """Slices of two evaluations on other rows each."""
    rows = []
    for name, values in slices.items():
        for value, part in values.items():
            for metric, pair in part["metrics"].items():
                counts = " / ".join(map(number, part["rows"]))
                cells = [score(pair[key]) if pair[key] is not None else "" for key in ("a", "b")]
                rows.append([safe(name), one_line(value, 40) or '""', counts, safe(metric), *cells, _signed(pair)])
    return table(["slice", "value", "rows", "metric", "a", "b", "b - a"], rows)


def rerun_text(fields: Mapping[str, Any]) -> str:
    """The scores of the first run (a) and of its repetition (b)."""
    return beside_text(fields["metrics_beside"]) if fields["metrics_beside"] else ""
