"""A word-level tokenizer, model configs, and the way from logits to predictions without a trained model."""

from collections.abc import Mapping, Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import BertConfig, PreTrainedTokenizerFast

from hfkit.engine.collate import collate
from hfkit.tasks.base import Prediction, Row

WORDS = ("the", "a", "cat", "dog", "sat", "ran", "on", "mat", "not", "good", "bad", "film", "was", "it", "one", "two")
Columns = dict[str, np.ndarray]


def words(*, types: bool = True) -> PreTrainedTokenizerFast:
    """[CLS] first [SEP] second [SEP]; a word is a token."""
    vocab = {word: i for i, word in enumerate(("[PAD]", "[UNK]", "[CLS]", "[SEP]", *WORDS))}
    core = Tokenizer(models.WordLevel(vocab, unk_token="[UNK]"))
    core.pre_tokenizer = pre_tokenizers.Whitespace()
    core.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS]:0 $A:0 [SEP]:0 $B:1 [SEP]:1", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    names = ["input_ids", "token_type_ids", "attention_mask"] if types else ["input_ids", "attention_mask"]
    return PreTrainedTokenizerFast(
        tokenizer_object=core, pad_token="[PAD]", unk_token="[UNK]", cls_token="[CLS]", sep_token="[SEP]",
        model_input_names=names,
    )  # fmt: skip


def config(names: Sequence[str] | None = None, *, positions: int = 64, problem: str | None = None) -> BertConfig:
    """A tiny BERT; with `names` it has a trained head of these labels."""
    shape = {
        "vocab_size": 24,
        "hidden_size": 16,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "intermediate_size": 16,
    }
    if names is None:
        return BertConfig(**shape, max_position_embeddings=positions, architectures=["BertModel"])
    return BertConfig(
        **shape,
        max_position_embeddings=positions,
        architectures=["BertForSequenceClassification"],
        id2label=dict(enumerate(names)),
        label2id={name: place for place, name in enumerate(names)},
        problem_type=problem,
    )


def numbered(rows: Sequence[Mapping[str, Any]]) -> list[Row]:
    return [{"id": str(number), **row} for number, row in enumerate(rows)]


def answer(task: Any, rows: Sequence[Row], logits: torch.Tensor) -> list[Prediction]:
    """Predictions as the engine makes them, from logits (rows, labels)."""
    batch = collate(list(task.encode(rows, words())), 0)
    reads = task.read(SimpleNamespace(logits=logits), batch)
    kept = [{name: value[i].numpy() for name, value in reads.items()} for i in range(len(rows))]
    return [task.merge(row, [read]) for row, read in zip(rows, kept, strict=True)]


def loss(task: Any, rows: Sequence[Row], logits: torch.Tensor) -> tuple[float, int]:
    batch = collate(list(task.encode(rows, words())), 0)
    total, count = task.loss(SimpleNamespace(logits=logits), batch)
    return total.item(), int(count)


def measured(task: Any, predictions: Sequence[Prediction], rows: Sequence[Row]) -> Columns:
    each = [task.measure(prediction, row) for prediction, row in zip(predictions, rows, strict=True)]
    found = [values for values in each if values is not None]
    assert all(set(values) == set(found[0]) for values in found)
    return {name: np.array([values[name] for values in found]) for name in found[0]}
