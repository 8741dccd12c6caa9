"""How much of a text a tokenizer knows: a model that reads the data as unknown tokens is refused before training."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from itertools import islice
from typing import TYPE_CHECKING

from hfkit.errors import ModelError

if TYPE_CHECKING:
    from transformers import PretrainedConfig, PreTrainedTokenizerBase

    from hfkit.tasks.base import Head

LIMIT = 0.05  # share of unknown tokens that is refused
SAMPLE = 1000  # texts looked at
USED = 0.9  # share of the embeddings that a tokenizer names; models round their number up
CHINESE = re.compile(r"[\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff]")
OTHER_SCRIPT = re.compile(r"[^\x00-\u024f\u2000-\u2bff\s]")


def unknown_share(tokenizer: PreTrainedTokenizerBase, texts: Iterable[str]) -> float:
    """The share (0-1) of the texts' tokens that the tokenizer does not know; 0 for byte-level ones and for no text."""
    unknown = tokenizer.unk_token_id
    sample = [text for text in islice(texts, SAMPLE) if text]
    if unknown is None or not sample or tokenizer.unk_token == tokenizer.eos_token:
        return 0.0
    encodings = tokenizer(
        sample, add_special_tokens=False, return_attention_mask=False, return_token_type_ids=False, verbose=False
    )
    total = sum(map(len, encodings["input_ids"]))
    return sum(ids.count(unknown) for ids in encodings["input_ids"]) / total if total else 0.0


def special_texts(tokenizer: PreTrainedTokenizerBase, texts: Iterable[str]) -> list[str]:
    """A line when texts hold words such as [SEP] that the tokenizer keeps for itself; they are read as plain text."""
    words = [word for word in tokenizer.all_special_tokens if len(word) > 1]
    found: Counter[str] = Counter()
    total = holding = 0
    for text in texts:
        total += 1
        inside = [word for word in words if word in text]
        holding += bool(inside)
        found.update(inside)
    if not holding:
        return []
    return [
        f"{holding:,} of {total:,} texts looked at hold {', '.join(found)}: read as text, not as tokens of the model"
    ]


def unused_embeddings(tokenizer: PreTrainedTokenizerBase, config: PretrainedConfig) -> list[str]:
    """A line when the tokenizer names far fewer entries than the model has: it may be another model's, or cut."""
    rows = getattr(config, "vocab_size", None)
    if not isinstance(rows, int) or len(tokenizer) >= USED * rows:
        return []
    return [
        f"the tokenizer has {len(tokenizer):,} entries, the model {rows:,} embeddings: is it this model's tokenizer?"
    ]


def check_vocabulary(
    tokenizer: PreTrainedTokenizerBase, texts: Iterable[str], name: str, head: Head | None = None
) -> float:
    """The unknown share of up to 1000 texts for the model `name`. Raises ModelError over 5 %, naming better models.

    Those named have `head`; without one they are encoders.
    """
    sample = list(islice(texts, SAMPLE))
    share = unknown_share(tokenizer, sample)
    if share <= LIMIT:
        return share
    raise ModelError(f"{name} does not know {share:.0%} of the data's tokens", _better("".join(sample), head))


def _better(text: str, head: Head | None) -> str:
    """Models that know the words of a text."""
    if head == "seq2seq-lm":
        if OTHER_SCRIPT.search(text):
            return "for other languages: facebook/mbart-large-50, or scratch:transformer-mini, which knows every byte"
        return "google-t5/t5-small for English, German, French, or scratch:transformer-mini, which knows every byte"
    if head == "causal-lm":
        return "openai-community/gpt2 knows every byte, scratch:gpt2-mini learns the data's own words"
    if len(CHINESE.findall(text)) > 0.2 * len(text):
        return "for Chinese: google-bert/bert-base-chinese, hfl/chinese-roberta-wwm-ext, or scratch:bert-mini"
    if OTHER_SCRIPT.search(text):
        return "for other languages: FacebookAI/xlm-roberta-base, or scratch:bert-mini"
    return "FacebookAI/roberta-base knows every byte, scratch:bert-mini learns the data's own words"
