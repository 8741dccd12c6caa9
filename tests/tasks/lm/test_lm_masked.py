"""lm.objective=masked: blocks between special tokens, masks drawn by key, texts scored with each token hidden once."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny_models as tiny
import torch
from transformers import BertConfig, GPT2Config

from hfkit.data.rows import Rows
from hfkit.engine.collate import collate
from hfkit.engine.forward import forward
from hfkit.errors import DataError, ModelError, UsageError
from hfkit.models import find, load_model, load_tokenizer
from hfkit.tasks import suited
from hfkit.tasks.lm import LanguageModel, LanguageModelSettings, MaskedLanguageModel
from hfkit.tasks.lm.masks import SHARE, frame, masked
from hfkit.tasks.lm.running_text import end_id, tokens_of

TEXT = "the small river runs behind the old mill, and Äpfel 🍎 stand still\n" * 12


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.save("bert", tmp_path_factory.mktemp("bert"), "AutoModelForMaskedLM")


@pytest.fixture(scope="module")
def tokenizer(folder: Path) -> Any:
    return load_tokenizer(find(str(folder)), "masked-lm")


@pytest.fixture(scope="module")
def model(folder: Path) -> Any:
    return load_model(find(str(folder)), "masked-lm", model_config={}, fresh_head="refuse")[0]


def stream(*texts: str) -> Rows:
    return Rows([{"id": str(i), "text": t} for i, t in enumerate(texts)], name="t", fingerprint="0", stream=True)


def task(size: int = 20, *, exact: bool = True, **keys: Any) -> MaskedLanguageModel:
    return MaskedLanguageModel(LanguageModelSettings(block_size=size, **keys), exact=exact)


def predictions(bound: MaskedLanguageModel, rows: Any, tokenizer: Any, model: Any) -> list[dict[str, Any]]:
    """As the engine answers: views of one batch, their reads added up."""
    features = list(bound.encode(rows, tokenizer))
    total: dict[str, Any] = {}
    with torch.inference_mode():
        for view in bound.views(features):
            batch = collate(view, 0)
            reads = bound.read(forward(model, batch), batch)
            total = {name: total.get(name, 0) + values for name, values in reads.items()}
    reads = {name: values.numpy() for name, values in total.items()}
    return [bound.merge(f, [{name: values[i] for name, values in reads.items()}]) for i, f in enumerate(features)]


def test_blocks_hold_every_token_once_between_special_ones(tokenizer: Any) -> None:
    features = list(task(20).encode(stream(TEXT), tokenizer))
    ids = [i for piece, _ in tokens_of([TEXT], tokenizer, joined=True) for i in piece.tolist()]
    assert [i for f in features for i in f["input_ids"][1:-1]] == ids
    assert all(len(f["input_ids"]) <= 20 and len(f["word"]) == len(f["input_ids"]) for f in features)
    assert {(f["input_ids"][0], f["input_ids"][-1]) for f in features} == {
        (tokenizer.cls_token_id, tokenizer.sep_token_id)
    }
    assert sum(f["bytes"] for f in features) == len(TEXT.encode())
    assert [f["row"] for f in features] == list(range(len(features)))


def test_documents_are_parted_by_a_token_that_is_never_hidden(tokenizer: Any) -> None:
    rows = [{"id": str(n), "text": text} for n, text in enumerate(("the mill", "", "a boat [SEP] river"))]
    (feature,) = task(64).encode(rows, tokenizer)
    ids, word = np.asarray(feature["input_ids"]), np.asarray(feature["word"])
    assert end_id(tokenizer) == tokenizer.sep_token_id
    assert (ids == tokenizer.sep_token_id).sum() == 2  # one between, one at the end; that of the data is text
    special = np.isin(ids, [tokenizer.cls_token_id, tokenizer.sep_token_id])
    assert ((word == 0) == special).all()
    for seed in range(50):
        drawn = masked(feature, np.random.default_rng(seed))
        assert not drawn["asked"][special].any() and (drawn["input_ids"][special] == ids[special]).all()


def test_masks_are_15_percent_of_which_80_hidden_10_other_10_kept(tokenizer: Any) -> None:
    ids = np.arange(5, 105)
    feature = {"input_ids": ids, "word": np.arange(1, 101), "mask_id": 4, "vocabulary": 10_000}
    drawn = [masked(feature, np.random.default_rng([7, n])) for n in range(400)]
    asked = np.stack([d["asked"] for d in drawn]).astype(bool)
    now = np.stack([d["input_ids"] for d in drawn])
    assert (asked.sum(axis=1) == round(100 * SHARE)).all()
    assert abs(asked.mean(axis=0) - SHARE).max() < 0.08  # each place as often as any other
    assert (now[~asked] == np.broadcast_to(ids, now.shape)[~asked]).all()
    hidden, kept = (now == 4)[asked].mean(), (now == np.broadcast_to(ids, now.shape))[asked].mean()
    assert hidden == pytest.approx(0.8, abs=0.02) and kept == pytest.approx(0.1, abs=0.02)
    assert all((d["targets"] == ids).all() for d in drawn)
    again = masked(feature, np.random.default_rng([7, 3]))
    assert all((again[name] == drawn[3][name]).all() for name in ("input_ids", "asked"))
    short = masked({**feature, "input_ids": ids[:1], "word": np.array([1])}, np.random.default_rng(0))
    assert short["asked"].tolist() == [1]


def test_whole_words_are_hidden_together(tokenizer: Any) -> None:
    (feature,) = task(256, whole_word=True).encode(stream("nobody carries letters behind äpfel stillness"), tokenizer)
    tokens, word = tokenizer.convert_ids_to_tokens(feature["input_ids"]), np.asarray(feature["word"])
    assert any(token.startswith("##") for token in tokens)
    for place in range(2, len(tokens) - 1):
        assert (word[place] == word[place - 1]) == tokens[place].startswith("##")
    for seed in range(30):
        asked = masked(feature, np.random.default_rng(seed))["asked"]
        assert all(len(set(asked[word == number].tolist())) == 1 for number in set(word.tolist()))
    (apart,) = task(256).encode(stream("nobody carries letters"), tokenizer)
    assert np.asarray(apart["word"])[1:-1].tolist() == list(range(1, len(apart["word"]) - 1))


def test_whole_words_need_a_tokenizer_that_marks_them(tmp_path: Path) -> None:
    other = load_tokenizer(find(str(tiny.save("roberta", tmp_path, "AutoModelForMaskedLM"))), "masked-lm")
    with pytest.raises(UsageError, match="WordPiece"):
        list(task(whole_word=True).encode(stream(TEXT), other))
    before, after = frame(other)
    assert (before, after) == ([other.bos_token_id], [other.eos_token_id])


def test_pseudo_perplexity_hides_each_token_once_alone(tokenizer: Any, model: Any) -> None:
    """Against the definition written out (Salazar et al. 2020): one pass for each token of each block."""
    bound = task(14)
    found = predictions(bound, stream(TEXT[:150]), tokenizer, model)
    for feature, said in zip(bound.encode(stream(TEXT[:150]), tokenizer), found, strict=True):
        ids = torch.tensor([feature["input_ids"]])
        expected = 0.0
        for place in range(1, ids.shape[1] - 1):
            hidden = ids.clone()
            hidden[0, place] = tokenizer.mask_token_id
            with torch.inference_mode():
                chances = model(input_ids=hidden).logits[0, place].log_softmax(-1)
            expected -= float(chances[ids[0, place]])
        assert said["pseudo_nll"] == pytest.approx(expected, rel=1e-4)
        assert said["tokens"] == ids.shape[1] - 2 and "nll" not in said
        assert said["prediction"] == pytest.approx(math.exp(expected / said["tokens"]), rel=1e-3)
    columns = {n: np.array([bound.measure(p, {})[n] for p in found]) for n in bound.measured}
    metrics = bound.reduce(columns)
    assert set(metrics) == {"pseudo_perplexity", "pseudo_loss", "pseudo_bits_per_byte"} == set(bound.definitions())
    mean = columns["pseudo_nll"].sum() / columns["tokens"].sum()
    assert metrics["pseudo_perplexity"] == pytest.approx(math.exp(mean))
    assert metrics["pseudo_bits_per_byte"] == pytest.approx(
        columns["pseudo_nll"].sum() / math.log(2) / len(TEXT[:150].encode())
    )
    assert bound.headline == ("pseudo_perplexity", "lower")


def test_fixed_masks_are_the_same_in_every_evaluation(tokenizer: Any, model: Any) -> None:
    bound = task(20, exact=False)
    first, second = (predictions(bound, stream(TEXT), tokenizer, model) for _ in range(2))
    assert first == second
    features = list(bound.encode(stream(TEXT), tokenizer))
    (view,) = bound.views(features)
    (other,) = bound.views(features[1:3])
    assert all((a["input_ids"] == b["input_ids"]).all() for a, b in zip(view[1:3], other, strict=True))
    assert [p["tokens"] for p in first] == [int(f["asked"].sum()) for f in view]
    batch = collate(view, 0)
    total, count = bound.loss(forward(model, batch), batch)
    assert total.item() == pytest.approx(sum(p["masked_nll"] for p in first), rel=1e-4)
    assert int(count) == sum(p["tokens"] for p in first)
    metrics = bound.reduce({n: np.array([bound.measure(p, {})[n] for p in first]) for n in bound.measured})
    assert set(metrics) == {"masked_perplexity", "masked_loss"} == set(bound.definitions())


def test_the_model_decides_the_objective(tokenizer: Any) -> None:
    free = LanguageModel(LanguageModelSettings())
    assert type(suited(free, {"model_type": "bert"})) is MaskedLanguageModel
    assert suited(free, {"model_type": "gpt2"}) is free
    assert suited(free, {"model_type": "bert", "is_decoder": True}) is free
    asked = LanguageModel(LanguageModelSettings(objective="causal"))
    assert suited(asked, {"model_type": "bert"}) is asked
    found, lines = suited(free, {"model_type": "bert"}).resolve(stream(TEXT), tokenizer, BertConfig())
    assert (found.settings.objective, found.settings.block_size, found.head) == ("masked", 256, "masked-lm")
    assert {line.key for line in lines} == {"lm.objective", "lm.block_size"}
    assert not found.exact and not found.adopt(stream(TEXT), BertConfig())[0].exact  # type: ignore[attr-defined]
    of_file, _ = LanguageModel(found.settings).adopt(stream(TEXT), None)
    assert type(of_file) is MaskedLanguageModel and of_file.measured == ("pseudo_nll", "tokens", "bytes")
    names = set(free.definitions())
    assert {"perplexity", "masked_loss", "pseudo_perplexity"} <= names


def test_what_masks_cannot_do_is_refused(tokenizer: Any) -> None:
    with pytest.raises(ModelError, match="reads both ways") as caught:
        task().adopt(stream(TEXT), GPT2Config())
    assert "scratch:bert-mini" in caught.value.hint
    for keys in ({"stride": 4}, {"scorer": "lambada"}):
        with pytest.raises(UsageError, match=r"is for lm\.objective=causal"):
            task(**keys).adopt(stream(TEXT), BertConfig())  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="about masks"):
        LanguageModel(LanguageModelSettings(whole_word=True)).adopt(stream(TEXT), GPT2Config())
    with pytest.raises(UsageError, match="no room"):
        list(task(2).encode(stream(TEXT), tokenizer))
    with pytest.raises(DataError, match="no token"):
        list(task().encode(stream(" "), tokenizer))
