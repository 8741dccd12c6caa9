"""What must hold of QA rows before a model is loaded: texts that can be tokenised, answers that can be found."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from hfkit.data.findings import Finding
from hfkit.data.validators import MOST_EMPTY, answers_located, duplicate_ids, first_ids, long_texts, text_column
from hfkit.tasks.base import Row
from hfkit.tasks.qa.answers import first_usable
from hfkit.tasks.qa.settle import lengths

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

LONGEST_CONTEXT = 1_000_000  # characters: some thousands of windows; longer ones are a file in the wrong column
LARGEST_LOST_SHARE = 0.2  # of the answerable questions


def findings(rows: Sequence[Row], *, training: bool, validation: bool = False) -> Iterator[Finding]:
    """Texts that are no text are failures and, to train, answers that are lost.

    Offsets matter to training labels only, so that only training looks for the answers in their contexts.
    """
    if len(rows) == 0:
        yield Finding(
            "failure", "no_rows", "there are no questions in the data", hint="check its path, and data.columns"
        )
        return
    yield from _texts(rows, training=training)
    if training:
        yield from _answers(rows, validation=validation)


def _texts(rows: Sequence[Row], *, training: bool) -> Iterator[Finding]:
    yield from text_column(rows, "question", empty="failure")
    yield from text_column(rows, "context", empty="warning", most=MOST_EMPTY if training else 1.0)
    yield from long_texts(rows, "context", LONGEST_CONTEXT)
    broken = [row["id"] for row in rows for name in ("question", "context") if not _encodable(row.get(name))]
    if broken:
        message = f"question or context holds half of a surrogate pair in {len(broken):,} rows (first: '{broken[0]}')"
        yield Finding("failure", "lone_surrogate", message, len(broken), tuple(broken[:5]))


def questions_cut(
    rows: Sequence[Row], tokenizer: PreTrainedTokenizerBase, limit: int, section: str
) -> Iterator[Finding]:
    """Questions with more than `limit` tokens, of which the rest is not read; `section` is the task's in a recipe."""
    counts = lengths((row["question"].lstrip() for row in rows), tokenizer)
    ids = [row["id"] for row, count in zip(rows, counts, strict=True) if count > limit]
    if ids:
        message = f"{len(ids):,} questions are longer than {limit} tokens and are cut {first_ids(ids, len(ids))}"
        hint = f"see {section}.max_question_length"
        yield Finding("warning", "questions_cut", message, len(ids), tuple(ids[:5]), hint)


def _encodable(text: object) -> bool:
    """Whether a text is Unicode that can be written as UTF-8; tokenizers fail on the rest with a bare TypeError."""
    try:
        return not isinstance(text, str) or text.isascii() or bool(text.encode("utf-8"))
    except UnicodeEncodeError:
        return False


def _answers(rows: Sequence[Row], *, validation: bool) -> Iterator[Finding]:
    """Answers that do not stand at their offset; a failure when too many questions have none that can be located."""
    yield from duplicate_ids(rows, "warning")
    without = [row["id"] for row in rows if row.get("answers") is None]
    if without:
        message = f"{len(without):,} rows have no answers (first: '{without[0]}')"
        yield Finding("failure", "no_answers", message, len(without), tuple(without[:5]))
    yield from answers_located(rows)
    asked = [row for row in rows if row.get("answers") and isinstance(row.get("context"), str)]
    answerable = len(asked)
    if not answerable and not validation and not without:
        yield Finding("failure", "all_unanswerable", "no question has an answer: nothing to learn", len(rows))
    lost = [row["id"] for row in asked if first_usable(row["context"], row["answers"]) is None]
    if lost:
        words = (
            f"{len(lost):,} of {answerable:,} answerable questions have no answer that can be located in the context"
        )
        failed = len(lost) > LARGEST_LOST_SHARE * answerable
        message = f"{words} (first: '{lost[0]}')" + ("" if failed else "; they are not trained on")
        yield Finding("failure" if failed else "warning", "answers_lost", message, len(lost), tuple(lost[:5]))
