"""report.md: what a competition was taken to ask for, what was tried, and what each step gained."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

FILE = "report.md"


def report_text(fields: Mapping[str, Any]) -> str:
    """The report as Markdown, from the result of the command."""
    return "\n".join(_lines(fields)) + "\n"


def _lines(fields: Mapping[str, Any]) -> Iterator[str]:
    yield f"# {fields['task']} by {fields['metric']}, {fields['better']} is better"
    yield ""
    yield f"{fields['status']}: {fields['seconds']:.0f} of {fields['budget']:.0f} seconds."
    best = fields["submitted"]
    yield f"The submission `{fields['submission']}` is that of {best['stage']}{_of(fields)}."
    yield ""
    yield "## What was taken"
    yield ""
    yield from (f"- {label}: {value}" for label, value in fields["took"].items())
    yield ""
    yield from _check(fields["check"])
    yield "## What was tried"
    yield ""
    yield from _table(fields)
    yield ""
    yield (
        "Scores are of training rows that the models did not see; gains are differences on the rows that both "
        "answered, positive is better, with 95 % intervals (paired bootstrap). A setting is compared with the best "
        "member before it, all else with what was submitted before it."
    )
    if fields["left_out"]:
        yield "\n## What was left out\n"
        yield from (f"- {name}: {why}" for name, why in fields["left_out"].items())
    yield "\n## To go on\n"
    yield from (f"    {command}" for command in fields["commands"])


def _of(fields: Mapping[str, Any]) -> str:
    if fields["score"] is None:
        return ""
    bounds = fields["ci95"].get(fields["metric"])
    interval = f" ({bounds[0]:.4g} to {bounds[1]:.4g})" if bounds else ""
    return f": {fields['metric']} {fields['score']:.4g}{interval} on {fields['rows']:,} held-out training rows"


def _check(check: Mapping[str, Sequence[str]] | None) -> Iterator[str]:
    if check is None:
        return
    yield "## What the data check found\n"
    found = [*(f"failure: {text}" for text in check["failures"]), *check["warnings"]]
    yield from (f"- {text}" for text in found or ["nothing"])
    yield ""


def _table(fields: Mapping[str, Any]) -> Iterator[str]:
    yield f"| stage | what | {fields['metric']} | rows | gain | submitted | seconds | |"
    yield "|---|---|---|---|---|---|---|---|"
    for stage in fields["stages"]:
        yield "| " + " | ".join(cells(stage)) + " |"


def cells(stage: Mapping[str, Any]) -> list[str]:
    """One stage as cells: name, what, score, rows, gain, whether submitted, seconds, note."""
    scored = stage.get("score") is not None
    gain = stage.get("trial") or stage.get("gain")
    note = str(stage.get("note") or "")
    if "pays" in stage and not note:
        note = "pays: the runs after it have it" if stage["pays"] else "not shown to pay"
    return [
        stage["name"],
        str(stage["what"]).replace("|", "\\|"),
        f"{stage['score']:.4g}" if scored else stage["status"],
        f"{stage['rows']:,}" if scored else "",
        gain_words(gain),
        "yes" if stage.get("taken") else "",
        f"{stage['seconds']:.0f}",
        note.replace("|", "\\|").replace("\n", " "),
    ]


def gain_words(gain: Mapping[str, Any] | None) -> str:
    """`+1.2 on cv-starter (+0.3 to +2.1)`; the metric too, where it is not the competition's."""
    if not gain:
        return ""
    bounds = gain["ci95"]
    interval = f" ({bounds[0]:+.4g} to {bounds[1]:+.4g})" if bounds else ""
    of = f" {gain['metric']}" if gain.get("metric") else ""
    return f"{gain['difference']:+.4g}{of} on {gain['against']}{interval}"
