"""Encoder-decoders: our loss and our greedy texts are those of plain transformers, in every verified family."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import tiny_encoder_decoders as tiny
import torch
from transformers import AutoModelForSeq2SeqLM, AutoTokenizer

from hfkit.engine.collate import collate
from hfkit.engine.decode import decode
from hfkit.engine.decoding.encoder_decoder import write_in
from hfkit.engine.forward import forward
from hfkit.errors import UsageError
from hfkit.models import ENCODER_DECODERS, find, load_model, load_tokenizer, save_model
from hfkit.recipe.keys import Generate
from hfkit.tasks.seq2seq.languages import with_languages
from hfkit.tasks.seq2seq.settings import Seq2SeqSettings
from hfkit.tasks.seq2seq.task import Seq2Seq

FAMILIES = [*ENCODER_DECODERS, "mbart-50"]
ROWS = [
    {"id": "0", "source": "the small river runs behind the old mill", "target": "der Fluss steht nicht still"},
    {"id": "1", "source": "a boat", "target": "die Mühle steht still, der Fluss nicht"},
    {"id": "2", "source": "nobody knows who built it", "target": "nicht"},
    {"id": "3", "source": "salt and letters to the old town", "target": "der Fluss"},
]
GREEDY = Generate(temperature=0, top_k=0, top_p=1, batch_size=4, max_new_tokens=10, logprobs=True)


def settings_for(family: str, **values: Any) -> Seq2SeqSettings:
    languages = tiny.LANGUAGES.get(family)
    said = dict(zip(("source_language", "target_language"), languages, strict=True)) if languages else {}
    return Seq2SeqSettings(**{"max_source_length": 32, "max_target_length": 32, **said, **values})


@pytest.fixture(scope="module")
def loaded(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """family -> folder, model, tokenizer; each made once."""
    made: dict[str, SimpleNamespace] = {}

    def load(family: str) -> SimpleNamespace:
        if family in ("marian", "m2m_100"):
            pytest.importorskip("sentencepiece")
        if family not in made:
            folder = tiny.save(family, tmp_path_factory.mktemp("tiny") / family)
            found = find(str(folder))
            assert found.notes == []
            model, notes = load_model(found, "seq2seq-lm", model_config={}, fresh_head="refuse")
            assert notes == []
            made[family] = SimpleNamespace(
                folder=folder, model=model.eval(), tokenizer=load_tokenizer(found, "seq2seq-lm")
            )
        return made[family]

    return load


@pytest.mark.parametrize("family", FAMILIES)
def test_loss_is_transformers_own_without_smoothing(family: str, loaded: Any) -> None:
    here = loaded(family)
    task = Seq2Seq(settings_for(family, label_smoothing=0.0))
    batch = collate(list(task.encode(ROWS, here.tokenizer)), here.model.config.pad_token_id)
    plain = AutoModelForSeq2SeqLM.from_pretrained(here.folder).eval()
    with torch.no_grad():
        total, count = task.loss(forward(here.model, batch), batch)
        theirs = plain(
            input_ids=batch["input_ids"], attention_mask=batch["attention_mask"], labels=batch["target_ids"]
        ).loss
    assert (total / count).item() == pytest.approx(theirs.item(), rel=1e-6)
    assert count.item() == (batch["target_ids"] != -100).sum()


@pytest.mark.parametrize("family", FAMILIES)
def test_sources_and_targets_are_the_tokenizers_own(family: str, loaded: Any) -> None:
    here = loaded(family)
    languages = tiny.LANGUAGES.get(family)
    names = dict(zip(("src_lang", "tgt_lang"), languages, strict=True)) if languages else {}
    plain = AutoTokenizer.from_pretrained(here.folder, **names)
    features = list(Seq2Seq(settings_for(family)).encode(ROWS, here.tokenizer))
    for row, feature in zip(ROWS, features, strict=True):
        theirs = plain(row["source"], text_target=row["target"])
        assert feature["input_ids"] == theirs["input_ids"]
        assert feature["target_ids"] == theirs["labels"]


@pytest.mark.parametrize(("family", "size"), [*((family, 4) for family in FAMILIES), ("bart", 1), ("t5", 3)])
def test_greedy_texts_equal_transformers_token_for_token(family: str, size: int, loaded: Any, tmp_path: Path) -> None:
    here = loaded(family)
    settings = settings_for(family)
    write_in(here.model, here.tokenizer, settings)
    sources = [feature["input_ids"] for feature in Seq2Seq(settings).encode(ROWS, here.tokenizer)]
    found = decode(here.model, here.tokenizer, sources, Generate(**{**GREEDY.model_dump(), "batch_size": size}))
    save_model(here.model, here.tokenizer, tmp_path / "saved", {})  # the language is in its generation config
    plain = AutoModelForSeq2SeqLM.from_pretrained(tmp_path / "saved").eval()
    for source, completion in zip(sources, found, strict=True):
        with torch.inference_mode():
            out = plain.generate(torch.tensor([source]), do_sample=False, num_beams=1, max_new_tokens=10)
        assert completion.ids == tuple(out[0, 1:].tolist())
        assert completion.text == with_languages(here.tokenizer, settings).decode(
            list(completion.ids), skip_special_tokens=True, clean_up_tokenization_spaces=False
        )
        assert len(completion.logprobs or ()) == len(completion.ids)
        assert completion.finish_reason == ("length" if len(completion.ids) == 10 else "eos")  # the tenth is forced
    if family in ("mbart-50", "m2m_100"):
        language = here.model.generation_config.forced_bos_token_id
        assert language is not None and {completion.ids[0] for completion in found} == {language}


def test_rows_that_end_leave_the_batch_and_beams_are_transformers_own(loaded: Any) -> None:
    here = loaded("bart")
    sources = [feature["input_ids"] for feature in Seq2Seq(settings_for("bart")).encode(ROWS, here.tokenizer)]
    free = decode(here.model, here.tokenizer, sources, GREEDY)
    end = free[0].ids[2]
    kept = here.model.generation_config.eos_token_id
    here.model.generation_config.eos_token_id = [kept, end]
    try:
        found = decode(here.model, here.tokenizer, sources, GREEDY)
        assert {len(c.ids) for c in found} != {10} and found[0].finish_reason == "eos"
        for source, completion in zip(sources, found, strict=True):
            with torch.inference_mode():
                out = here.model.generate(torch.tensor([source]), do_sample=False, max_new_tokens=10)
            assert completion.ids == tuple(out[0, 1:].tolist())[: len(completion.ids)]
        beams = Generate(**{**GREEDY.model_dump(), "num_beams": 3})
        for source, completion in zip(sources, decode(here.model, here.tokenizer, sources, beams), strict=True):
            with torch.inference_mode():
                out = here.model.generate(torch.tensor([source]), do_sample=False, num_beams=3, max_new_tokens=10)
            assert completion.ids == tuple(out[0, 1:].tolist())[: len(completion.ids)]
    finally:
        here.model.generation_config.eos_token_id = kept


def test_log_probabilities_are_those_of_the_model(loaded: Any) -> None:
    here = loaded("t5")
    (source,) = (f["input_ids"] for f in Seq2Seq(settings_for("t5")).encode(ROWS[:1], here.tokenizer))
    (found,) = decode(here.model, here.tokenizer, [source], Generate(**{**GREEDY.model_dump(), "max_new_tokens": 6}))
    targets = torch.tensor([found.ids])
    batch = {**collate([{"row": 0, "input_ids": source}], 0), "target_ids": targets}
    with torch.no_grad():
        scores = forward(here.model, batch).logits.log_softmax(dim=-1)
    expected = scores[0, torch.arange(len(found.ids)), targets[0]].tolist()
    free = len(found.ids) - (1 if len(found.ids) == 6 else 0)  # the last that fits is a forced end
    assert list(found.logprobs or ())[:free] == pytest.approx(expected[:free], abs=1e-5)


def test_a_source_beyond_the_positions_is_refused_but_t5_reads_on(loaded: Any) -> None:
    long = [5] * 70
    here = loaded("bart")
    with pytest.raises(UsageError, match="70 tokens, but the model reads at most 64"):
        decode(here.model, here.tokenizer, [long], GREEDY)
    here = loaded("t5")
    assert len(decode(here.model, here.tokenizer, [[5] * 600], GREEDY)) == 1
