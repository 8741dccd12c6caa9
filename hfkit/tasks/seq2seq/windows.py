"""A question and a window of its context as one source, the answer as its target; called by QAGeneration.encode."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

from hfkit.errors import ModelError, UsageError
from hfkit.tasks.base import Feature, Row, batched
from hfkit.tasks.qa.answers import first_usable
from hfkit.tasks.qa.encode import cut_questions
from hfkit.tasks.seq2seq.encode import shortened, target_tokens

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from hfkit.tasks.seq2seq.settings import QAGenerationSettings

_AT_ONCE = 256  # rows
_WORDS = 16  # tokens that the template's own words may take


def question_room(settings: QAGenerationSettings, length: int) -> int:
    """Tokens that a question keeps: as asked for, but never more than half of the window. Raises UsageError.

    Every question must leave more room for the context than neighbouring windows share.
    """
    limit = min(settings.max_question_length, length // 2)
    room = length - limit - _WORDS
    if settings.stride >= room:
        raise UsageError(
            f"qa-generation.stride={settings.stride} is too large for sources of {length} tokens: it must be below "
            f"{max(room, 1)}",
            f"set qa-generation.stride={max(room // 2, 0)}" if room > 0 else "set qa-generation.max_source_length=384",
        )
    return limit


def windows(
    rows: Iterable[Row], tokenizer: PreTrainedTokenizerBase, settings: QAGenerationSettings
) -> Iterator[Feature]:
    """Feature columns: row, input_ids, target_ids; `settings` hold no auto.

    A window that holds the first answer that can be located has its text for target, every other an empty one. An
    answer that cannot be located is the target of a context that is one window, else none of its windows is trained on
    (`target_ids` without a token). Raises ModelError for a tokenizer without offsets.
    """
    if not tokenizer.is_fast:
        raise ModelError("this tokenizer reports no offsets", "use a checkpoint that has a tokenizer.json")
    limit = question_room(settings, int(settings.max_source_length))
    number = 0
    for chunk in batched(rows, _AT_ONCE):
        questions = cut_questions([row["question"] for row in chunk], tokenizer, limit)
        heads = [settings.template.partition("{context}")[0].replace("{question}", text) for text in questions]
        texts = [head + row["context"] for head, row in zip(heads, chunk, strict=True)]
        encoded = tokenizer(texts, return_offsets_mapping=True, return_attention_mask=False, verbose=False)
        for place, (head, row) in enumerate(zip(heads, chunk, strict=True)):
            cut = list(_cut(encoded, place, len(head), settings))
            targets = target_tokens(_answers(row, [span for _, span in cut]), tokenizer)
            for (ids, _), target in zip(cut, targets or [[]] * len(cut), strict=True):
                yield {
                    "row": number,
                    "input_ids": ids,
                    "target_ids": shortened(target, int(settings.max_target_length), tokenizer),
                }
            number += 1


def _cut(
    encoded: Any, place: int, head: int, settings: QAGenerationSettings
) -> Iterator[tuple[list[int], tuple[int, int]]]:
    """(ids, characters [start, end) of the context) of each window of a text whose first `head` characters repeat."""
    ids = list(encoded["input_ids"][place])
    special = encoded.encodings[place].special_tokens_mask
    offsets = encoded["offset_mapping"][place]
    closing = next((count for count, flag in enumerate(reversed(special)) if not flag), len(special))
    last = len(ids) - closing
    first = next((k for k in range(last) if not special[k] and offsets[k][1] > head), last)
    room = int(settings.max_source_length) - first - closing
    begin = first
    while True:
        end = min(begin + room, last)
        span = (max(0, offsets[begin][0] - head), offsets[end - 1][1] - head) if end > begin else (0, 0)
        yield ids[:first] + ids[begin:end] + ids[last:], span
        if end >= last:
            return
        begin = end - settings.stride


def _answers(row: Row, spans: list[tuple[int, int]]) -> list[str]:
    """The text to write for each window; no texts at all where the row is not trained on."""
    answers = row.get("answers")
    if answers is None:
        return []
    if not answers:
        return [""] * len(spans)
    found = first_usable(row["context"], answers)
    if found is None:
        return [answers[0]["text"]] if len(spans) == 1 else []
    text = row["context"][found[0] : found[1]]
    return [text if start <= found[0] and found[1] <= end else "" for start, end in spans]
