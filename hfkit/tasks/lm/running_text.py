"""Long texts to tokens in bounded memory, and tokens to blocks in which each is scored once; both objectives of lm."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from hfkit.tasks.base import Feature, batched

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

Tokens = tuple[np.ndarray, np.ndarray]  # ids (tokens,) int32, and the UTF-8 bytes of the text each stands for, int32

CHUNK = 1 << 14  # characters that go through the tokenizer as one text
CHUNKS = 16  # texts that go through it together, on all its threads
CUT = re.compile(r"(?<=\S)(?=[ \n])")
END = None  # stands between two documents


def tokens_of(texts: Iterable[str], tokenizer: PreTrainedTokenizerBase, *, joined: bool) -> Iterator[Tokens]:
    """The tokens of `texts` in pieces. `joined`: they are one text, nothing between; else an end token separates them.

    The ids are those of each whole text: a byte-level BPE with GPT-2's own split, and BERT's WordPiece, never look
    across the place between a visible character and a blank or line end, so their texts are cut there; others go
    through the tokenizer whole. Empty texts are left out. The sizes of one text add up to its UTF-8 bytes; an end token
    has none.
    """
    filled = (text for text in texts if text)
    by_bytes = cuts_at_blanks(tokenizer)
    sizes = _sizes_by_id(tokenizer) if by_bytes else None
    cut = by_bytes or cuts_between_words(tokenizer)
    for group in batched(_chunks(filled, joined) if cut else _uncut(filled, joined), CHUNKS):
        yield from _encoded(group, tokenizer, sizes)


def end_id(tokenizer: PreTrainedTokenizerBase) -> int:
    """The token between two documents: end of text, of BERTs [SEP]. Text of the data never becomes it."""
    return int(tokenizer.sep_token_id if tokenizer.eos_token_id is None else tokenizer.eos_token_id)


def pieces_of(stream: Iterable[Tokens], size: int) -> Iterator[Tokens]:
    """The tokens of a stream in pieces of `size`, the last one shorter; none twice, none left out."""
    ids, sizes = np.zeros(0, dtype=np.int32), np.zeros(0, dtype=np.int32)
    for more_ids, more_sizes in stream:
        ids, sizes = np.concatenate([ids, more_ids]), np.concatenate([sizes, more_sizes])
        whole = len(ids) - len(ids) % size
        for begin in range(0, whole, size):
            yield ids[begin : begin + size], sizes[begin : begin + size]
        ids, sizes = ids[whole:], sizes[whole:]
    if len(ids):
        yield ids, sizes


def blocks(pieces: Iterable[Tokens], size: int, stride: int) -> Iterator[Feature]:
    """Blocks of at most `size` inputs that score `stride` new tokens each (the first one up to `size`).

    The tokens are one stream: its first is never scored, every other exactly once. A block ends where the one before it
    ended plus `stride` and looks back as far as `size` allows, the last one too (lm-evaluation-harness' rolling windows
    with stride = size - context + 1). `targets` are the tokens after `input_ids`; the first `context` are not scored;
    `bytes` are those of the scored tokens.
    """
    ids, sizes = np.zeros(0, dtype=np.int32), np.zeros(0, dtype=np.int32)
    done, row = 1, 0  # `done`: tokens of the buffer that are scored or the very first

    def block(end: int) -> Feature:
        begin = max(0, end - 1 - size)
        return {
            "row": row,
            "input_ids": ids[begin : end - 1].tolist(),
            "targets": ids[begin + 1 : end].tolist(),
            "context": done - 1 - begin,
            "bytes": int(sizes[done:end].sum()),
        }

    for more_ids, more_sizes in pieces:
        ids, sizes = np.concatenate([ids, more_ids]), np.concatenate([sizes, more_sizes])
        while len(ids) >= done + (stride if row else size):
            end = done + (stride if row else size)
            yield block(end)
            done, row = end, row + 1
        seen = max(0, done - 1 - size)
        ids, sizes, done = ids[seen:], sizes[seen:], done - seen
    if len(ids) > done:
        yield block(len(ids))


def cuts_at_blanks(tokenizer: PreTrainedTokenizerBase) -> bool:
    """Whether a text can be cut before a blank that follows a visible character without changing one token.

    GPT-2's split consists of runs of letters, digits or signs, each with at most one blank before it, and of blanks;
    only the end of a run of blanks depends on what follows. That holds as long as nothing else looks at the text.
    """
    backend: Any = tokenizer.backend_tokenizer
    parts = json.loads(backend.to_str())
    split, model = parts["pre_tokenizer"] or {}, parts["model"]
    added = [token for token in parts["added_tokens"] if not (token["special"] and backend.encode_special_tokens)]
    return (
        parts["normalizer"] is None
        and split.get("type") == "ByteLevel"
        and split.get("use_regex", True)
        and not split.get("add_prefix_space")
        and model["type"] == "BPE"
        and not model.get("dropout")
        and not any(t["lstrip"] or t["rstrip"] or re.search(r"\s", t["content"]) for t in added)
    )


def cuts_between_words(tokenizer: PreTrainedTokenizerBase) -> bool:
    """Whether a text can be cut before a blank because the tokenizer is BERT's, which reads word by word.

    Its normalizer changes single characters, and its split drops blanks.
    """
    backend: Any = tokenizer.backend_tokenizer
    parts = json.loads(backend.to_str())
    kinds = tuple((parts[name] or {}).get("type") for name in ("normalizer", "pre_tokenizer", "model"))
    return kinds == ("BertNormalizer", "BertPreTokenizer", "WordPiece")


def _uncut(texts: Iterable[str], joined: bool) -> Iterator[str | None]:
    """Whole texts, one where they are joined; END between documents."""
    for number, text in enumerate(iter(["".join(texts)]) if joined else texts):
        if number:
            yield END
        yield text


def _chunks(texts: Iterable[str], joined: bool) -> Iterator[str | None]:
    """Pieces of `CHUNK` characters or a little more; END between documents."""
    rest = ""
    for number, text in enumerate(texts):
        if number and not joined:
            yield rest
            yield END
            rest = ""
        text, begin = rest + text, 0
        while len(text) - begin > CHUNK and (cut := CUT.search(text, begin + CHUNK)):
            yield text[begin : cut.start()]
            begin = cut.start()
        rest = text[begin:]
    if rest:
        yield rest


def _encoded(
    group: list[str | None], tokenizer: PreTrainedTokenizerBase, sizes: np.ndarray | None
) -> Iterator[Tokens]:
    """Tokens of several texts. `sizes`: the bytes of each entry of the vocabulary; None: places in the text tell."""
    backend: Any = tokenizer.backend_tokenizer
    texts = [text for text in group if text is not None]
    encode = backend.encode_batch if sizes is None else backend.encode_batch_fast
    encodings = iter(encode(texts, add_special_tokens=False))
    for text in group:
        if text is None:
            yield np.asarray([end_id(tokenizer)], dtype=np.int32), np.zeros(1, dtype=np.int32)
        else:
            encoding = next(encodings)
            ids = np.asarray(encoding.ids, dtype=np.int32)
            yield ids, _sizes_by_place(text, encoding.offsets) if sizes is None else sizes[ids]


def _sizes_by_place(text: str, offsets: Any) -> np.ndarray:
    """A token's size reaches from the end of the one before it, the last one's to the end of the text."""
    points = np.frombuffer(text.encode("utf-32-le"), dtype=np.uint32)
    widths = 1 + (points > 0x7F).astype(np.int64) + (points > 0x7FF) + (points > 0xFFFF)
    places = np.concatenate([[0], np.cumsum(widths)])
    ends = np.maximum.accumulate(np.asarray([end for _, end in offsets], dtype=np.int64))
    if len(ends):
        ends[-1] = len(points)
    return np.diff(places[ends], prepend=0).astype(np.int32)


def _sizes_by_id(tokenizer: PreTrainedTokenizerBase) -> np.ndarray:
    """The bytes of each entry: byte-level BPE writes one character for each byte; added tokens stand as they are."""
    vocabulary, added = tokenizer.get_vocab(), tokenizer.get_added_vocab()
    sizes = np.zeros(max(vocabulary.values()) + 1, dtype=np.int32)
    for token, number in vocabulary.items():
        sizes[number] = len(token.encode()) if token in added else len(token)
    return sizes

