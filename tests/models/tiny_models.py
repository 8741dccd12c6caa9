"""Tiny checkpoints with random weights, one per family, with tokenizers trained on a few sentences."""

from __future__ import annotations

from pathlib import Path
from typing import Any

TEXTS = [
    "the small river runs behind the old mill and the mill stands still",
    "who built the mill? nobody knows who built it, the river does not say",
    "a boat on the river carries bread, salt and letters to the old town",
    "die Mühle steht still, der Fluss nicht",
] * 5
SIZES: dict[str, Any] = {
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 32,
    "max_position_embeddings": 128,
}


def word_piece() -> Any:
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, trainers
    from transformers import BertTokenizer

    inner = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    inner.normalizer = normalizers.BertNormalizer()
    inner.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    inner.train_from_iterator(
        TEXTS, trainers.WordPieceTrainer(vocab_size=200, special_tokens=special, show_progress=False)
    )
    return BertTokenizer(vocab=inner.get_vocab())


def _bpe(special: list[str]) -> tuple[dict[str, int], list[tuple[str, str]]]:
    import json

    from tokenizers import Tokenizer, models, pre_tokenizers, trainers

    inner = Tokenizer(models.BPE())
    inner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    inner.train_from_iterator(
        TEXTS,
        trainers.BpeTrainer(vocab_size=330, special_tokens=special, initial_alphabet=alphabet, show_progress=False),
    )
    model = json.loads(inner.to_str())["model"]
    return model["vocab"], [tuple(merge) for merge in model["merges"]]


def roberta() -> Any:
    from transformers import RobertaTokenizer

    vocab, merges = _bpe(["<s>", "<pad>", "</s>", "<unk>", "<mask>"])
    return RobertaTokenizer(vocab=vocab, merges=merges)


def gpt2() -> Any:
    from transformers import GPT2Tokenizer

    vocab, merges = _bpe(["<|endoftext|>"])
    return GPT2Tokenizer(vocab=vocab, merges=merges)


def modernbert() -> Any:
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    special = ["[UNK]", "[PAD]", "[CLS]", "[SEP]", "[MASK]"]
    vocab, merges = _bpe(special)
    inner = Tokenizer(models.BPE(vocab=vocab, merges=merges))
    inner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    inner.decoder = decoders.ByteLevel()
    inner.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B [SEP]",
        special_tokens=[("[CLS]", vocab["[CLS]"]), ("[SEP]", vocab["[SEP]"])],
    )
    names = {f"{name.strip('[]').lower()}_token": name for name in special}
    return PreTrainedTokenizerFast(tokenizer_object=inner, model_input_names=["input_ids", "attention_mask"], **names)


def unigram(class_name: str, special: list[str]) -> Any:
    """A SentencePiece-like tokenizer of one of transformers' classes: pieces with scores, spaces as a low line."""
    import json

    import transformers
    from tokenizers import Tokenizer, models, pre_tokenizers, trainers

    inner = Tokenizer(models.Unigram())
    inner.pre_tokenizer = pre_tokenizers.Metaspace()
    unknown = "<unk>" if "<unk>" in special else "[UNK]"
    inner.train_from_iterator(
        TEXTS, trainers.UnigramTrainer(vocab_size=120, special_tokens=special, unk_token=unknown, show_progress=False)
    )
    pieces = [tuple(piece) for piece in json.loads(inner.to_str())["model"]["vocab"]]
    return getattr(transformers, class_name)(vocab=pieces)


def tokenizer(family: str) -> Any:
    if family in ("bert", "distilbert", "electra", "ernie"):
        return word_piece()
    if family == "roberta":
        return roberta()
    if family == "gpt2":
        return gpt2()
    if family == "modernbert":
        return modernbert()
    if family == "xlm-roberta":
        return unigram("XLMRobertaTokenizer", ["<s>", "<pad>", "</s>", "<unk>", "<mask>"])
    if family == "camembert":
        return unigram("CamembertTokenizer", ["<s>", "<pad>", "</s>", "<unk>", "<mask>"])
    if family == "albert":
        return unigram("AlbertTokenizer", ["<pad>", "<unk>", "[CLS]", "[SEP]", "[MASK]"])
    return unigram("DebertaV2Tokenizer", ["[PAD]", "[CLS]", "[SEP]", "[UNK]", "[MASK]"])


def config(family: str, entries: int, pad: int | None) -> Any:
    """A config whose dropouts are all off zero, so that a test sees whether they were set."""
    from transformers import AutoConfig

    own: dict[str, Any] = dict(SIZES)
    if family == "gpt2":
        own = {"n_embd": 16, "n_layer": 2, "n_head": 2, "n_positions": 128, "bos_token_id": 0, "eos_token_id": 0}
    elif family == "distilbert":
        own = {"dim": 16, "n_layers": 2, "n_heads": 2, "hidden_dim": 32, "max_position_embeddings": 128}
    elif family in ("roberta", "xlm-roberta", "camembert"):
        own["max_position_embeddings"] = 130
    elif family in ("electra", "albert"):
        own["embedding_size"] = 16
    elif family == "deberta-v2":
        own |= {
            "relative_attention": True,
            "pos_att_type": ["p2c", "c2p"],
            "position_biased_input": False,
            "position_buckets": 16,
        }
    elif family == "modernbert":
        own |= {"global_attn_every_n_layers": 2, "local_attention": 8, "attention_dropout": 0.1, "mlp_dropout": 0.1}
        own |= {"cls_token_id": 2, "sep_token_id": 3, "bos_token_id": 2, "eos_token_id": 3}
    if pad is not None:
        own["pad_token_id"] = pad
    return AutoConfig.for_model(family, vocab_size=entries, initializer_range=0.5, **own)


def save(family: str, folder: Path, head: str = "AutoModel", **changes: Any) -> Path:
    """A checkpoint of `family` in `folder` under one of transformers' Auto classes, weights from seed 0."""
    import torch
    import transformers

    tokens = tokenizer(family)
    shape = config(family, len(tokens), tokens.pad_token_id)
    for name, value in changes.items():
        setattr(shape, name, value)
    torch.manual_seed(0)
    model = getattr(transformers, head).from_config(shape)
    model.save_pretrained(folder)
    tokens.save_pretrained(folder)
    return folder
