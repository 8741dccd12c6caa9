"""The human view of `data check` and `data show`: findings line by line, tokens by part. Values to text."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import Any

from hfkit.report.streams import columns_there, is_terminal
from hfkit.report.text import columns_of, number, one_line, safe

WIDTH = 100  # columns of a line of tokens where no terminal says how wide it is
LEAST_WIDTH = 20
MARKS = {"good": "ok", "note": "info", "warning": "!", "failure": "FAIL"}
# one colour a part, the same in every window; a label's tokens are reversed, so that it shows without colour too
COLOURS = {"special": "2", "question": "36", "premise": "36", "context": "32", "hypothesis": "33", "text_pair": "33"}


def check_text(fields: Mapping[str, Any]) -> str:
    """Findings, worst last so that they stand above the prompt, then counts and the sum."""
    lines = []
    for finding in [*fields["passed"], *fields["warnings"], *fields["failures"]]:
        lines.append(f"{MARKS[finding['level']]:<4}  {safe(finding['message'])}")
        if finding.get("hint"):
            lines.append(f"      -> {safe(finding['hint'])}")
    lines += ["", *counts_lines(fields["counts"])]
    if fields["fixed"]:
        lines += ["", *fixed_lines(fields["fixed"])]
    failures, warnings = len(fields["failures"]), len(fields["warnings"])
    return "\n".join([*lines, "", f"{_many(failures, 'failure')}, {_many(warnings, 'warning')}"])


def counts_lines(counts: Mapping[str, Any]) -> list[str]:
    """What was counted, a line each."""
    width = max((len(name) for name in counts), default=0)
    return [f"{name:<{width}}  {one_line(_count(value), 160)}" for name, value in counts.items() if value != {}]


def fixed_lines(fixed: Mapping[str, Any]) -> list[str]:
    """What --fix did."""
    head = f"repaired: {number(fixed['rows'])} rows kept, {number(fixed['changed'])} of them changed, "
    lines = [f"{head}{number(fixed['left_out'])} left out; each change stands in {safe(fixed['changes'])}"]
    return lines + [f"  {number(times):>7}  {what}" for what, times in fixed["what"].items()]


def windows_text(fields: Mapping[str, Any]) -> str:
    """The windows of one row: runs of tokens by part, the label, what is cut."""
    colour = is_terminal(sys.stdout) and not os.environ.get("NO_COLOR")
    lines = [f"{name}: {one_line(value, 300)}" for name, value in fields["row"].items()]
    total = len(fields["windows"])
    for place, window in enumerate(fields["windows"], 1):
        of = f"window {place} of {total}" if total > 1 else "tokens"
        lines += ["", f"{of}: {len(window['tokens'])} of at most {number(fields['max_length'])}"]
        lines += token_lines(window["tokens"], colour=colour)
        lines += [f"  {name}: {safe(value)}" for name, value in window["label"].items()]
    cut = fields["cut"]
    lines += ["", "cut: nothing" if not cut else "cut:"]
    lines += [f"  {name}: {number(part['tokens'])} of {number(part['of'])} tokens: {one_line(part['text'], 200)}"
              for name, part in cut.items()]  # fmt: skip
    return "\n".join(lines)


def token_lines(tokens: Sequence[Mapping[str, Any]], *, colour: bool) -> list[str]:
    """Tokens, a run of one part on lines of its own; those of the label stand in brackets, unknown ones as they are."""
    width = max(len(token["part"]) for token in tokens)
    columns = columns_there()
    room = WIDTH if columns is None else max(columns - width - 4, LEAST_WIDTH)
    lines = []
    for part, run in groupby(tokens, key=lambda token: token["part"]):
        words: list[str] = []
        for labelled, some in groupby(run, key=lambda token: token["label"]):
            texts = [one_line(token["token"]) for token in some]
            if labelled:
                texts[0] = "[[" + texts[0]
                texts[-1] += "]]"
            words += [_coloured(text, part, labelled, colour) for text in texts]
        for at, line in enumerate(_wrapped(words, room)):
            lines.append(f"  {part if at == 0 else '':<{width}}  {line}")
    return lines


def _wrapped(words: Sequence[str], width: int) -> list[str]:
    """Words with blanks between, on lines of at most `width` columns (escape sequences are not counted)."""
    lines: list[list[str]] = [[]]
    room = width
    for word in words:
        size = columns_of(word.split("m", 1)[-1].removesuffix("\x1b[0m") if word.startswith("\x1b") else word)
        if size > room and lines[-1]:
            lines.append([])
            room = width
        lines[-1].append(word)
        room -= size + 1
    return [" ".join(line) for line in lines]


def _coloured(text: str, part: str, labelled: bool, colour: bool) -> str:
    if not colour:
        return text
    return f"\x1b[{'7;' if labelled else ''}{COLOURS.get(part, '0')}m{text}\x1b[0m"


def _count(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{safe(name) or '(none)'} {_inner(part)}" for name, part in value.items())
    return number(value)


def _inner(value: Any) -> str:
    return f"({_count(value)})" if isinstance(value, Mapping) else number(value)


def _many(count: int, what: str) -> str:
    return f"{count} {what}" + ("" if count == 1 else "s")
