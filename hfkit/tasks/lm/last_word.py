"""LAMBADA (Paperno et al. 2016): the last word of each passage, given all before it; how lm scores it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

from hfkit.errors import DataError
from hfkit.tasks.base import Feature, Row

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


def split_last_word(text: str, row_id: str) -> tuple[str, str]:
    """(everything before the last blank, a blank and the last word). Raises DataError for a text of one word."""
    before, blank, word = text.rstrip().rpartition(" ")
    if not blank or not before.strip():
        raise DataError(f"row {row_id!r}: a passage needs two words or more, the last is asked for")
    return before, f" {word}"


def last_words(rows: Iterable[Row], tokenizer: PreTrainedTokenizerBase, size: int) -> Iterator[Feature]:
    """One feature a row, as `running_text.blocks` makes them: only the last word's tokens are scored.

    Context and word are tokenised apart, as lm-evaluation-harness does it. A context that is too long loses its
    beginning, so that `size` tokens are read at most.
    """
    backend: Any = tokenizer.backend_tokenizer
    for number, row in enumerate(rows):
        before, word = split_last_word(row["text"], row["id"])
        known, asked = (backend.encode(text, add_special_tokens=False).ids for text in (before, word))
        if len(asked) > size:
            raise DataError(f"row {row['id']!r}: its last word has {len(asked)} tokens, lm.block_size is {size}")
        known = known[-(size + 1 - len(asked)) :]
        ids = known + asked
        yield {
            "row": number,
            "input_ids": ids[:-1],
            "targets": ids[1:],
            "context": len(known) - 1,
            "bytes": len(word.encode()),
        }
