"""lm: every token but the first scored once, whatever the block and the stride; chunked tokens equal whole ones."""

import itertools
import math
import random
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import BertConfig, GPT2Config, GPT2LMHeadModel

from hfkit.data.rows import Rows
from hfkit.engine.collate import collate
from hfkit.errors import DataError, ModelError, UsageError
from hfkit.models import build_scratch, load_tokenizer
from hfkit.recipe.keys import Scratch
from hfkit.tasks.lm import LanguageModel, LanguageModelSettings, running_text
from hfkit.tasks.lm.running_text import blocks, cuts_at_blanks, tokens_of

TEXT = "The cat sat on the mat.\n\nThe dog, it's said,  didn't.\nÄpfel 🍎 und 中文字 — 12345!\n" * 6
SCORED_BYTES = len(TEXT.encode()) - len("The")  # the vocabulary below has "The", and the first token is not scored


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory):
    folder = tmp_path_factory.mktemp("nano")
    return load_tokenizer(build_scratch("gpt2-nano", [TEXT], Scratch(vocab_size=300), "causal-lm", folder))


@pytest.fixture(scope="module")
def model(tokenizer):
    torch.manual_seed(0)
    config = GPT2Config(vocab_size=len(tokenizer), n_positions=64, n_embd=32, n_layer=2, n_head=2)
    return GPT2LMHeadModel(config).eval()


def stream(*texts: str) -> Rows:
    return Rows([{"id": str(i), "text": t} for i, t in enumerate(texts)], name="t", fingerprint="0", stream=True)


def spans(count: int, size: int, stride: int) -> list[tuple[list[int], list[int]]]:
    """(inputs, scored targets) of each block of the stream 0, 1, ..., in pieces of uneven length."""
    cuts = [0, *sorted(random.Random(count).sample(range(1, count), min(5, count - 1))), count]
    parts = [np.arange(a, b, dtype=np.int32) for a, b in itertools.pairwise(cuts)]
    found = blocks(((part, np.ones(len(part), dtype=np.int32)) for part in parts), size, stride)
    return [(f["input_ids"], f["targets"][f["context"] :]) for f in found]


def predict(task: LanguageModel, rows: Rows, tokenizer, model) -> list[dict]:
    features = list(task.encode(rows, tokenizer))
    batch = collate(features, tokenizer.pad_token_id)
    with torch.inference_mode():
        outputs = model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"])
    reads = task.read(outputs, batch)
    return [task.merge(f, [{"nll": reads["nll"][i].numpy()}]) for i, f in enumerate(features)]


def scores(task: LanguageModel, predictions: list[dict]) -> dict[str, float]:
    rows = [task.measure(p, {}) for p in predictions]
    return task.reduce({name: np.array([row[name] for row in rows]) for name in rows[0]})


@pytest.mark.parametrize(("size", "stride"), [(4, 4), (4, 3), (4, 1), (7, 5), (64, 64), (1000, 10)])
def test_every_token_but_the_first_is_scored_once(size, stride):
    found = spans(101, size, stride)
    assert [token for _, targets in found for token in targets] == list(range(1, 101))
    for inputs, targets in found:
        assert len(inputs) <= size
        assert inputs == list(range(inputs[0], targets[-1]))  # the last target is predicted from the token before it


def test_numbers_of_blocks_of_the_published_text():
    tokens = (np.zeros(287_644, dtype=np.int32),) * 2
    for stride, count in ((1024, 281), (512, 561), (256, 1121)):
        found = [len(f["targets"]) - f["context"] for f in blocks([tokens], 1024, stride)]
        assert len(found) == count
        assert sum(found) == 287_643


def test_rolling_windows_are_those_of_the_evaluation_harness():
    def shifted(size, stride):  # there an end token, -1 here, stands before tokens 0 to 9
        return [([i - 1 for i in a], [i - 1 for i in b]) for a, b in spans(11, size, stride)]

    assert shifted(4, 4) == [([-1, 0, 1, 2], [0, 1, 2, 3]), ([3, 4, 5, 6], [4, 5, 6, 7]), ([5, 6, 7, 8], [8, 9])]
    assert shifted(4, 3) == [([-1, 0, 1, 2], [0, 1, 2, 3]), ([2, 3, 4, 5], [4, 5, 6]), ([5, 6, 7, 8], [7, 8, 9])]


def test_stride_of_a_block_equals_independent_chunks(tokenizer, model):
    ids = torch.tensor([i for piece, _ in tokens_of([TEXT], tokenizer, joined=True) for i in piece.tolist()])[:129]
    text = tokenizer.decode(ids)
    task = LanguageModel(LanguageModelSettings(block_size=64))
    found = predict(task, stream(text), tokenizer, model)
    with torch.inference_mode():
        logits = model(torch.stack([ids[:64], ids[64:128]])).logits.flatten(0, 1)
    expected = torch.nn.functional.cross_entropy(logits, ids[1:129], reduction="none").view(2, 64)
    assert [p["nll"] for p in found] == pytest.approx(expected.sum(1).tolist(), rel=1e-5)
    metrics = scores(task, found)
    assert metrics["loss"] == pytest.approx(expected.mean().item(), rel=1e-5)
    assert metrics["perplexity"] == pytest.approx(math.exp(expected.mean().item()), rel=1e-4)


def test_stride_changes_the_context_but_not_what_is_scored(tokenizer, model):
    counted = {}
    for stride_ in (None, 16, 1):
        task = LanguageModel(LanguageModelSettings(block_size=32, stride=stride_))
        found = predict(task, stream(TEXT), tokenizer, model)
        counted[stride_] = (sum(p["tokens"] for p in found), sum(p["bytes"] for p in found))
    count = sum(len(ids) for ids, _ in tokens_of([TEXT], tokenizer, joined=True))
    assert set(counted.values()) == {(count - 1, SCORED_BYTES)}


def test_perplexity_adds_up_from_likelihoods(tokenizer, model):
    task = LanguageModel(LanguageModelSettings(block_size=32))
    found = predict(task, stream(TEXT), tokenizer, model)
    whole = scores(task, found)
    nll, tokens = sum(p["nll"] for p in found), sum(p["tokens"] for p in found)
    assert whole["perplexity"] == pytest.approx(math.exp(nll / tokens))
    assert whole["bits_per_byte"] == pytest.approx(nll / math.log(2) / SCORED_BYTES)
    assert found[0]["prediction"] == pytest.approx(math.exp(found[0]["nll"] / found[0]["tokens"]))


def test_loss_is_what_read_scores(tokenizer, model):
    task = LanguageModel(LanguageModelSettings(block_size=32, stride=20))
    features = list(task.encode(stream(TEXT), tokenizer))
    batch = collate(features, tokenizer.pad_token_id)
    outputs = model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"])
    total, count = task.loss(outputs, batch)
    assert total.item() == pytest.approx(task.read(outputs, batch)["nll"].sum().item(), rel=1e-5)
    assert count.item() == sum(len(f["input_ids"]) - f["context"] for f in features)
    total.backward()
    assert torch.isfinite(model.transformer.wte.weight.grad).all()
    model.zero_grad()


def test_large_vocabularies_are_read_in_parts(tokenizer, model, monkeypatch):
    task = LanguageModel(LanguageModelSettings(block_size=32))
    whole = predict(task, stream(TEXT), tokenizer, model)
    monkeypatch.setattr("hfkit.tasks.lm.causal.LOGITS_AT_ONCE", 7 * len(tokenizer))
    assert predict(task, stream(TEXT), tokenizer, model) == whole


def test_a_stream_has_no_end_token_and_documents_have_one_between(tokenizer):
    task = LanguageModel(LanguageModelSettings(block_size=1000))
    texts = ["one two", "", "three\n"]
    (joined,) = task.encode(stream(*texts), tokenizer)
    assert tokenizer.decode([*joined["input_ids"], joined["targets"][-1]]) == "one twothree\n"
    documents = [{"id": str(i), "text": text} for i, text in enumerate(texts)]
    (apart,) = task.encode(documents, tokenizer)
    ids = [*apart["input_ids"], apart["targets"][-1]]
    assert ids.count(tokenizer.eos_token_id) == 1
    assert tokenizer.decode(ids) == "one two<|endoftext|>three\n"
    first = len(tokenizer.decode(ids[:1]))
    assert apart["bytes"] == len("one twothree\n") - first


def test_text_that_looks_like_an_end_token_is_text(tokenizer):
    ids = [i for piece, _ in tokens_of(["a <|endoftext|> b"], tokenizer, joined=True) for i in piece.tolist()]
    assert tokenizer.eos_token_id not in ids
    assert tokenizer.decode(ids) == "a <|endoftext|> b"


def collected(texts, tokenizer, joined=True):
    pieces = list(tokens_of(texts, tokenizer, joined=joined))
    return np.concatenate([a for a, _ in pieces]).tolist(), int(sum(b.sum() for _, b in pieces))


@pytest.mark.parametrize("size", [1, 2, 5, 40])
def test_chunked_tokens_equal_whole_ones(tokenizer, monkeypatch, size):
    monkeypatch.setattr(running_text, "CHUNK", size)
    assert cuts_at_blanks(tokenizer)
    draw = random.Random(size)
    letters = ["a", "don't", "B", "é", "中", "🍎", "'", "s", "7", ".", "!?", "\x1c"]
    alphabet = [*letters, " ", "  ", "\n", "\n\n", "\t", "\r\n", "\u3000"]
    for _ in range(300):
        text = "".join(draw.choices(alphabet, k=draw.randint(1, 60)))
        whole = tokenizer.backend_tokenizer.encode(text, add_special_tokens=False).ids
        assert collected([text], tokenizer) == (whole, len(text.encode()))
        parts = [text[: len(text) // 2], text[len(text) // 2 :]]
        assert collected(parts, tokenizer) == (whole, len(text.encode()))


def test_other_tokenizers_are_given_the_whole_text(tmp_path):
    bert = load_tokenizer(build_scratch("bert-mini", [TEXT], Scratch(vocab_size=400), "masked-lm", tmp_path))
    assert not cuts_at_blanks(bert)
    ids, size = collected([TEXT], bert)
    assert ids == bert.backend_tokenizer.encode(TEXT, add_special_tokens=False).ids
    assert size == len(TEXT.encode())


@pytest.mark.shared_data
def test_chunked_tokens_of_a_real_text_equal_whole_ones(shared: Path):
    from transformers import GPT2Tokenizer

    folder = shared / "tokenizers" / "gpt2"
    tokenizer = GPT2Tokenizer(vocab=str(folder / "vocab.json"), merges=str(folder / "merges.txt"))
    text = (shared / "wikitext2" / "test.txt").read_text(encoding="utf-8")[:400_000]
    whole = tokenizer.backend_tokenizer.encode(text, add_special_tokens=False).ids
    assert collected([text], tokenizer) == (whole, len(text.encode()))


def test_auto_block_size_and_refused_models(tokenizer):
    task = LanguageModel(LanguageModelSettings())
    config = GPT2Config(n_positions=512)
    found, lines = task.resolve(stream(TEXT), tokenizer, config)
    assert found.settings.block_size == 256
    assert {line.key for line in lines} == {"lm.objective", "lm.block_size"}
    config.architectures = ["GPT2LMHeadModel"]
    assert task.resolve(stream(TEXT), tokenizer, config)[0].settings.block_size == 512
    assert task.adopt(stream(TEXT), GPT2Config())[0].settings.block_size == 1024
    wide = LanguageModel(LanguageModelSettings(block_size=4096))
    assert wide.adopt(stream(TEXT), config)[0].settings.block_size == 512
    with pytest.raises(ModelError) as caught:
        task.resolve(stream(TEXT), tokenizer, BertConfig())
    assert "causal" in caught.value.message and "scratch:gpt2-mini" in caught.value.hint
    with pytest.raises(UsageError):
        LanguageModel(LanguageModelSettings(stride=600)).adopt(stream(TEXT), config)
    with pytest.raises(ValueError, match="stride"):
        LanguageModelSettings(block_size=8, stride=9)


def test_definitions_say_join_block_and_stride(tokenizer):
    config = GPT2Config(n_positions=512)
    task, _ = LanguageModel(LanguageModelSettings(stride=128)).resolve(stream(TEXT), tokenizer, config)
    line = task.definitions()["perplexity"]
    assert "join: none" in line and "block 256, stride 128" in line and "but the first" in line
    documents, _ = task.adopt([{"id": "0", "text": "x"}], config)
    assert "end token between" in documents.definitions()["bits_per_byte"]


def test_bad_texts_are_refused(tokenizer):
    task = LanguageModel(LanguageModelSettings(block_size=8))
    with pytest.raises(DataError, match="null"):
        task.check([{"id": "0", "text": None}], training=True)
    with pytest.raises(DataError, match="no text"):
        task.check([{"id": "0", "text": ""}], training=True)
    assert task.check(stream(TEXT), training=True) == []
    with pytest.raises(DataError, match="two tokens"):
        list(task.encode(stream("a"), tokenizer))


def test_lambada_scores_the_last_word_alone(tokenizer, model) -> None:
    """Its NLL is that of a plain forward pass over the passage; greedy: each of its tokens is the likeliest."""
    rows = Rows(
        [{"id": str(n), "text": text} for n, text in enumerate(("The cat sat on the mat", "it's said didn't "))],
        name="t",
        fingerprint="0",
    )
    task = LanguageModel(LanguageModelSettings(block_size=64, scorer="lambada"))
    features = list(task.encode(rows, tokenizer))
    batch = collate(features, tokenizer.pad_token_id)
    with torch.inference_mode():
        reads = task.read(model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]), batch)
    made = [task.merge(f, [{name: reads[name][i].numpy() for name in reads}]) for i, f in enumerate(features)]
    for item, (before, word) in zip(made, (("The cat sat on the", " mat"), ("it's said", " didn't")), strict=True):
        known, asked = (tokenizer(text, add_special_tokens=False)["input_ids"] for text in (before, word))
        with torch.inference_mode():
            chances = model(input_ids=torch.tensor([known + asked])).logits[0, len(known) - 1 : -1].log_softmax(-1)
        wanted = -sum(float(chances[place, token]) for place, token in enumerate(asked))
        assert item["nll"] == pytest.approx(wanted, rel=1e-4) and item["bytes"] == len(word)
        assert item["greedy"] == (chances.argmax(-1).tolist() == asked)
    columns = [task.measure(item, {}) for item in made]
    found = task.reduce({name: np.array([row[name] for row in columns]) for name in columns[0]})
    assert found["perplexity"] == pytest.approx(math.exp(np.mean([item["nll"] for item in made])))
    assert found["accuracy"] == 100 * np.mean([item["greedy"] for item in made])
    assert set(task.definitions()) == {"accuracy", "perplexity"}


def test_what_lambada_cannot_be_asked(tokenizer) -> None:
    task = LanguageModel(LanguageModelSettings(block_size=8, scorer="lambada"))
    with pytest.raises(DataError, match="a passage a row"):
        list(task.encode(stream("The cat sat"), tokenizer))
    with pytest.raises(DataError, match="two words or more"):
        list(task.encode(Rows([{"id": "a", "text": "word"}], name="t", fingerprint="0"), tokenizer))
    with pytest.raises(UsageError, match="not for training"):
        task.resolve(stream("x"), tokenizer, GPT2Config())
    long = Rows([{"id": "a", "text": "The cat sat on the mat. " * 9 + "mat"}], name="t", fingerprint="0")
    assert [len(feature["input_ids"]) for feature in task.encode(long, tokenizer)] == [8]
