"""What stays of a text that does not fit a model's context. Used by decode.py and by `generate`. No torch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any


def added_begin(tokenizer: Any) -> int | None:
    """The begin token that the tokenizer puts before every text by itself; None where it puts none."""
    begin = tokenizer.bos_token_id
    return begin if begin is not None and tokenizer("")["input_ids"][:1] == [begin] else None


def last_tokens(ids: Sequence[int], count: int, begin: int | None) -> list[int]:
    """The last `count` of `ids`. A begin token at their left end stays: a model that was trained with one before every
    text has never read a text without it."""
    if len(ids) <= count:
        return list(ids)
    head = [begin] if begin is not None and ids[0] == begin else []
    return [*head, *ids[len(ids) - count + len(head) :]]
