"""The human view of what lies behind scores: slices, confusion, calibration, thresholds, mistakes, comparisons."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from hfkit.report.text import number, one_line, safe, score, table

SHOWN_VALUES = 12  # of a slice; the rest is in --json
WIDEST_TABLE = 8  # classes of a confusion table; of more, the most confused pairs are listed
SHOWN_PAIRS = 10


def analysis_text(fields: Mapping[str, Any]) -> str:
    """Every part that the fields hold, a blank line between them."""
    return "\n\n".join(part for part in _parts(fields) if part)


def _parts(fields: Mapping[str, Any]) -> Iterator[str]:
    if fields.get("slices"):
        yield slices_text(fields["slices"])
    if fields.get("confusion"):
        yield confusion_text(**fields["confusion"])
    if fields.get("calibration"):
        yield calibration_text(fields["calibration"])
    if fields.get("thresholds"):
        yield thresholds_text(fields["thresholds"])
    if fields.get("coverage"):
        yield coverage_text(fields["coverage"])
    if fields.get("mistakes"):
        yield mistakes_text(fields["mistakes"])


def slices_text(slices: Mapping[str, Mapping[str, Any]]) -> str:
    """One line a value: rows, metrics, and the interval of the last metric."""
    first = next(iter(next(iter(slices.values())).values()))
    names = list(first["metrics"])
    last = names[-1] if names else ""
    head = ["slice", "value", "rows", *names, f"95 % interval of {last}"]
    lines = []
    for name, values in slices.items():
        title = name
        shown = _largest(values)
        for value, part in shown.items():
            bounds = (part.get("ci95") or {}).get(last)
            cells = [_percent(part["metrics"][key]) if key in part["metrics"] else "" for key in names]
            lines.append([safe(title), one_line(value, 40) or '""', number(part["rows"]), *cells, _interval(bounds)])
            title = ""
        if len(shown) < len(values):
            lines.append(["", f"and {len(values) - len(shown)} more", "", *("" for _ in names), ""])
    return table(head, lines)


def confusion_text(labels: Sequence[str], counts: Sequence[Sequence[int]]) -> str:
    """Gold by predicted; of many classes the pairs that are confused most."""
    if len(labels) <= WIDEST_TABLE:
        rows = [[safe(label), *map(number, row)] for label, row in zip(labels, counts, strict=True)]
        return table(["gold \\ predicted", *map(safe, labels)], rows)
    pairs = [
        (count, gold, said)
        for gold, row in zip(labels, counts, strict=True)
        for said, count in zip(labels, row, strict=True)
        if count and gold != said
    ]
    worst = sorted(pairs, key=lambda pair: -pair[0])[:SHOWN_PAIRS]
    return table(
        ["gold", "predicted", "rows"], [[safe(gold), safe(said), number(count)] for count, gold, said in worst]
    )


def calibration_text(found: Mapping[str, Any]) -> str:
    """The figures, the reliability table, the temperature."""
    lines = [f"calibration: ECE {score(found['ece'])}, Brier {score(found['brier'])}, NLL {score(found['nll'])}"]
    rows = [
        [f"{row['low']:.1f}-{row['high']:.1f}", number(row["rows"]), score(row["confidence"]), score(row["right"])]
        for row in found["reliability"]
    ]
    lines.append(table(["probability", "rows", "mean", "share right"], rows))
    if found.get("temperature"):
        fit = found["temperature"]
        changes = ", ".join(
            f"{title} {score(fit['before'][name])} -> {score(fit['after'][name])}"
            for name, title in (("ece", "ECE"), ("brier", "Brier"), ("nll", "NLL"))
        )
        lines.append(
            f"temperature {score(fit['value'])} (fitted on {number(fit['fitted_on_rows'])} rows), "
            f"on the other {number(fit['rows'])}: {changes}"
        )
    return "\n".join(lines)


def thresholds_text(found: Mapping[str, Any]) -> str:
    """The official best, and the honest one beside it."""
    lines = [
        f"null threshold chosen on these rows (flatters): exact_match {_percent(found['best_exact_match'])} at "
        f"{number(found['best_exact_match_threshold'])}, f1 {_percent(found['best_f1'])} at "
        f"{number(found['best_f1_threshold'])}"
    ]
    if found.get("held_out"):
        fit = found["held_out"]
        lines.append(
            f"null threshold {number(fit['threshold'])} fitted on {number(fit['fitted_on_rows'])} rows, on the other "
            f"{number(fit['rows'])}: exact_match {_percent(fit['exact_match'])}, f1 {_percent(fit['f1'])} "
            f"(as predicted: {_percent(fit['exact_match_as_predicted'])}, {_percent(fit['f1_as_predicted'])})"
        )
    return "\n".join(lines)


def coverage_text(found: Mapping[str, Any]) -> str:
    """What is right when only the surest rows are answered."""
    head = ["answered", *(f"{row['coverage']} %" for row in found["table"])]
    values = [found["metric"], *(_percent(100 * row["score"]) for row in found["table"])]
    limits = ["confidence from", *(number(row["threshold"]) for row in found["table"])]
    return f"{table(head, [values, limits])}\nAURC {score(found['aurc'])} (mean risk over all coverages, 0 is best)"


def mistakes_text(found: Sequence[Mapping[str, Any]]) -> str:
    """The surest wrong answers, with their texts."""
    lines = ["most confident mistakes"]
    for item in found:
        lines.append(f"  {safe(item['id'])}  confidence {number(item['confidence'])}")
        for name, value in item.items():
            if name not in ("id", "confidence", "context"):  # a context is too long to read here
                lines.append(f"    {name}: {one_line(_plain(value), 160) or '(no answer)'}")
    return "\n".join(lines)


def comparison_text(fields: Mapping[str, Any]) -> str:
    """Both systems, their differences, the slices, and the verdict."""
    differences, p_values = fields["differences"], fields["p_value"]
    sides = [fields["a"], fields["b"]]
    rows = [
        [
            name,
            *(_with_spread(side, name) for side in sides),
            f"{value:+.2f}" if abs(value) >= 0.1 else f"{value:+.4f}",
            _interval(fields["ci95"].get(name), signed=True),
            f"{p_values[name]:.3f}",
        ]
        for name, value in differences.items()
    ]
    parts = [table(["metric", "a", "b", "b - a", "95 % interval", "p"], rows)]
    for name, test in (fields.get("mcnemar") or {}).items():
        parts.append(
            f"{name}: only a right in {number(test['first_only'])} rows, only b in {number(test['second_only'])}; "
            f"exact McNemar p = {test['p_value']:.3g}"
        )
    if fields.get("slices"):
        parts += ["", _slices_compared(fields["slices"])]
    return "\n".join([*parts, "", safe(fields["verdict"])])


def _slices_compared(slices: Mapping[str, Mapping[str, Any]]) -> str:
    lines = []
    for name, values in slices.items():
        title = name
        for value, part in _largest(values).items():
            metric, size = next(iter(part["differences"].items()))
            bounds = _interval((part.get("ci95") or {}).get(metric), signed=True)
            lines.append([safe(title), one_line(value, 40) or '""', number(part["rows"]), f"{size:+.2f}", bounds])
            title = ""
    return table(["slice", "value", "rows", "b - a", "95 % interval"], lines)


def _with_spread(side: Mapping[str, Any], name: str) -> str:
    spread = (side.get("spread") or {}).get(name)
    return score(side["metrics"][name]) + (f" ± {score(spread)} ({side['seeds']} seeds)" if spread is not None else "")


def _largest(values: Mapping[str, Any]) -> dict[str, Any]:
    """The values with most rows, in their order."""
    kept = sorted(values, key=lambda name: -values[name]["rows"])[:SHOWN_VALUES]
    return {name: part for name, part in values.items() if name in kept}


def _interval(bounds: Sequence[float] | None, *, signed: bool = False) -> str:
    if not bounds:
        return ""
    digits = 2 if max(map(abs, bounds)) >= 0.1 else 4  # a difference of correlations is small
    low, high = (f"{end:+.{digits}f}" if signed else _percent(end) for end in bounds)
    return f"{low} to {high}"


def _percent(value: float) -> str:
    return f"{value:,.2f}"


def _plain(value: Any) -> str:
    if isinstance(value, (list, tuple)):
        return " | ".join(map(str, value))
    return str(value)
