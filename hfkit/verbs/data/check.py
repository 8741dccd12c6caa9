"""`hfkit data check`: everything that is wrong with a data set, in one pass, before training; no torch, no weights."""

from __future__ import annotations

import shlex
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hfkit.data import describe, load
from hfkit.data.characters import broken_characters
from hfkit.data.findings import SHOWN, Finding
from hfkit.data.gold import label_counts, rare_labels, unseen_labels
from hfkit.data.languages import mixed_languages
from hfkit.data.repeats import repeats, shared_groups
from hfkit.data.source import own_validation
from hfkit.data.validators import answer_places, overlap, rows_text
from hfkit.errors import DataError
from hfkit.events import Event, note
from hfkit.recipe.keys import MODEL_KEYS, Data
from hfkit.recipe.overrides import check_override_sections, override_settings, section_from_overrides, split_override
from hfkit.tasks import task_class
from hfkit.tasks.base import Task
from hfkit.tasks.targets import are_amounts
from hfkit.verbs.data.reading import Reader, reader_of, text_columns
from hfkit.verbs.data.repair import REPAIRED, check_target, repaired, write_repaired
from hfkit.verbs.data.tokens import token_findings

if TYPE_CHECKING:
    from hfkit.data.rows import Rows

IN_MEMORY = 300_000  # rows
LABELS_SHOWN = 200  # in counts; beyond, values are hardly labels
# what is said when none of these findings came: codes -> words
CLEAN = {
    ("null_text", "not_text", "empty_text", "lone_surrogate", "no_text"): "no {columns} is null, empty or no text",
    ("duplicate_ids",): "every row has an id of its own",
    ("unknown_labels", "no_label", "no_gold", "too_few_classes", "missing_class", "rare_labels", "labels"): (
        "every label is known and has rows enough"
    ),
    ("repeated_rows", "contradictory_rows"): "no row repeats or contradicts another",
    ("language_mix",): "{columns}: each in one language",
    ("broken_characters",): "no character was lost or decoded wrongly",
    ("overlap", "shared_groups", "unseen_labels"): "training and validation share nothing",
}


def check(
    data: Any,
    *,
    task: str,
    model: str | None = None,
    validation: Any = None,
    fix: Path | None = None,
    overrides: Sequence[str] = (),
    offline: bool = False,
) -> Iterator[Event]:
    """Look at every row of `data` (the training part of a set) as finetune would, and further; see the guide.

    With `model` its tokenizer shows what only tokens show. `validation` is compared with the rows; None takes the set's
    own. `fix` writes the rows that are left when the faults are repaired or taken out. The result holds an error (3)
    when there are failures. Raises HfkitError for what cannot be read at all.
    """
    started = time.time()
    kind = task_class(task)
    if fix is not None:
        check_target(fix)
    check_override_sections(overrides, (kind.name, "data", "max_length", *(MODEL_KEYS if model else ())))
    bound = kind(override_settings(kind.Settings(), kind.name, overrides))
    reader = reader_of(model, kind, task, overrides, offline=offline) if model else None
    rows, other = read(data, validation, bound, overrides, offline=offline)
    yield from map(note, described(rows))
    if other is not None:
        yield from map(note, (f"validation {line}" for line in described(other)))

    findings, counts = row_findings(bound, rows, other)
    if isinstance(reader, Reader):
        more, sizes = yield from token_findings(reader, rows, text_columns(bound, rows))
        findings += more
        counts |= sizes
    else:
        why = reader or "no model is given; add `--model M`, e.g. the one to be fine-tuned"
        findings.append(Finding("note", "tokens_skipped", f"lengths and unknown tokens are not checked: {why}"))
    findings += clean(findings, rows, bound, other)
    fixed = None
    if fix is not None:
        kept, changes = repaired(bound, rows, other)
        fixed = write_repaired(fix, kept, changes)
        yield Event("saved", {"what": "repaired rows", "path": str(fix)})
    yield Event("next", {"commands": next_commands(data, task, findings, fix, overrides)})
    yield Event("result", result(task, rows, reader, findings, counts, fixed, time.time() - started))


def read(
    data: Any, validation: Any, task: Task, overrides: Sequence[str], *, offline: bool
) -> tuple[Rows, Rows | None]:
    """The training part of the set, and its validation part if there is one; rows that cannot be read are left out."""
    keys: Data = section_from_overrides(Data, "data", overrides, task=task.name)
    if not any(key == "data.on_bad_row" for key, _ in map(split_override, overrides)):
        keys = keys.model_copy(update={"on_bad_row": "skip", "max_bad_rows": 1.0})

    def part(spec: Any, split: str) -> Rows:
        rows = load(
            spec, columns=task.columns, settings=keys, split=split, need_gold=False, limit=keys.limit, offline=offline
        )
        # rows on disk are read once, not once for each kind of fault, unless there are very many
        return rows.replaced(list(rows), why="held in memory") if len(rows) <= IN_MEMORY else rows

    rows = part(data, "train")
    if validation is None and own_validation(data, offline=offline):
        validation = data
    return rows, part(validation, "validation") if validation is not None else None


def described(rows: Rows) -> list[str]:
    """How a set was read, without its last note on rows that were skipped: that is a failure here."""
    lines = describe(rows)
    return lines[:-1] if rows.skipped else lines


def row_findings(task: Task, rows: Rows, other: Rows | None) -> tuple[list[Finding], dict[str, Any]]:
    """(findings, counts) of what rows show by themselves."""
    texts = text_columns(task, rows)
    gold = next((c.name for c in task.columns if c.gold and c.name in rows.mapping), None)
    counts: dict[str, Any] = {"rows": len(rows), "unreadable": rows.skipped}
    findings = list(unreadable(rows))
    if gold is None and any(column.gold for column in task.columns):
        findings.append(without_gold(task, rows))
    findings += task.findings(rows, training=gold is not None)
    if gold == "answers":
        counts["answers"] = dict(answer_places(rows)[0])
        counts["unanswerable"] = sum(row.get("answers") == [] for row in rows)
    elif gold == "label":
        labels = label_counts(rows)
        if not predicts_amounts(task, rows):
            counts["labels"] = dict(labels.most_common(LABELS_SHOWN))
            findings += rare_labels(rows, labels)
    findings += broken_characters(rows, texts)
    if not rows.stream:
        findings += repeats(rows, texts, gold)
        strangers, counts["languages"] = mixed_languages(rows, [*texts, gold] if gold == "target" else texts)
        findings += strangers
    if other is not None and not rows.stream:
        counts["validation_rows"] = len(other)
        findings += between(rows, other, texts, task.group)
        if gold is not None and not any(finding.code == "unknown_labels" for finding in findings):
            findings += validation_findings(task, rows, other, gold)
    return findings, counts


def between(rows: Rows, other: Rows, texts: Sequence[str], group: str | None) -> Iterator[Finding]:
    """What training and validation rows have in common that they must not."""
    yield from overlap(rows, other, texts)
    if group is not None and group in texts:
        yield from shared_groups(rows, other, group)


def validation_findings(task: Task, rows: Rows, other: Rows, gold: str) -> Iterator[Finding]:
    """What would stop training at the validation rows; look at their other faults by checking them alone."""
    if gold == "label" and type(task).name == "classify" and not predicts_amounts(task, rows):
        yield from unseen_labels(label_counts(rows), other)
    for finding in task.findings(other, training=True, train_rows=rows):
        if finding.level == "failure":
            message = f"validation: {finding.message}"
            yield Finding("failure", finding.code, message, finding.count, finding.ids, finding.hint)


def predicts_amounts(task: Task, rows: Rows) -> bool:
    """Whether labels are amounts: nobody asks that each value stands often, or in training and validation both."""
    return type(task).name == "classify" and are_amounts(rows, task.settings.target)


def unreadable(rows: Rows) -> Iterator[Finding]:
    """The rows that were skipped: where, and why."""
    if rows.skipped:
        where = [f"{item['at']}: {item['problem']}" for item in rows.rejected[:3]]
        more = "; ..." if rows.skipped > len(where) else ""
        message = f"{rows_text(rows.skipped)} cannot be read: {'; '.join(where)}{more}"
        places = tuple(item["at"] for item in rows.rejected[:SHOWN])
        yield Finding("failure", "unreadable_rows", message, rows.skipped, places, "correct these lines first")


def without_gold(task: Task, rows: Rows) -> Finding:
    """A set without the column that training needs."""
    name = next(column.name for column in task.columns if column.gold)
    have = ", ".join(list(rows[0])[:12])
    message = f"no column for {name}, so only texts are checked; columns: {have}"
    return Finding("warning", "no_gold_column", message, hint=f"say which column it is: data.columns.{name}=NAME")


def clean(findings: Sequence[Finding], rows: Rows, task: Task, other: Rows | None) -> list[Finding]:
    """A good line for each kind of fault that was looked for and not found."""
    found = {finding.code for finding in findings}
    columns = " or ".join(text_columns(task, rows))
    skip = set() if other is not None else {"overlap"}
    skip |= set() if "label" in rows.mapping else {"unknown_labels"}
    skip |= {"repeated_rows", "duplicate_ids", "language_mix"} if rows.stream else set()
    return [
        Finding("good", codes[0], words.format(columns=columns))
        for codes, words in CLEAN.items()
        if found.isdisjoint(codes) and codes[0] not in skip
    ]


def next_commands(
    data: Any, task: str, findings: Sequence[Finding], fix: Path | None, overrides: Sequence[str] = ()
) -> list[str]:
    """What to type now, with the keys that were given; repaired rows need none of those that say how a file is read.

    Of several label columns that is not so: they are written as they were.
    """
    if not isinstance(data, str):
        return []
    if fix is not None:
        rest = [text for text in overrides if not text.startswith("data.") or _names_labels(text)]
        return [_command(f"hfkit finetune {task} --train {shlex.quote(str(fix))}", rest)]
    if any(finding.code in REPAIRED for finding in findings if finding.level != "good"):
        return [_command(f"hfkit data check {shlex.quote(data)} --task {task} --fix repaired.jsonl", overrides)]
    if any(finding.level == "failure" for finding in findings):
        return []
    return [_command(f"hfkit finetune {task} --train {shlex.quote(data)}", overrides)]


def _names_labels(text: str) -> bool:
    """Whether an override names several label columns."""
    key, value = split_override(text)
    return key == "data.columns.label" and isinstance(value, list)


def _command(words: str, overrides: Sequence[str]) -> str:
    return " ".join([words, *map(shlex.quote, overrides)])


def result(
    task: str,
    rows: Rows,
    reader: Reader | str | None,
    findings: Sequence[Finding],
    counts: dict[str, Any],
    fixed: dict[str, Any] | None,
    seconds: float,
) -> dict[str, Any]:
    """The JSON object of the command; with failures it carries an error, exit code 3."""
    levels = {level: [asdict(f) for f in findings if f.level == level] for level in ("failure", "warning")}
    fields: dict[str, Any] = {
        "task": task,
        "data": rows.name,
        "model": reader.name if isinstance(reader, Reader) else None,
        "rows": len(rows),
        "failures": levels["failure"],
        "warnings": levels["warning"],
        "passed": [asdict(f) for f in findings if f.level in ("good", "note")],
        "counts": counts,
        "fixed": fixed,
        "throughput": {"seconds": seconds},
    }
    failures = levels["failure"]
    if failures:
        number = "1 failure" if len(failures) == 1 else f"{len(failures)} failures"
        message = f"{number} in {rows_text(len(rows))} of {rows.name}: {failures[0]['message']}"
        error = DataError(message, failures[0]["hint"] or "correct the data, or write repaired rows with --fix FILE")
        problem = {"code": error.code, "kind": error.kind, "message": error.message, "hint": error.hint}
        fields |= {"ok": False, "error": problem}
    return fields
