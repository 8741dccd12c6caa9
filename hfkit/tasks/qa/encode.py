"""Windows of question and context as features, with token offsets and training labels; called by QA.encode.

The windows are those of the tokenizer's own overflow (Hugging Face's meaning of `stride`: tokens that two neighbours
share). Labels differ from the reference scripts on purpose: an answer that begins or ends at a window's last token is
labelled there, and a window that only holds a part of the answer is labelled as having none.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from hfkit.errors import ModelError, UsageError
from hfkit.tasks.base import Feature, Row
from hfkit.tasks.qa.answers import first_usable

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

UNLABELLED = -100  # the index that cross-entropy ignores
_FIRST_MARK = "\u0300"  # no combining mark comes before it
_ROWS_AT_ONCE, _CHARACTERS_AT_ONCE = 256, 1_000_000


@dataclass(frozen=True, slots=True)
class Frame:
    """What the tokenizer puts around a question and a context."""

    special: int  # tokens besides question and context, `closing` included
    cls: int | None  # id of the token whose position stands for "no answer"; None: the last token does
    closing: int | None  # id appended because the tokenizer puts nothing after the context


class _Piece(NamedTuple):
    """The context tokens of one window: the index of the first, and the characters [start, end) of each, (tokens,)."""

    first: int
    starts: np.ndarray
    ends: np.ndarray


def frame_of(tokenizer: PreTrainedTokenizerBase) -> Frame:
    """Looks at one encoded pair. Raises ModelError when there is no token that could stand for "no answer"."""
    if not tokenizer.is_fast:
        raise ModelError("this tokenizer reports no offsets", "use a checkpoint that has a tokenizer.json")
    probe = tokenizer("a", "a", add_special_tokens=True)
    special = tokenizer.num_special_tokens_to_add(pair=True)
    if tokenizer.cls_token_id is not None and tokenizer.cls_token_id in probe["input_ids"]:
        return Frame(special, tokenizer.cls_token_id, None)
    if probe.sequence_ids(0)[-1] is None:
        return Frame(special, None, None)
    if tokenizer.eos_token_id is None:
        raise ModelError(
            "no token can stand for 'no answer': the tokenizer has neither [CLS] nor an end", "choose another model"
        )
    return Frame(special + 1, None, tokenizer.eos_token_id)


def question_limit(max_length: int, max_question_length: int, special: int) -> int:
    """Tokens that a question keeps: `max_question_length`, but never more than half of the window."""
    return min(max_question_length, (max_length - special) // 2)


def check_stride(max_length: int, stride: int, max_question_length: int, special: int) -> None:
    """Raises UsageError unless every question leaves more room for the context than neighbouring windows share.

    The tokenizer panics on such a stride with an error that `except Exception` does not catch, so it is never asked.
    """
    limit = question_limit(max_length, max_question_length, special)
    room = max_length - special - limit
    if limit < 1:
        raise UsageError(f"qa.max_length={max_length} leaves no room for question and context", "set qa.max_length=384")
    if stride >= room:
        raise UsageError(
            f"qa.stride={stride} is too large: it must be below {room} (qa.max_length {max_length} less "
            f"{limit} tokens of the question and {special} special tokens)",
            f"set qa.stride={room // 2}",
        )


def cut_questions(questions: Sequence[str], tokenizer: PreTrainedTokenizerBase, limit: int) -> list[str]:
    """The questions without white space at their left, each shortened to at most `limit` tokens."""
    bare = [question.lstrip() for question in questions]
    counts = _token_counts(bare, tokenizer)
    return [_cut(text, tokenizer, limit) if count > limit else text for text, count in zip(bare, counts, strict=True)]


def windows(
    rows: Iterable[Row], tokenizer: PreTrainedTokenizerBase, *, max_length: int, stride: int, max_question_length: int
) -> Iterator[Feature]:
    """Features of all rows in row order, the columns as QA.encode describes them. Raises UsageError, ModelError."""
    frame = frame_of(tokenizer)
    check_stride(max_length, stride, max_question_length, frame.special)
    limit = question_limit(max_length, max_question_length, frame.special)
    with_types = "token_type_ids" in tokenizer.model_input_names
    number = 0
    for chunk in _chunks(rows):
        encoded = tokenizer(
            cut_questions([row["question"] for row in chunk], tokenizer, limit),
            [row["context"] for row in chunk],
            truncation="only_second",
            max_length=max_length - (frame.closing is not None),
            stride=stride,
            return_overflowing_tokens=True,
            return_offsets_mapping=True,
            return_attention_mask=False,
            verbose=False,
        )
        tokenizer.backend_tokenizer.no_truncation()  # a tokenizer that is saved must not remember it
        of_row: list[list[int]] = [[] for _ in chunk]
        for window, owner in enumerate(encoded["overflow_to_sample_mapping"]):
            of_row[owner].append(window)
        for row, found in zip(chunk, of_row, strict=True):
            yield from _features(number, row, encoded, found, frame, with_types)
            number += 1


def _features(
    number: int, row: Row, encoded: Any, found: list[int], frame: Frame, with_types: bool
) -> Iterator[Feature]:
    """The features of one row; `found` numbers its windows in `encoded`."""
    pieces = _with_marks([_context_tokens(encoded, window) for window in found], row["context"])
    places = _labels(pieces, row)
    for window, piece, place in zip(found, pieces, places, strict=True):
        ids = list(encoded["input_ids"][window])
        types = list(encoded["token_type_ids"][window]) if with_types else []
        if frame.closing is not None:
            ids.append(frame.closing)
            types.append(0)
        before, after = [0] * piece.first, [0] * (len(ids) - piece.first - len(piece.starts))
        null = _null_index(ids, frame)
        start, end = (null, null) if place is None else place
        feature = {"row": number, "input_ids": ids} | ({"token_type_ids": types} if with_types else {})
        yield feature | {
            "char_start": before + piece.starts.tolist() + after,
            "char_end": before + piece.ends.tolist() + after,
            "context": before + [1] * len(piece.starts) + after,
            "null_index": null,
            "start_position": start,
            "end_position": end,
        }


def _context_tokens(encoded: Any, window: int) -> _Piece:
    sequence = encoded.encodings[window].sequence_ids
    if 1 not in sequence:
        return _Piece(0, np.zeros(0, np.int64), np.zeros(0, np.int64))
    first = sequence.index(1)
    stop = len(sequence) - sequence[::-1].index(1)
    offsets = np.array(encoded["offset_mapping"][window][first:stop], dtype=np.int64)
    return _Piece(first, offsets[:, 0], offsets[:, 1])


def _with_marks(pieces: list[_Piece], context: str) -> list[_Piece]:
    """Ends moved over combining marks that the tokenizer dropped: an answer must not lose its last accent."""
    if context.isascii():
        return pieces
    begins = np.append(np.unique(np.concatenate([piece.starts for piece in pieces])), len(context))
    moved = []
    for piece in pieces:
        ends = piece.ends.copy()
        following = begins[np.searchsorted(begins, ends)]  # in this window or in the next
        for index in np.flatnonzero(following > ends).tolist():
            end = int(ends[index])
            while (
                end < following[index] and context[end] >= _FIRST_MARK and unicodedata.category(context[end])[0] == "M"
            ):
                end += 1
            ends[index] = end
        moved.append(piece._replace(ends=ends))
    return moved


def _labels(pieces: list[_Piece], row: Row) -> list[tuple[int, int] | None]:
    """Per window the first and last of the smallest run of tokens that holds the row's first usable answer.

    None where the window does not hold all of it, and for unanswerable questions; UNLABELLED twice in every window
    when the row has no answers, or none that can be located or that any token shows. Characters of the answer that no
    token covers (the tokenizer dropped them) are not asked for.
    """
    nowhere: list[tuple[int, int] | None] = [(UNLABELLED, UNLABELLED)] * len(pieces)
    answers = row.get("answers")
    if answers is None:
        return nowhere
    if not answers:
        return [None] * len(pieces)
    gold = first_usable(row["context"], answers)
    if gold is None:
        return nowhere
    touched = [np.flatnonzero((piece.ends > gold[0]) & (piece.starts < gold[1])) for piece in pieces]
    shown = [(piece, tokens) for piece, tokens in zip(pieces, touched, strict=True) if len(tokens)]
    if not shown:
        return nowhere
    low = max(gold[0], min(int(piece.starts[tokens].min()) for piece, tokens in shown))
    high = min(gold[1], max(int(piece.ends[tokens].max()) for piece, tokens in shown))
    held: list[tuple[int, int] | None] = []
    for piece, tokens in zip(pieces, touched, strict=True):
        whole = len(tokens) and piece.starts[tokens].min() <= low and piece.ends[tokens].max() >= high
        held.append((piece.first + int(tokens[0]), piece.first + int(tokens[-1])) if whole else None)
    return held


def _null_index(ids: list[int], frame: Frame) -> int:
    """Position of the token that stands for "no answer": [CLS], at either end, else the last token."""
    if frame.cls is None:
        return len(ids) - 1
    return 0 if ids[0] == frame.cls else len(ids) - 1 - ids[::-1].index(frame.cls)


def _cut(text: str, tokenizer: PreTrainedTokenizerBase, limit: int) -> str:
    """The longest start of `text`, up to a token's end, that is at most `limit` tokens by itself."""
    offsets = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True, verbose=False)["offset_mapping"]
    for kept in range(limit, 0, -1):
        shorter = text[: offsets[kept - 1][1]]
        if _token_counts([shorter], tokenizer)[0] <= limit:
            return shorter
    return ""


def _token_counts(texts: list[str], tokenizer: PreTrainedTokenizerBase) -> list[int]:
    found = tokenizer(texts, add_special_tokens=False, return_attention_mask=False, verbose=False)["input_ids"]
    return [len(ids) for ids in found]


def _chunks(rows: Iterable[Row]) -> Iterator[list[Row]]:
    """Rows in lists that keep the tokenizer busy and memory flat, also when single contexts are very long."""
    chunk: list[Row] = []
    characters = 0
    for row in rows:
        chunk.append(row)
        characters += len(row["context"])
        if len(chunk) == _ROWS_AT_ONCE or characters >= _CHARACTERS_AT_ONCE:
            yield chunk
            chunk, characters = [], 0
    if chunk:
        yield chunk
