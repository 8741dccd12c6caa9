"""Named model shapes with fresh weights, and their tokenizers, trained on the training texts with `tokenizers`."""

from __future__ import annotations

import json
import re
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hfkit.errors import DataError, ModelError
from hfkit.models.checkpoint import Checkpoint
from hfkit.models.quiet import quiet

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from hfkit.recipe.keys import Scratch
    from hfkit.tasks.base import Head

END = "<|endoftext|>"
BERT_TOKENS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
IDEOGRAPHS = re.compile(r"[\u3400-\u9fff\uac00-\ud7af\uf900-\ufaff]")


def _gpt2(layers: int, width: int, heads: int, positions: int) -> dict[str, Any]:
    return {"model_type": "gpt2", "n_layer": layers, "n_embd": width, "n_head": heads, "n_positions": positions}


def _bert(layers: int, width: int, heads: int, positions: int) -> dict[str, Any]:
    return {
        "model_type": "bert",
        "num_hidden_layers": layers,
        "hidden_size": width,
        "intermediate_size": 4 * width,
        "num_attention_heads": heads,
        "max_position_embeddings": positions,
    }


def _marian(layers: int, width: int, heads: int, positions: int) -> dict[str, Any]:
    """The Transformer of Vaswani et al. (2017): sinusoidal positions, one table of vectors for all three uses."""
    sides = {
        f"{side}_{name}": value
        for side in ("encoder", "decoder")
        for name, value in (("layers", layers), ("ffn_dim", 4 * width), ("attention_heads", heads))
    }
    return {
        "model_type": "marian",
        "d_model": width,
        "max_position_embeddings": positions,
        "activation_function": "relu",
        "scale_embedding": True,
        "init_std": width**-0.5,
        "forced_eos_token_id": None,
        **sides,
    }


SHAPES = {
    "gpt2-nano": _gpt2(4, 128, 4, 256),
    "gpt2-mini": _gpt2(6, 384, 6, 512),
    "gpt2": _gpt2(12, 768, 12, 1024),
    "bert-mini": _bert(4, 256, 4, 512),
    "bert-base": _bert(12, 768, 12, 512),
    "transformer-mini": _marian(3, 256, 4, 512),
}


HEADS: dict[str, tuple[Head, ...]] = {
    "gpt2": ("causal-lm", "question-answering", "sequence-classification"),
    "bert": ("masked-lm", "question-answering", "sequence-classification"),
    "marian": ("seq2seq-lm",),
}


def build_scratch(name: str, texts: Iterable[str], scratch: Scratch, head: Head, folder: Path) -> Checkpoint:
    """Train a tokenizer on `texts`, write it and the config of shape `name`; `load_model` makes the weights.

    `texts` is read once, as a stream. The same texts give the same files. The config's vocab_size is the number of
    entries found, which may be less than `scratch.vocab_size`. Raises ModelError when the shape has no such head,
    DataError when there is no text.
    """
    from transformers import AutoConfig

    if name not in SHAPES:
        raise ModelError(f"no scratch model '{name}'", f"there are {', '.join(SHAPES)}")
    shape = dict(SHAPES[name])
    kind = shape.pop("model_type")
    if head not in HEADS[kind]:
        fit = [n for n, other in SHAPES.items() if head in HEADS[other["model_type"]]]
        raise ModelError(f"scratch:{name} has no {head} head", f"take scratch:{fit[0]}")
    tokenizer = _trained_tokenizer(kind, texts, scratch)
    tokenizer.model_max_length = shape.get("n_positions") or shape["max_position_embeddings"]
    end, pad = tokenizer.eos_token_id, tokenizer.pad_token_id
    ids = {
        "gpt2": {"bos_token_id": end, "eos_token_id": end, "pad_token_id": end},
        "bert": {"pad_token_id": pad},
        "marian": {"eos_token_id": end, "pad_token_id": pad, "decoder_start_token_id": pad},
    }[kind]
    config = AutoConfig.for_model(kind, vocab_size=len(tokenizer), **shape, **ids)
    with quiet():
        config.save_pretrained(folder)
        tokenizer.save_pretrained(folder)
    return Checkpoint(
        name=f"scratch:{name}", folder=folder, scratch=name, config={**config.to_dict(), "model_type": kind}
    )


def _trained_tokenizer(kind: str, texts: Iterable[str], scratch: Scratch) -> PreTrainedTokenizerBase:
    if kind == "bert":
        return _word_piece(texts, scratch.vocab_size, scratch.lowercase)
    return _byte_level(texts, scratch.vocab_size) if kind == "gpt2" else _joint_bytes(texts, scratch.vocab_size)


def _counted(texts: Iterable[str], seen: list[int]) -> Iterator[str]:
    """Pass non-empty texts on; `seen[0]` counts them."""
    for text in texts:
        if text:
            seen[0] += 1
            yield text


def _byte_level(texts: Iterable[str], size: int) -> PreTrainedTokenizerBase:
    """Byte-level BPE as GPT-2's: every text can be written, there is no unknown token."""
    from tokenizers import Tokenizer, models, pre_tokenizers, trainers
    from transformers import GPT2Tokenizer

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    trainer = trainers.BpeTrainer(
        vocab_size=size,
        special_tokens=[END],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    _train(tokenizer, texts, trainer)
    trained = json.loads(tokenizer.to_str())["model"]
    merges = [tuple(merge.split(" ")) if isinstance(merge, str) else tuple(merge) for merge in trained["merges"]]
    return GPT2Tokenizer(vocab=trained["vocab"], merges=merges, pad_token=END)


def _joint_bytes(texts: Iterable[str], size: int) -> PreTrainedTokenizerBase:
    """Byte-level BPE learnt on sources and targets together, with an end token after each text.

    One vocabulary lets encoder, decoder and output share one table, and names stay as they are. A blank is put before
    the first word, so that a word is one token wherever it stands.
    """
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    tokenizer.decoder = decoders.Sequence([decoders.ByteLevel(), decoders.Strip(" ", 1, 0)])
    trainer = trainers.BpeTrainer(
        vocab_size=size,
        special_tokens=["<pad>", "</s>"],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    _train(tokenizer, texts, trainer)
    tokenizer.post_processor = processors.TemplateProcessing(
        single="$A </s>", pair="$A $B </s>", special_tokens=[("</s>", tokenizer.token_to_id("</s>"))]
    )
    names = ["input_ids", "attention_mask"]
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="<pad>", eos_token="</s>", model_input_names=names
    )


def _word_piece(texts: Iterable[str], size: int, lowercase: bool) -> PreTrainedTokenizerBase:
    """WordPiece as BERT's: text cleaned, accents dropped with case, each Chinese character a word of its own.

    The trainer numbers word-inner characters in the order of a hash table, which differs from run to run, so their
    numbers are given to it: the texts are read once, spooled, and trained on from there.
    """
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, trainers
    from transformers import BertTokenizer

    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(
        clean_text=True, handle_chinese_chars=True, strip_accents=None, lowercase=lowercase
    )
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    with tempfile.TemporaryFile("w+", encoding="utf-8") as spool:
        counts: Counter[str] = Counter()
        for text in texts:
            counts.update(text)
            spool.write(json.dumps(text) + "\n")
        spool.seek(0)
        alphabet, inner = _alphabet(tokenizer, counts, size)
        trainer = trainers.WordPieceTrainer(
            vocab_size=size,
            special_tokens=[*BERT_TOKENS, *inner],
            initial_alphabet=alphabet,
            limit_alphabet=len(alphabet),
            show_progress=False,
        )
        _train(tokenizer, map(json.loads, spool), trainer)
    return BertTokenizer(vocab=tokenizer.get_vocab(), do_lower_case=lowercase)


def _alphabet(tokenizer: Any, counts: Counter[str], size: int) -> tuple[list[str], list[str]]:
    """The characters that get entries, the most frequent first, and `##c` for those that can stand inside a word."""
    normal: Counter[str] = Counter()
    for character, count in counts.items():
        for part in tokenizer.normalizer.normalize_str(character):
            if not part.isspace():
                normal[part] += count
    wide = sum(count for character, count in normal.items() if IDEOGRAPHS.match(character))
    # thousands of characters only where a script has them; elsewhere the rare ones would take the place of words
    limit = size // 2 if wide > 0.1 * normal.total() else min(1000, size // 4)
    kept = sorted(sorted(normal, key=lambda c: (-normal[c], c))[:limit])
    inner = [
        f"##{c}"
        for c in kept
        if len(tokenizer.pre_tokenizer.pre_tokenize_str(tokenizer.normalizer.normalize_str(f"a{c}"))) == 1
    ]
    return kept, inner


def _train(tokenizer: Any, texts: Iterable[str], trainer: Any) -> None:
    seen = [0]
    tokenizer.train_from_iterator(_counted(texts, seen), trainer=trainer)
    if not seen[0]:
        raise DataError("no text to train a tokenizer on", "look at the training data: its text column may be empty")
