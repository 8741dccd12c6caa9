"""Sources and targets to tokens, lengths that are enough, and the loss of an encoder-decoder."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from hfkit.tasks.base import Feature, Resolution, Row, batched

if TYPE_CHECKING:
    import torch
    from transformers import PretrainedConfig, PreTrainedTokenizerBase

    from hfkit.tasks.base import Batch

IGNORED = -100  # what engine/collate.py pads targets with, and cross-entropy passes over
SHARE = 99  # percentile of the lengths that is kept whole
STEP = 8  # lengths are rounded up to a multiple of this
_AT_ONCE = 1000


def source_tokens(texts: Sequence[str], tokenizer: PreTrainedTokenizerBase) -> list[list[int]]:
    """The ids of sources with the special tokens that the model's own tokenizer puts around them."""
    return _whole(tokenizer(list(texts), return_attention_mask=False, verbose=False)["input_ids"], tokenizer)


def target_tokens(texts: Sequence[str], tokenizer: PreTrainedTokenizerBase) -> list[list[int]]:
    """The ids of targets, an end token (and a language's, where the model has such) with them."""
    if not texts:
        return []
    encoded = tokenizer(text_target=list(texts), return_attention_mask=False, verbose=False)
    return _whole(encoded["input_ids"], tokenizer)


def shortened(ids: list[int], length: int, tokenizer: PreTrainedTokenizerBase) -> list[int]:
    """At most `length` ids: what is cut goes before the special tokens that close the text, which stay."""
    if len(ids) <= length:
        return ids
    special = set(tokenizer.all_special_ids)
    closing = 0
    while closing < min(2, length) and ids[len(ids) - 1 - closing] in special:
        closing += 1
    return ids[: length - closing] + ids[len(ids) - closing :]


def pairs(
    rows: Iterable[Row], tokenizer: PreTrainedTokenizerBase, *, prefix: str, max_source: int, max_target: int
) -> Iterator[Feature]:
    """Feature columns: row, input_ids, target_ids (empty without a target), source_cut: tokens of the source cut off.

    A null target is no target; an empty text is one that ends at once.
    """
    number = 0
    for chunk in batched(rows, _AT_ONCE):
        sources = source_tokens([prefix + row["source"] for row in chunk], tokenizer)
        golds = iter(target_tokens([row["target"] for row in chunk if isinstance(row.get("target"), str)], tokenizer))
        for row, ids in zip(chunk, sources, strict=True):
            target = next(golds) if isinstance(row.get("target"), str) else []
            yield {
                "row": number,
                "input_ids": shortened(ids, max_source, tokenizer),
                "target_ids": shortened(target, max_target, tokenizer),
                "source_cut": max(0, len(ids) - max_source),
            }
            number += 1


def smoothed_loss(outputs: Any, batch: Batch, smoothing: float) -> tuple[torch.Tensor, torch.Tensor]:
    """(sum of nats, target tokens): logits (features, target tokens, vocabulary) in float32, padding left out.

    (1 - e) -ln p(token) + e mean(-ln p) over the vocabulary (Szegedy et al. 2016; Vaswani et al. 2017, 5.4).
    """
    from torch.nn.functional import cross_entropy

    targets = batch["target_ids"].flatten()
    logits = outputs.logits.float().flatten(0, 1)
    total = cross_entropy(logits, targets, ignore_index=IGNORED, reduction="sum", label_smoothing=smoothing)
    return total, (targets != IGNORED).sum()


def resolved_length(
    key: str, wanted: int | str, lengths: np.ndarray, config: PretrainedConfig, what: str
) -> tuple[int, Resolution]:
    """`wanted`, or for auto the 99th percentile of `lengths` (tokens), within the positions that the model has."""
    from hfkit.models import has_fixed_positions, max_positions

    limit = max_positions(config)
    if isinstance(wanted, int):
        beyond = wanted > limit and has_fixed_positions(config)
        length, why = (limit, f"{wanted} is beyond the model's positions") if beyond else (wanted, "as given")
    else:
        enough = int(np.percentile(lengths, SHARE, method="higher")) if len(lengths) else STEP
        length = min(-(-enough // STEP) * STEP, limit)
        why = f"{SHARE}th percentile of {len(lengths):,} {what} is {enough} tokens"
    cut = int((lengths > length).sum())
    longest = f" (longest: {int(lengths.max())})" if cut else ""
    return length, Resolution(key, length, f"{why}; {f'{cut:,}' if cut else 'none'} of them cut{longest}")


def lengths(texts: Iterable[str], tokenizer: PreTrainedTokenizerBase, *, target: bool) -> np.ndarray:
    """Tokens of each text, special ones included; (texts,) int64."""
    tokens = target_tokens if target else source_tokens
    return np.asarray([len(ids) for chunk in batched(texts, _AT_ONCE) for ids in tokens(chunk, tokenizer)], np.int64)


def _whole(found: Any, tokenizer: PreTrainedTokenizerBase) -> list[list[int]]:
    """No text is without a token: where the tokenizer adds none, an empty text is its end token."""
    end = tokenizer.eos_token_id if tokenizer.eos_token_id is not None else tokenizer.pad_token_id
    return [list(ids) or [int(end or 0)] for ids in found]
