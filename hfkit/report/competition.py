"""The human view of a cross-validation, an ensemble, a mean of weights: tables of runs and of members."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hfkit.report.text import number, safe, score, table

SHOWN = 4  # metrics in a column of their own; the rest is in --json


def folds_text(fields: Mapping[str, Any]) -> str:
    """Each run, then mean and spread, of the first metrics; nothing after a dry run, whose plan was shown."""
    if "mean" not in fields:
        return ""
    names = list(fields["mean"])[:SHOWN]
    rows = [
        [str(run["fold"]), str(run["seed"]), number(run["rows"]), *(score(run["metrics"][name]) for name in names)]
        for run in fields["folds"]
    ]
    rows.append(["mean", "", "", *(score(fields["mean"][name]) for name in names)])
    for axis, values in fields["spread"].items():
        rows.append([f"sd of {axis}", "", "", *(score(values[name]) for name in names)])
    return "\n" + table(["fold", "seed", "rows", *names], rows)


def members_text(fields: Mapping[str, Any]) -> str:
    """Each member with its weight, its own score, and what is lost without it; then the ensemble beside the best."""
    fitted = bool(fields.get("fitted_on"))
    head = ["member", "models", "weight", *([fields["metric"], "loss", "loss without it"] if fitted else [])]
    rows = []
    for member in fields["members"]:
        cells = [safe(member["name"]), str(len(member["models"])), f"{member['weight']:.3f}"]
        if fitted:
            without = member["loss_without"]
            cells += [
                score(member["metrics"][fields["metric"]]),
                f"{member['loss']:.4f}",
                "" if without is None else f"{without:.4f}",
            ]
        rows.append(cells)
    lines = ["\n" + table(head, rows)]
    dropped = [member["name"] for member in fields["members"] if not member["weight"]]
    if dropped:
        lines.append(f"dropped, for they do not help: {', '.join(map(safe, dropped))}")
    if fields.get("verdict"):
        lines.append(safe(fields["verdict"]))
    return "\n".join(lines)


def averaged_text(fields: Mapping[str, Any]) -> str:
    """Each model: how near its weights are to the first one's; where rows chose, scores alone and in the mean."""
    metric = fields.get("metric")
    head = ["model", *([metric, "mean with it"] if metric else []), "averaged", "nearness"]
    rows = []
    for member in fields["members"]:
        scores = []
        if metric:
            together = member["metrics_with"]
            scores = [score(member["metrics"][metric]), "" if together is None else score(together[metric])]
        near = "" if member["nearness"] is None else f"{member['nearness']:.4f}"
        rows.append([safe(member["name"]), *scores, "yes" if member["averaged"] else "no", near])
    lines = ["\n" + table(head, rows)]
    if fields.get("verdict"):
        lines.append(safe(fields["verdict"]))
    return "\n".join(lines)
