"""The human view of what a command found: answers, lists, checks. Values to text; view.py writes it."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

from hfkit.report.analysis import comparison_text
from hfkit.report.compete import compete_text
from hfkit.report.competition import averaged_text, folds_text, members_text
from hfkit.report.data import check_text, windows_text
from hfkit.report.runs import diff_text, notes_text, rerun_text, run_text, runs_text
from hfkit.report.streams import columns_there
from hfkit.report.sweep import sweep_text
from hfkit.report.text import MARGIN, number, one_line, safe, table

NARROW = 80  # columns of lines where no terminal says how wide it is
WIDEST = 100  # columns of lines that people read
ABOUT_COLUMNS = 80  # of what a recipe is
VALUE_COLUMNS = 34  # of a key and its value, before its type
INPUTS = ("question", "premise", "hypothesis", "text", "text_pair", "prompt")
MARKS = {"ok": "ok", "warning": "!", "failure": "FAIL"}


def answer_text(item: Mapping[str, Any], *, many: bool) -> str:
    """One prediction: its inputs where it has them, then what the model says and how sure it is."""
    if "completion" in item:
        head = f"> {one_line(item.get('prompt', ''), 100)}\n" if many else ""
        samples = item.get("samples") or [item]
        return head + "\n---\n".join(safe(sample["completion"]) for sample in samples)
    lines = [f"{name}: {one_line(item[name])}" for name in INPUTS if item.get(name)]
    said = "(no answer)" if item.get("no_answer") else plain(item.get("prediction")) or "(empty text)"
    sure = certainty(item)
    label = "answer: " if lines else f"{safe(item['id'])}  " if many and "id" in item else ""
    gold = [f"{name}: {gold_text(value)}" for name, value in item.items() if name.startswith("gold ")]
    return "\n".join([*lines, label + said + (f"  ({sure})" if sure else ""), *gold])


def gold_text(value: Any) -> str:
    """A row's gold: its label, or its distinct answers."""
    if isinstance(value, list):
        parts = (part["text"] if isinstance(part, Mapping) and "text" in part else part for part in value)
        texts = dict.fromkeys(map(plain, parts))
        return one_line(" | ".join(texts)) or "(no answer)"
    return one_line(plain(value))


def plain(value: Any) -> str:
    """A prediction as text: a span, a label, several labels, or numbers."""
    if isinstance(value, Mapping):
        return ", ".join(f"{safe(name)} {number(part)}" for name, part in value.items())
    if isinstance(value, (list, tuple)):
        return ", ".join(plain(part) for part in value) or "(none)"
    return number(value) if isinstance(value, float) else safe(value)


def certainty(item: Mapping[str, Any]) -> str:
    """Probabilities of labels, or the score of a span; empty when there is neither."""
    shares = item.get("probabilities")
    if shares:
        best = sorted(shares.items(), key=lambda pair: -pair[1])[:5]
        return ", ".join(f"{safe(label)} {share:.2f}" for label, share in best)
    value = item.get("score")
    return f"score {value:.2f}" if isinstance(value, (int, float)) else ""


def result_text(command: str, fields: Mapping[str, Any]) -> str:
    """What a command that lists or shows things found; empty for the commands whose events have said it all."""
    match command:
        case "recipes list":
            room = min(ABOUT_COLUMNS, (columns_there() or WIDEST) - len(MARGIN))
            rows = [
                [safe(r["name"]), safe(r["task"]), safe(r["model"]), one_line(r["about"], room)]
                for r in fields["recipes"]
            ]
            return table(["name", "task", "model", "about"], rows)
        case "recipes show":
            return keys_text(fields["keys"]) if "keys" in fields else str(fields["text"]).rstrip("\n")
        case "runs list":
            return runs_text(fields)
        case "runs show":
            return run_text(fields["run"])
        case "runs diff":
            return diff_text(fields)
        case "runs note":
            return notes_text(fields["notes"])
        case "runs rerun":
            return rerun_text(fields)
        case "sweep":
            return sweep_text(fields) if "trials" in fields else ""  # a process that did some of them
        case "compare":
            return comparison_text(fields)
        case "cv":
            return folds_text(fields)
        case "compete":
            return compete_text(fields)
        case "ensemble":
            return members_text(fields)
        case "average":
            return averaged_text(fields)
        case "doctor":
            return checks_text(fields["checks"])
        case "data check":
            return check_text(fields)
        case "data show":
            return windows_text(fields)
        case "init":
            return str(fields["recipe"]).rstrip("\n") if fields["path"] is None else ""
        case "help":
            return safe(fields["text"]).rstrip("\n") if "text" in fields else topics_text(fields["topics"])
        case _:
            return ""


def keys_text(keys: Sequence[Mapping[str, Any]]) -> str:
    """Every key: its value in this recipe, what it may be, its default, and below it the help; sections apart."""
    width = min(columns_there() or NARROW, WIDEST)
    lines: list[str] = []
    section = ""
    for key in keys:
        head = key["key"].rpartition(".")[0]
        if lines and head != section:
            lines.append("")
        section = head
        value = f"{key['key']} = {one_line(as_value(key['value']), 40)}"
        kind = key["type"] + (f", {key['range']}" if key["range"] else "")
        kind += "; required" if key["required"] else f"; default {one_line(as_value(key['default']), 40)}"
        together = f"{value:<{VALUE_COLUMNS}}  {kind}"
        lines += [together] if len(together) <= width else [value, *_indented(kind, width)]
        lines += _indented(key["help"], width)
    return "\n".join(lines)


def _indented(text: str, width: int) -> list[str]:
    return textwrap.wrap(text, width, initial_indent="    ", subsequent_indent="    ", break_on_hyphens=False)


def as_value(value: Any) -> str:
    """A value as a recipe writes it."""
    if value is None:
        return "null"
    return str(value).lower() if isinstance(value, bool) else str(value)


def topics_text(topics: Sequence[Mapping[str, Any]]) -> str:
    """The guides there are."""
    return table(["topic", "about"], [[topic["topic"], one_line(topic["about"], 90)] for topic in topics])


def checks_text(checks: Sequence[Mapping[str, Any]]) -> str:
    """What doctor found, and below each finding what to type."""
    width = max(len(check["name"]) for check in checks)
    lines = []
    for check in checks:
        lines.append(f"{MARKS[check['status']]:<4}  {check['name']:<{width}}  {safe(check['found'])}")
        if check.get("hint"):
            lines.append(f"      {'':<{width}}  -> {safe(check['hint'])}")
    return "\n".join(lines)
