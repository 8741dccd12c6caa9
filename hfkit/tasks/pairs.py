"""One text or two to tokens, and how many tokens are enough; the encoding that nli and classify share."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from hfkit.tasks.base import Feature, Resolution, Row, batched
from hfkit.tasks.sample import some

if TYPE_CHECKING:
    from transformers import PretrainedConfig, PreTrainedTokenizerBase

SHARE = 99  # percentile of the lengths that is kept whole
STEP = 8  # lengths are rounded up to a multiple of this


def encode_texts(
    rows: Iterable[Row], tokenizer: PreTrainedTokenizerBase, first: str, second: str, max_length: int | None
) -> Iterator[tuple[Row, Feature]]:
    """Each row with its feature (row, input_ids, and token_type_ids if the tokenizer has them), in row order.

    `second` is left out when the rows do not have it. What is longer than `max_length` tokens loses tokens of the
    longer text first (BERT's rule, `longest_first`); null keeps everything.
    """
    columns = ["input_ids", *(["token_type_ids"] if "token_type_ids" in tokenizer.model_input_names else [])]
    number = 0
    for chunk in batched(rows, 1000):
        encoded = _tokenize(chunk, tokenizer, first, second, max_length)
        values = [encoded[name] for name in columns]
        for row, *each in zip(chunk, *values, strict=True):
            if not each[0]:  # a tokenizer that adds no tokens, and an empty text: the model needs one to look at
                each = [[_filler(tokenizer)], *([0] for _ in each[1:])]
            yield row, {"row": number, **dict(zip(columns, each, strict=True))}
            number += 1


def resolve_length(
    key: str,
    wanted: int | str,
    rows: Sequence[Row],
    tokenizer: PreTrainedTokenizerBase,
    config: PretrainedConfig,
    columns: tuple[str, str],
) -> tuple[int, Resolution]:
    """The length in tokens for these rows: `wanted`, or for auto the 99th percentile, within the model's positions."""
    limit = _positions(config)
    lengths = _lengths(some(rows), tokenizer, *columns)
    if isinstance(wanted, int):
        length, why = min(wanted, limit), "as given" if wanted <= limit else f"{wanted} is beyond the model's positions"
    else:
        enough = int(np.percentile(lengths, SHARE, method="higher")) if len(lengths) else STEP
        length = min(-(-enough // STEP) * STEP, limit)
        why = f"{SHARE}th percentile of {len(lengths):,} rows is {enough} tokens"
    cut = int((lengths > length).sum())
    longest = int(lengths.max()) if len(lengths) else 0
    share = (
        f"{100 * cut / len(lengths):.3g} % of rows are truncated (longest: {longest})" if cut else "no row is truncated"
    )
    return length, Resolution(key, length, f"{why}; {share}")


def model_length(key: str, wanted: int | str, config: PretrainedConfig) -> tuple[int, Resolution | None]:
    """The length in tokens without looking at rows: `wanted`, or for auto the model's positions."""
    limit = _positions(config)
    if isinstance(wanted, int) and wanted <= limit:
        return wanted, None
    why = "the model's positions" if wanted == "auto" else f"{wanted} is beyond the model's positions"
    return limit, Resolution(key, limit, why)


def _tokenize(
    chunk: Sequence[Row], tokenizer: PreTrainedTokenizerBase, first: str, second: str, max_length: int | None
) -> Any:
    pair = [row[second] for row in chunk] if chunk[0].get(second) is not None else None
    return tokenizer(
        [row[first] for row in chunk],
        pair,
        truncation="do_not_truncate" if max_length is None else "longest_first",
        max_length=max_length,
        return_attention_mask=False,  # the engine makes it from the lengths
        verbose=False,  # no "longer than the model's maximum" for lengths that are only measured
    )


def _filler(tokenizer: PreTrainedTokenizerBase) -> int:
    """The token that stands for an empty text: the end, the beginning or the padding, whichever there is."""
    ids = (tokenizer.eos_token_id, tokenizer.bos_token_id, tokenizer.pad_token_id, 0)
    return next(int(value) for value in ids if value is not None)


def _lengths(rows: Iterable[Row], tokenizer: PreTrainedTokenizerBase, first: str, second: str) -> np.ndarray:
    counts = [
        len(tokens)
        for chunk in batched(rows, 1000)
        for tokens in _tokenize(chunk, tokenizer, first, second, None)["input_ids"]
    ]
    return np.asarray(counts, dtype=np.int64)


def _positions(config: PretrainedConfig) -> int:
    from hfkit.models import max_positions

    return max_positions(config)
