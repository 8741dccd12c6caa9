"""Tiny encoder-decoders with random weights, one per family, with tokenizers trained on a few sentences."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import tiny_models as tiny

SPECIAL = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
SIDES = {
    f"{side}_{name}": value
    for side in ("encoder", "decoder")
    for name, value in (("layers", 2), ("ffn_dim", 32), ("attention_heads", 2))
}
T5 = {"d_model": 16, "d_kv": 8, "d_ff": 32, "num_layers": 2, "num_heads": 2}
LANGUAGES = {"mbart": ("en_XX", "de_DE"), "mbart-50": ("en_XX", "de_DE"), "m2m_100": ("en", "de")}


def save(family: str, folder: Path, **changes: Any) -> Path:
    """A checkpoint of `family` (a model type, or mbart-50) in `folder`, weights from seed 0."""
    import torch
    from transformers import AutoConfig, AutoModelForSeq2SeqLM

    folder.mkdir(parents=True, exist_ok=True)
    tokens = tokenizer(family, folder)
    kind = family.removesuffix("-50")
    ids = {name: getattr(tokens, name) for name in ("bos_token_id", "eos_token_id", "pad_token_id")}
    ids = {name: value for name, value in ids.items() if value is not None}
    shape = T5 if kind == "t5" else {**SIDES, "d_model": 16, "max_position_embeddings": 64}
    start = {"t5": "pad", "marian": "pad"}.get(kind, "eos")
    ids |= {"decoder_start_token_id": ids[f"{start}_token_id"], "forced_eos_token_id": ids["eos_token_id"]}
    spread = "initializer_factor" if kind == "t5" else "init_std"
    values = {**shape, **ids, spread: 6.0 if kind == "t5" else 0.6, **changes}
    entries = len(tokens) if kind != "m2m_100" else max(tokens.lang_token_to_id.values()) + 9  # it counts them apart
    config = AutoConfig.for_model(kind, vocab_size=entries, **values)
    torch.manual_seed(0)
    model = AutoModelForSeq2SeqLM.from_config(config)
    if kind == "marian":
        model.generation_config.bad_words_ids = [[ids["pad_token_id"]]]
    model.save_pretrained(folder)
    tokens.save_pretrained(folder)
    return folder


def tokenizer(family: str, folder: Path) -> Any:
    if family == "bart":
        return tiny.roberta()
    if family == "t5":
        return tiny.unigram("T5Tokenizer", ["<pad>", "</s>", "<unk>"])
    if family in ("mbart", "mbart-50"):
        return tiny.unigram("MBartTokenizer" if family == "mbart" else "MBart50Tokenizer", SPECIAL)
    return sentence_pieces(family, folder)


def sentence_pieces(family: str, folder: Path) -> Any:
    """The two that have no fast form: a SentencePiece model and a vocabulary of its own numbers."""
    import sentencepiece
    import transformers

    text = folder / "text.txt"
    text.write_text("\n".join(tiny.TEXTS), encoding="utf-8")
    sentencepiece.SentencePieceTrainer.train(
        input=str(text), model_prefix=str(folder / "source"), vocab_size=50, minloglevel=2, num_threads=1
    )
    text.unlink()
    (folder / "source.vocab").unlink()
    model = folder / "source.model"
    pieces = sentencepiece.SentencePieceProcessor(model_file=str(model))
    own = [pieces.id_to_piece(number) for number in range(3, pieces.get_piece_size())]
    if family == "marian":
        words = ["</s>", "<unk>", *own, "<pad>"]
    else:
        words = ["<s>", "<pad>", "</s>", "<unk>", *own]
    (folder / "words.json").write_text(json.dumps({word: number for number, word in enumerate(words)}), "utf-8")
    if family == "marian":
        made = transformers.MarianTokenizer(str(model), str(model), vocab=str(folder / "words.json"))
    else:
        made = transformers.M2M100Tokenizer(str(folder / "words.json"), str(model), src_lang="en", tgt_lang="de")
    return made
