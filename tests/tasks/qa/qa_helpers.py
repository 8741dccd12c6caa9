"""Small tokenizers of each kind that QA meets, and the way from logits to predictions without a model."""

from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast

from hfkit.engine.collate import collate
from hfkit.tasks.qa.settings import QASettings
from hfkit.tasks.qa.task import QA

LETTERS = "abcdefghijklmnopqrstuvwxyz0123456789"
WORDS = ["cat", "dog", "paris", "##is", "##ing", "an", "the", "##the"]


def wordpiece(*, types: bool = True, layout: str = "bert") -> PreTrainedTokenizerFast:
    """BERT's way: lower case, accents dropped, characters outside the vocabulary unknown.

    layout "xlnet": [CLS] at the end, padded left. types False: the tokenizer declares no token types (DistilBERT).
    """
    pieces = [*LETTERS, *(f"##{c}" for c in LETTERS), *WORDS, *".,!?()-'", *"中国北京大学人"]
    vocab = {piece: i for i, piece in enumerate(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *dict.fromkeys(pieces)])}
    core = Tokenizer(models.WordPiece(vocab, unk_token="[UNK]"))
    core.normalizer = normalizers.BertNormalizer(lowercase=True)
    core.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    pair = "[CLS]:0 $A:0 [SEP]:0 $B:1 [SEP]:1" if layout == "bert" else "$A:0 [SEP]:0 $B:1 [SEP]:1 [CLS]:2"
    names = ["input_ids", "token_type_ids", "attention_mask"] if types else ["input_ids", "attention_mask"]
    special = [("[CLS]", 2), ("[SEP]", 3)]
    core.post_processor = processors.TemplateProcessing(single="$A", pair=pair, special_tokens=special)
    return PreTrainedTokenizerFast(
        tokenizer_object=core, pad_token="[PAD]", unk_token="[UNK]", cls_token="[CLS]", sep_token="[SEP]",
        padding_side="right" if layout == "bert" else "left",
        model_input_names=names,
    )  # fmt: skip


def byte_level(*, template: bool = True, trim: bool = True) -> PreTrainedTokenizerFast:
    """GPT-2's way: bytes, no [CLS]; with `template` an end token after question and context.

    trim False: offsets count the space before a word to the word, as DeBERTa's do.
    """
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocab = {piece: i for i, piece in enumerate(["<eos>", *alphabet, "th", "the", "Ġthe"])}
    core = Tokenizer(models.BPE(vocab, merges=[("t", "h"), ("th", "e"), ("Ġ", "the")]))
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    core.decoder = decoders.ByteLevel()
    offsets = processors.ByteLevel(trim_offsets=trim)
    pair = processors.TemplateProcessing(single="$A", pair="$A <eos> $B <eos>", special_tokens=[("<eos>", 0)])
    core.post_processor = processors.Sequence([offsets, pair]) if template else offsets
    return PreTrainedTokenizerFast(
        tokenizer_object=core, eos_token="<eos>", pad_token="<eos>", model_input_names=["input_ids", "attention_mask"]
    )


def spaced_words() -> PreTrainedTokenizerFast:
    """SentencePiece's way with [CLS] in front: a word's offsets begin at the space before it."""
    core = Tokenizer(models.WordLevel({"[PAD]": 0, "[UNK]": 1, "[CLS]": 2, "[SEP]": 3}, unk_token="[UNK]"))
    core.pre_tokenizer = pre_tokenizers.Split(Regex(r"\s*\S+"), behavior="isolated")
    core.post_processor = processors.TemplateProcessing(
        single="$A", pair="[CLS] $A [SEP] $B [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=core, pad_token="[PAD]", unk_token="[UNK]", cls_token="[CLS]", sep_token="[SEP]",
        model_input_names=["input_ids", "attention_mask"],
    )  # fmt: skip


def qa(**settings: Any) -> QA:
    """A task without open settings."""
    open_ones = {"scorer": "squad", "max_answer_length": 100, "max_length": 40, "stride": 8, "max_question_length": 10}
    return QA(QASettings(**(open_ones | settings)))


def row(context: str, *answers: tuple[str, int | None], question: str = "a cat ?", id: str = "r") -> dict[str, Any]:
    return {
        "id": id,
        "question": question,
        "context": context,
        "answers": [{"text": text, "start": start} for text, start in answers],
    }


Logits = Callable[[dict[str, Any]], tuple[Sequence[float], Sequence[float]]]


def gold_logits(feature: dict[str, Any]) -> tuple[np.ndarray, np.ndarray]:
    """9 at the labelled tokens where a window holds the answer, else 0 everywhere."""
    start, end = np.zeros(len(feature["input_ids"])), np.zeros(len(feature["input_ids"]))
    if feature["start_position"] not in (feature["null_index"], -100):
        start[feature["start_position"]] = end[feature["end_position"]] = 9
    return start, end


def run_batch(task: QA, features: list[dict[str, Any]], logits: Logits) -> tuple[Any, dict[str, torch.Tensor]]:
    """(outputs as a model would give them, batch); padding gets high logits, which nothing may ever choose."""
    batch = collate(features, 0)
    width = batch["input_ids"].shape[1]
    starts, ends = np.full((2, len(features), width), 50.0, dtype=np.float32)
    for number, feature in enumerate(features):
        size = len(feature["input_ids"])
        starts[number, :size], ends[number, :size] = logits(feature)
    return SimpleNamespace(start_logits=torch.from_numpy(starts), end_logits=torch.from_numpy(ends)), batch


def predictions(
    task: QA, rows: list[dict[str, Any]], features: list[dict[str, Any]], logits: Logits = gold_logits, size: int = 16
) -> list[dict[str, Any]]:
    """One prediction a row, by the task's own read and merge."""
    reads: list[list[dict[str, np.ndarray]]] = [[] for _ in rows]
    for begin in range(0, len(features), size):
        part = features[begin : begin + size]
        outputs, batch = run_batch(task, part, logits)
        read = {name: value.numpy() for name, value in task.read(outputs, batch).items()}
        for number, feature in enumerate(part):
            reads[feature["row"]].append({name: value[number] for name, value in read.items()})
    return [task.merge(one, found) for one, found in zip(rows, reads, strict=True)]
