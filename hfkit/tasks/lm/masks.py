"""Which tokens of a block are hidden, and what stands in their place: BERT's masks (Devlin et al. 2019)."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np

from hfkit.errors import ModelError, UsageError
from hfkit.tasks.base import Feature

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

SHARE = 0.15  # of a block's tokens are asked for: 80 % of them hidden, 10 % another word, 10 % left as they are
HIDDEN, OTHER = 0.8, 0.9  # below the first: [MASK]; below the second: a word drawn from the vocabulary


def masked(feature: Feature, rng: np.random.Generator) -> Feature:
    """The block with masks drawn by `rng`: 15 % of its tokens (one at least), the words of `word` whole, 0 never.

    Adds `targets`, the tokens as they were, and `asked` (1: this token's logits are wanted), one number a token each.
    """
    ids, word = np.asarray(feature["input_ids"]), np.asarray(feature["word"])
    tokens = np.bincount(word)  # of each word
    drawn = 1 + rng.permutation(len(tokens) - 1)
    wanted = max(1, round(SHARE * int((word > 0).sum())))
    enough = int(np.searchsorted(np.cumsum(tokens[drawn]), wanted)) + 1
    asked = np.isin(word, drawn[:enough])
    fate, others = rng.random(len(ids)), rng.integers(0, feature["vocabulary"], len(ids))
    replaced = np.where(fate < HIDDEN, feature["mask_id"], np.where(fate < OTHER, others, ids))
    return {**feature, "input_ids": np.where(asked, replaced, ids), "targets": ids, "asked": asked.astype(np.int64)}


def hidden_at(feature: Feature, place: int) -> Feature:
    """The block with the token at `place` hidden, and no other; as it is where that is not a token of the text."""
    ids, asked = np.asarray(feature["input_ids"]), np.zeros(len(feature["input_ids"]), dtype=np.int64)
    if place >= len(ids) or not feature["word"][place]:
        return {**feature, "targets": ids, "asked": asked}
    hidden = ids.copy()
    hidden[place], asked[place] = feature["mask_id"], 1
    return {**feature, "input_ids": hidden, "targets": ids, "asked": asked}


def frame(tokenizer: PreTrainedTokenizerBase) -> tuple[list[int], list[int]]:
    """The special tokens before and after a text, such as [CLS] and [SEP]. Raises ModelError without a mask token."""
    if tokenizer.mask_token_id is None:
        raise ModelError("the tokenizer has no mask token, so words cannot be hidden", "take a BERT's checkpoint")
    backend: Any = tokenizer.backend_tokenizer
    encoding = backend.encode("a")
    inserted = np.asarray(encoding.special_tokens_mask)
    inside = np.flatnonzero(inserted == 0)
    first, last = (int(inside[0]), int(inside[-1]) + 1) if len(inside) else (len(inserted), len(inserted))
    return encoding.ids[:first], encoding.ids[last:]


def continuing(tokenizer: PreTrainedTokenizerBase) -> np.ndarray:
    """(entries,) bool: tokens that go on with a word, such as `##ing`. Raises UsageError where none is marked so."""
    backend: Any = tokenizer.backend_tokenizer
    model = json.loads(backend.to_str())["model"]
    prefix = model.get("continuing_subword_prefix") if model["type"] == "WordPiece" else None
    if not prefix:
        raise UsageError(
            f"lm.whole_word needs a WordPiece tokenizer, and this one is of the kind {model['type']}", "leave it out"
        )
    entries = tokenizer.get_vocab()
    found = np.zeros(max(entries.values()) + 1, dtype=bool)
    found[[number for token, number in entries.items() if token.startswith(prefix)]] = True
    return found
