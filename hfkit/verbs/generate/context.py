"""Prompts as tokens that fit the model's context, by the rule that generate.overflow names."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from hfkit.engine.decoding.context import added_begin, last_tokens
from hfkit.errors import ModelError
from hfkit.recipe.keys import Generate


@dataclass(frozen=True, slots=True)
class Encoded:
    """A prompt as the model reads it; `cut` counts the tokens at its left end that are left out."""

    ids: list[int]
    cut: int = 0


def encode(texts: Sequence[str], tokenizer: Any, settings: Generate, limit: int) -> list[Encoded]:
    """Each prompt's tokens, cut where generate.overflow allows it. Raises ModelError for one that has none."""
    start, begin = begin_token(tokenizer), added_begin(tokenizer)
    found: list[Encoded] = []
    for ids in tokenizer(list(texts), return_attention_mask=False, verbose=False)["input_ids"]:
        if not ids:
            if start is None:
                raise ModelError("the tokenizer has no token to begin an empty prompt with", "give a prompt with text")
            ids = [start]
        found.append(fitted(list(ids), settings, limit, begin))
    return found


def begin_token(tokenizer: Any) -> int | None:
    """What an empty prompt begins with: the begin token, else the end token."""
    return tokenizer.bos_token_id if tokenizer.bos_token_id is not None else tokenizer.eos_token_id


def fitted(ids: list[int], settings: Generate, limit: int, begin: int | None = None) -> Encoded:
    """The tokens of a prompt in a context of `limit` tokens.

    - error: as they are; who decodes refuses a prompt that leaves no room.
    - truncate: the last ones, so that all new tokens fit too, but at least half a context of them.
    - slide: as they are while one new token fits, else the last half a context.
    The token `begin` at the left end stays.
    """
    match settings.overflow:
        case "error":
            keep = len(ids)
        case "truncate":
            keep = max(limit - settings.max_new_tokens, limit // 2)
        case "slide":
            keep = len(ids) if len(ids) < limit else limit // 2
    return Encoded(last_tokens(ids, keep, begin), max(0, len(ids) - keep))
