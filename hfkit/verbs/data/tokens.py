"""The part of `data check` that needs a tokenizer: lengths, answers cut off, unknown tokens, padding."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from hfkit.data import token_checks
from hfkit.data.findings import Finding
from hfkit.errors import DataError, HfkitError, ModelError
from hfkit.events import Event, resolved
from hfkit.models import check_vocabulary, has_fixed_positions, max_positions
from hfkit.tasks.base import Feature, Task
from hfkit.verbs.data.reading import Reader, fitted, length_of, sound_rows, unknown_id
from hfkit.verbs.prepare import Report, sample_texts, with_progress

if TYPE_CHECKING:
    from hfkit.data.rows import Rows

Found = tuple[list[Finding], dict[str, Any]]
LONGEST = 1 << 30  # tokens: no source has as many
EVERY = 500  # rows between two moves of the bar


def token_findings(reader: Reader, rows: Rows, columns: Sequence[str]) -> Generator[Event, None, Found]:
    """(findings, counts) of all rows that can be tokenised, and a `resolved` event for each setting that was open."""
    sound = sound_rows(rows, columns)
    if not len(sound):
        return [Finding("note", "tokens_skipped", "no row can be tokenised, so lengths are not checked")], {}
    try:
        task, resolutions = fitted(reader, sound)
    except HfkitError as error:
        if error.kind == "usage":
            raise
        return [Finding("failure", "model", f"{reader.name}: {error.message}", hint=error.hint)], {}
    for item in resolutions:
        yield resolved(item.key, item.value, item.why)
    unknown = unknown_id(reader.tokenizer)
    features = whole(task).encode(_labelled(task, sound), reader.tokenizer)
    try:
        tokens = yield from with_progress(
            "tokenising",
            "rows",
            lambda report: token_checks.count_tokens(_reported(features, report, len(sound)), unknown),
        )
    except DataError as error:
        return [Finding("failure", "tokens", error.message, hint=error.hint)], {}
    findings = list(_vocabulary(reader, task, sound))
    findings += token_checks.special_text(sound, columns, reader.tokenizer.all_special_tokens)
    if not task.blocks:
        findings += token_checks.unknown_rows(sound, tokens) if not findings or findings[0].level != "failure" else []
        findings += _by_length(reader, task, sound, tokens)
    length = length_of(task)
    counts: dict[str, Any] = {
        "features": len(tokens.lengths),
        "tokens": {"all": int(tokens.lengths.sum()), **token_checks.percentiles(tokens)},
        "unknown_tokens": int(tokens.unknown.sum()),
    }
    if length is not None and not task.blocks:
        waste = token_checks.padding_waste(tokens, length)
        counts["padding_share"] = {name: round(share, 4) for name, share in waste.items()}
        findings.append(_lengths_note(task, tokens, length, waste))
    return findings, counts


def whole(task: Task) -> Task:
    """The task that cuts nothing off: pairs are measured whole; windows hold all of a text anyway."""
    if hasattr(task.settings, "max_length") and not hasattr(task.settings, "stride"):
        return type(task)(task.settings.model_copy(update={"max_length": "auto"}))
    if hasattr(task.settings, "max_source_length") and not hasattr(task.settings, "stride"):
        return type(task)(task.settings.model_copy(update={"max_source_length": LONGEST}))
    return task


def _labelled(task: Task, rows: Rows) -> Iterator[dict[str, Any]]:
    """Rows with answers, which say what a window must hold, but without labels, which may be any."""
    gold = {column.name for column in task.columns if column.gold and column.name != "answers"}
    return ({name: value for name, value in row.items() if name not in gold} for row in rows)


def _reported(features: Iterator[Feature], report: Report, total: int) -> Iterator[Feature]:
    """The features as they come; every so many rows it is said how far they are."""
    due = 0
    for feature in features:
        if feature["row"] >= due:
            report(feature["row"], total)
            due = feature["row"] + EVERY
        yield feature
    report(total, total)


def _vocabulary(reader: Reader, task: Task, rows: Rows) -> Iterator[Finding]:
    """What training would refuse: a model that does not know the data's words."""
    try:
        check_vocabulary(reader.tokenizer, sample_texts(task, rows), reader.name, task.head)
    except ModelError as error:
        yield Finding("failure", "unknown_vocabulary", error.message, hint=error.hint)


def _by_length(reader: Reader, task: Task, rows: Rows, tokens: Any) -> Iterator[Finding]:
    """Answers and questions that windows cut, or texts beyond the model's positions."""
    if hasattr(task.settings, "max_question_length"):
        from hfkit.tasks.qa.checks import questions_cut

        yield from token_checks.answers_cut(rows, tokens)
        yield from questions_cut(rows, reader.tokenizer, task.settings.max_question_length, task.name)
    elif hasattr(task.settings, "max_length") or has_fixed_positions(reader.config):
        yield from token_checks.too_long(rows, tokens, max_positions(reader.config))


def _lengths_note(task: Task, tokens: Any, length: int, waste: dict[str, float]) -> Finding:
    sizes = token_checks.percentiles(tokens)
    unit = "windows" if hasattr(task.settings, "stride") else "rows"
    message = (
        f"{unit} have {sizes['median']} tokens (median), {sizes['p99']} (99 %), {sizes['most']} (most); padding all to "
        f"{length} would waste {waste['to_max_length']:.0%} of the work, to the longest of 16 "
        f"{waste['to_longest_of_16']:.0%}"
    )
    return Finding("note", "lengths", message)
