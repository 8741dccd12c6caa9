"""Scratch models: tokenizers trained on the texts, the same each time, reloaded alike by plain transformers."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import tiny_models as tiny
import torch
from transformers import AutoTokenizer

from hfkit.errors import DataError, ModelError
from hfkit.files import sha256_of
from hfkit.models import build_scratch, check_vocabulary, load_model, load_tokenizer, unknown_share
from hfkit.recipe.keys import Scratch

CHINESE = ["中文的文本很短。", "這是一條河,河邊有一座磨坊。"] * 10
MIXED = [*tiny.TEXTS, "Café, İstanbul & naïve <|endoftext|> [SEP]\n\ttabs", *CHINESE]


@pytest.mark.parametrize(("name", "head"), [("gpt2-nano", "causal-lm"), ("bert-mini", "question-answering")])
def test_reloads_alike_and_fits(name: str, head: str, tmp_path: Path) -> None:
    found = build_scratch(name, iter(MIXED), Scratch(vocab_size=400), head, tmp_path)  # type: ignore[arg-type]
    tokenizer = load_tokenizer(found)
    plain = AutoTokenizer.from_pretrained(tmp_path)
    for text in MIXED:
        assert plain(text, split_special_tokens=True)["input_ids"] == tokenizer(text)["input_ids"]
    torch.manual_seed(0)
    model, notes = load_model(found, head, model_config={}, fresh_head="allow")  # type: ignore[arg-type]
    assert model.config.vocab_size == len(tokenizer) == model.get_input_embeddings().weight.shape[0]
    assert notes[0].startswith(f"fresh weights: {name}, ")
    torch.manual_seed(0)
    again, _ = load_model(found, head, model_config={}, fresh_head="allow")  # type: ignore[arg-type]
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), again.parameters(), strict=True))


def test_gpt2_writes_every_text_exactly(tmp_path: Path) -> None:
    tokenizer = load_tokenizer(build_scratch("gpt2-nano", iter(MIXED), Scratch(vocab_size=300), "causal-lm", tmp_path))
    for text in [*MIXED, "\x00\r\n  \u2028 🙂 unseen 文字 <|endoftext|>"]:
        ids = tokenizer(text)["input_ids"]
        assert tokenizer.decode(ids, clean_up_tokenization_spaces=False) == text
        assert tokenizer.eos_token_id not in ids


def test_transformer_mini_is_the_transformer_of_2017(tmp_path: Path) -> None:
    """Positions that no training has to learn, and one table, scaled, for sources, targets and output."""
    found = build_scratch("transformer-mini", iter(MIXED), Scratch(vocab_size=400), "seq2seq-lm", tmp_path)
    model, _ = load_model(found, "seq2seq-lm", model_config={}, fresh_head="allow")
    table = model.get_input_embeddings().weight
    assert table.shape == (len(load_tokenizer(found, "seq2seq-lm")), 256)
    layers = model.model.encoder.embed_tokens, model.model.decoder.embed_tokens, model.get_output_embeddings()
    assert all(layer.weight is table for layer in layers)
    others = sum(weight.numel() for weight in model.parameters() if weight is not table)
    assert others + 8192 * 256 == pytest.approx(7.9e6, rel=0.01)
    rates = 10000 ** (-torch.arange(128) / 128)
    angles = torch.arange(512)[:, None] * rates
    waves = torch.cat([angles.sin(), angles.cos()], dim=1)
    for side in (model.model.encoder, model.model.decoder):
        assert not side.embed_positions.weight.requires_grad
        assert torch.allclose(side.embed_positions.weight, waves, atol=1e-4)
        inputs: list[torch.Tensor] = []
        side.layers[0].register_forward_pre_hook(lambda _, args, inputs=inputs: inputs.append(args[0]))
        ids = torch.tensor([[2, 5, 9]])
        with torch.inference_mode():
            side.eval()(input_ids=ids)
        assert torch.allclose(inputs[0], 16 * table[ids] + waves[:3], atol=1e-4)  # 16: the root of the width


def test_transformer_mini_reads_a_word_alike_wherever_it_stands_and_writes_every_text(tmp_path: Path) -> None:
    texts = [*MIXED, "mill river mill"] * 5
    found = build_scratch("transformer-mini", iter(texts), Scratch(vocab_size=400), "seq2seq-lm", tmp_path)
    tokenizer = load_tokenizer(found, "seq2seq-lm")

    def ids_of(text: str) -> list[int]:
        return tokenizer(text)["input_ids"]

    def written(text: str) -> str:
        return tokenizer.decode(ids_of(text), skip_special_tokens=True, clean_up_tokenization_spaces=False)

    first, _, last, end = ids_of("mill river mill")
    assert first == last and end == tokenizer.eos_token_id
    for text in [*MIXED, "\x00\r\n  \u2028 🙂 unseen 文字  two blanks ", "</s> <pad>", ""]:
        assert written(text) == text and ids_of(text).count(tokenizer.eos_token_id) == 1
    assert written("  mill") == " mill"  # a blank of the text's own is taken for that before the first word


def test_case_and_chinese(tmp_path: Path) -> None:
    lower = load_tokenizer(
        build_scratch("bert-mini", iter(MIXED), Scratch(vocab_size=400), "masked-lm", tmp_path / "a")
    )
    assert lower.tokenize("River RIVER") == lower.tokenize("river river")
    assert lower.tokenize("中文") == ["中", "文"]
    kept = Scratch(vocab_size=400, lowercase=False)
    cased = load_tokenizer(build_scratch("bert-mini", iter(["River river"] * 9), kept, "masked-lm", tmp_path / "b"))
    assert cased.tokenize("River") != cased.tokenize("river")
    assert len(cased) < 100


def build_two(folder: Path) -> None:
    texts = [f"word{i % 37} and other{i % 11} things {i * 7919 % 101}" for i in range(400)] + ["中文字é"] * 5
    for name, head in (("gpt2-nano", "causal-lm"), ("bert-mini", "masked-lm")):
        build_scratch(name, iter(texts), Scratch(vocab_size=500), head, folder / name)  # type: ignore[arg-type]


def test_the_same_texts_give_the_same_files_in_another_process(tmp_path: Path) -> None:
    build_two(tmp_path / "one")
    code = "import sys, pathlib, test_scratch; test_scratch.build_two(pathlib.Path(sys.argv[1]))"
    subprocess.run([sys.executable, "-c", code, str(tmp_path / "two")], check=True, cwd=Path(__file__).parent)
    files = sorted((tmp_path / "one").rglob("*.json"))
    assert len(files) >= 4
    for path in files:
        assert sha256_of(path) == sha256_of(tmp_path / "two" / path.relative_to(tmp_path / "one")), path


def test_no_text_and_no_such_head(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no text"):
        build_scratch("gpt2-nano", iter(["", ""]), Scratch(), "causal-lm", tmp_path)
    with pytest.raises(ModelError, match="no masked-lm head"):
        build_scratch("gpt2-nano", iter(["x"]), Scratch(), "masked-lm", tmp_path)


def test_pairs_of_gpt2(tmp_path: Path) -> None:
    found = build_scratch("gpt2-nano", iter(MIXED), Scratch(vocab_size=300), "question-answering", tmp_path)
    eos = load_tokenizer(found).eos_token_id
    pair = load_tokenizer(found, "sequence-classification")("the mill", "a river")
    assert pair["input_ids"].count(eos) == 1 and pair["input_ids"][-1] != eos
    asked = load_tokenizer(found, "question-answering")("the mill", "a river")
    assert asked["input_ids"].count(eos) == 2 and asked["input_ids"][-1] == eos
    assert asked.sequence_ids()[-1] is None and asked.sequence_ids()[0] == 0
    assert eos not in load_tokenizer(found, "causal-lm")("the mill")["input_ids"]


def test_unknown_tokens(tmp_path: Path) -> None:
    found = build_scratch("bert-mini", iter(tiny.TEXTS), Scratch(vocab_size=400), "masked-lm", tmp_path)
    tokenizer = load_tokenizer(found)
    assert unknown_share(tokenizer, tiny.TEXTS) == 0.0 == check_vocabulary(tokenizer, iter(tiny.TEXTS), "m")
    assert unknown_share(tokenizer, []) == 0.0
    with pytest.raises(ModelError, match="m does not know") as caught:
        check_vocabulary(tokenizer, CHINESE, "m")
    assert "bert-base-chinese" in (caught.value.hint or "")
    with pytest.raises(ModelError) as caught:
        check_vocabulary(tokenizer, ["Мельница стоит у реки"], "m")
    assert "xlm-roberta-base" in (caught.value.hint or "")
    for head, texts, names in (
        ("seq2seq-lm", ["Zug? {}~^"], ("google-t5/t5-small", "scratch:transformer-mini")),
        ("seq2seq-lm", CHINESE, ("facebook/mbart-large-50", "scratch:transformer-mini")),
        ("causal-lm", CHINESE, ("openai-community/gpt2", "scratch:gpt2-mini")),
    ):
        with pytest.raises(ModelError) as caught:
            check_vocabulary(tokenizer, texts, "m", head)  # type: ignore[arg-type]
        assert all(name in str(caught.value.hint) for name in names)
        assert "bert" not in str(caught.value.hint)


def test_a_cased_tokenizer_whose_config_says_nothing(tmp_path: Path) -> None:
    from hfkit.models import find

    folder = tiny.save("bert", tmp_path / "m")
    found = build_scratch("bert-mini", iter(["River river"] * 9), Scratch(lowercase=False), "masked-lm", tmp_path / "s")
    assert found.folder is not None
    (folder / "tokenizer.json").write_bytes((found.folder / "tokenizer.json").read_bytes())
    (folder / "tokenizer_config.json").write_text('{"tokenizer_class": "BertTokenizer"}', encoding="utf-8")
    tokenizer = load_tokenizer(find(str(folder)))
    assert tokenizer.tokenize("River")[0].startswith("R")
    tokenizer.save_pretrained(tmp_path / "again")
    assert AutoTokenizer.from_pretrained(tmp_path / "again").tokenize("River") == tokenizer.tokenize("River")


@pytest.mark.shared_data
def test_pairs_of_the_real_gpt2_tokenizer(shared: Path, tmp_path: Path) -> None:
    import shutil

    from hfkit.models import Checkpoint

    for name in ("vocab.json", "merges.txt"):
        shutil.copyfile(shared / "tokenizers" / "gpt2" / name, tmp_path / name)
    raw = {"model_type": "gpt2", "vocab_size": 50257, "bos_token_id": 50256, "eos_token_id": 50256}
    tokenizer = load_tokenizer(Checkpoint("gpt2", tmp_path, None, raw), "question-answering")
    context = "The café\n mill<|endoftext|> was 中国 built."
    pair = tokenizer("Who built  it?", context, return_offsets_mapping=True)
    assert [i for i, token in enumerate(pair["input_ids"]) if token == 50256] == [5, len(pair["input_ids"]) - 1]
    spans = [span for span, part in zip(pair["offset_mapping"], pair.sequence_ids(), strict=True) if part == 1]
    assert [context[start:end] for start, end in spans[:4]] == ["The", "café", "\n", "mill"]
