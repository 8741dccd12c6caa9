"""seq2seq and qa-generation: features, lengths, loss, languages, windows, the best window, scores of whole files."""

from __future__ import annotations

import sys
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import tiny_models as tiny
import torch

from hfkit.engine.collate import UNSCORED, collate
from hfkit.errors import DataError, UsageError
from hfkit.metrics import overlap
from hfkit.tasks.base import Written
from hfkit.tasks.seq2seq import encode
from hfkit.tasks.seq2seq.languages import check_languages
from hfkit.tasks.seq2seq.qa import QAGeneration
from hfkit.tasks.seq2seq.settings import QAGenerationSettings, Seq2SeqSettings
from hfkit.tasks.seq2seq.task import Seq2Seq

ROWS = [
    {"id": "a", "source": "the small river runs behind the old mill", "target": "der Fluss steht still"},
    {"id": "b", "source": "a boat", "target": ""},
    {"id": "c", "source": "", "target": None},
]
CONTEXT = "the small river runs behind the old mill and carries bread, salt and letters to the old town. " * 3


@pytest.fixture(scope="module")
def t5() -> Any:
    return tiny.unigram("T5Tokenizer", ["<pad>", "</s>", "<unk>"])


@pytest.fixture(scope="module")
def bart() -> Any:
    return tiny.roberta()


def config(positions: int = 64, kind: str = "bart") -> Any:
    return SimpleNamespace(max_position_embeddings=positions, model_type=kind)


def task(**values: Any) -> Seq2Seq:
    return Seq2Seq(Seq2SeqSettings(**{"max_source_length": 8, "max_target_length": 6, **values}))


def written(text: str, log_probability: float) -> Written:
    return Written(text, log_probability, 3, "eos")


def test_features_hold_source_and_target_cut_before_the_end_token(bart: Any) -> None:
    first, second, third = task().encode(ROWS, bart)
    whole = bart(ROWS[0]["source"])["input_ids"]
    assert len(whole) > 8 and first["input_ids"] == [*whole[:7], whole[-1]]
    assert first["source_cut"] == len(whole) - 8 and second["source_cut"] == 0
    assert len(first["target_ids"]) == 6 and first["target_ids"][-1] == bart.eos_token_id
    assert second["target_ids"] == [bart.bos_token_id, bart.eos_token_id]  # an empty text ends at once
    assert third["target_ids"] == [] and third["input_ids"] == [bart.bos_token_id, bart.eos_token_id]
    prefixed = next(task(source_prefix="river: ").encode(ROWS[1:2], bart))
    assert prefixed["input_ids"] == [*bart("river: a boat")["input_ids"][:7], bart.eos_token_id]


def test_targets_are_padded_by_themselves(bart: Any) -> None:
    batch = collate(list(task().encode(ROWS, bart)), bart.pad_token_id)
    assert batch["input_ids"].shape == (3, 8) and batch["target_ids"].shape == (3, 6)
    assert (batch["target_ids"] == UNSCORED).sum().item() == 4 + 6
    assert UNSCORED == encode.IGNORED


def test_lengths_are_the_99th_percentile_within_the_positions_and_say_what_is_cut(bart: Any) -> None:
    rows = [{"id": str(n), "source": "a boat", "target": "der Fluss"} for n in range(199)]
    rows.append({"id": "long", "source": "the mill " * 40, "target": "der " * 90})
    bound, lines = Seq2Seq(Seq2SeqSettings()).resolve(rows, bart, config())
    assert bound.settings.max_source_length == 8 and bound.settings.max_target_length % 8 == 0
    assert [line.key for line in lines] == ["seq2seq.max_source_length", "seq2seq.max_target_length"]
    assert "99th percentile of 200 sources" in lines[0].why and "1 of them cut" in lines[0].why
    asked = Seq2Seq(Seq2SeqSettings(max_source_length=600, max_target_length=12))
    assert asked.resolve(rows, bart, config())[0].settings.max_source_length == 64
    assert asked.resolve(rows, bart, config(kind="t5"))[0].settings.max_source_length == 600  # relative positions
    assert Seq2Seq(Seq2SeqSettings()).adopt(rows, config())[0].settings.max_target_length == 64


def test_smoothing_is_that_of_the_transformer_paper() -> None:
    outputs = SimpleNamespace(logits=torch.tensor([[[2.0, 1.0, 0.0], [9.0, 0.0, 0.0]]]))
    batch = {"target_ids": torch.tensor([[0, UNSCORED]])}
    for smoothing, expected in ((0.0, 0.407606), (0.1, 0.507606)):
        total, count = task(label_smoothing=smoothing).loss(outputs, batch)
        assert total.item() == pytest.approx(expected, abs=1e-6) and count.item() == 1


def test_languages_are_asked_for_where_the_model_has_them(bart: Any) -> None:
    many = tiny.unigram("MBart50Tokenizer", ["<s>", "<pad>", "</s>", "<unk>", "<mask>"])
    with pytest.raises(UsageError, match="needs to be told the language") as refused:
        check_languages(many, Seq2SeqSettings(target_language="de_DE"))
    assert "seq2seq.source_language=CODE; codes: ar_AR" in str(refused.value.hint)
    with pytest.raises(UsageError, match="'german' is no language"):
        check_languages(many, Seq2SeqSettings(source_language="en_XX", target_language="german"))
    with pytest.raises(UsageError, match="knows no languages"):
        check_languages(bart, Seq2SeqSettings(source_language="en_XX"))
    check_languages(bart, Seq2SeqSettings())
    bound = task(source_language="en_XX", target_language="de_DE", max_source_length=30, max_target_length=30)
    (feature,) = bound.encode(ROWS[:1], many)
    assert feature["input_ids"][0] == many.convert_tokens_to_ids("en_XX")
    assert feature["target_ids"][0] == many.convert_tokens_to_ids("de_DE")
    assert many.src_lang == "en_XX" and many.tgt_lang is None  # the tokenizer itself is left as it was


def test_rows_are_checked() -> None:
    bound = task()
    assert bound.check(ROWS[:2], training=True)
    with pytest.raises(DataError, match="target is null"):
        bound.check(ROWS, training=True)
    bound.check(ROWS[:1] + ROWS[2:], training=False)
    with pytest.raises(DataError, match="source is not text"):
        bound.check([{"id": "0", "source": 3, "target": "x"}], training=False)
    assert [bound.usable(row) for row in ROWS] == [True, True, False]


def test_a_missing_extra_is_said_before_anything_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    overlap._libraries.cache_clear()
    monkeypatch.setitem(sys.modules, "sacrebleu.metrics", None)
    with pytest.raises(UsageError, match="not installed") as refused:
        task().check(ROWS[:2], training=True)
    assert 'pip install "hfkit[texts]"' in str(refused.value.hint)
    assert task().check(ROWS[2:], training=False)  # nothing to score: predict needs no scorer


def test_scores_are_the_libraries_own_to_the_last_digit() -> None:
    pytest.importorskip("sacrebleu")
    from rouge_score.rouge_scorer import RougeScorer
    from sacrebleu.metrics import BLEU, CHRF

    draw = np.random.default_rng(5)
    vocabulary = ["der", "die", "Fluss", "steht", "still", "nicht", "am", "Ufer", ",", ".", "Mühle", "3", "a-b"]
    gold = [" ".join(draw.choice(vocabulary, draw.integers(1, 14))) for _ in range(60)]
    said = [" ".join(w for w in text.split() if draw.random() < 0.8) if draw.random() < 0.7 else text for text in gold]
    bound = task()
    rows = [{"id": str(n), "source": "x", "target": text} for n, text in enumerate(gold)]
    predictions = [bound.merge(row, [written(text, -1.5)]) for row, text in zip(rows, said, strict=True)]
    assert predictions[3] == {"id": "3", "prediction": said[3], "score": -1.5, "tokens": 3, "finish_reason": "eos"}
    found = [bound.measure(made, row) or {} for made, row in zip(predictions, rows, strict=True)]
    metrics = bound.reduce({name: np.array([row[name] for row in found]) for name in found[0]})
    rouge = RougeScorer(["rougeL"])
    assert metrics["chrf"] == CHRF().corpus_score(said, [gold]).score
    assert metrics["bleu"] == BLEU().corpus_score(said, [gold]).score
    assert metrics["rouge_l"] == 100 * np.mean(
        [rouge.score(right, text)["rougeL"].fmeasure for right, text in zip(gold, said, strict=True)]
    )
    assert metrics["exact_match"] == 100 * np.mean([right == text for right, text in zip(gold, said, strict=True)])
    assert bound.measure({"id": "c", "prediction": "x"}, ROWS[2]) is None
    assert set(bound.definitions()) == set(metrics)


def questions(**values: Any) -> QAGeneration:
    settings = {"max_source_length": 60, "stride": 8, "max_target_length": 16, "scorer": "squad", **values}
    return QAGeneration(QAGenerationSettings(**settings))


@pytest.mark.parametrize("name", ["t5", "bart"])
def test_windows_cover_the_context_and_hold_the_answer(name: str, request: pytest.FixtureRequest) -> None:
    tokenizer = request.getfixturevalue(name)
    start = CONTEXT.index("salt", 120)
    row = {"id": "q", "question": "what else?", "context": CONTEXT, "answers": [{"text": "salt", "start": start}]}
    features = list(questions().encode([row, {**row, "answers": []}, {**row, "answers": None}], tokenizer))
    mine = [feature for feature in features if feature["row"] == 0]
    assert len(mine) > 2 and len(features) == 3 * len(mine)
    head = "question: what else? context: "
    whole = tokenizer(head + CONTEXT)["input_ids"]
    lead = next(k for k in range(len(whole)) if any(feature["input_ids"][k] != whole[k] for feature in mine[1:]))
    pieces = [feature["input_ids"][lead:-1] for feature in mine]
    joined = pieces[0] + [token for piece in pieces[1:] for token in piece[8:]]
    assert [*whole[:lead], *joined, whole[-1]] == whole  # each token of the context, neighbours sharing the stride
    assert all(len(feature["input_ids"]) <= 60 for feature in mine)
    text, nothing = (tokenizer(text_target=value)["input_ids"] for value in ("salt", ""))
    held = [feature["target_ids"] == text for feature in mine]
    assert 1 <= sum(held) < len(mine)
    assert all(feature["target_ids"] == nothing for feature, inside in zip(mine, held, strict=True) if not inside)
    assert all(feature["target_ids"] == nothing for feature in features if feature["row"] == 1)
    assert all(feature["target_ids"] == [] for feature in features if feature["row"] == 2)


def test_an_answer_that_is_nowhere_is_learnt_from_a_single_window_only(t5: Any) -> None:
    row = {"id": "q", "question": "who?", "answers": [{"text": "nobody", "start": None}]}
    (short,) = questions().encode([{**row, "context": "a boat"}], t5)
    assert short["target_ids"] == t5(text_target="nobody")["input_ids"]
    long = list(questions().encode([{**row, "context": CONTEXT}], t5))
    assert len(long) > 1 and all(feature["target_ids"] == [] for feature in long)
    (empty,) = questions().encode([{**row, "context": ""}], t5)
    assert empty["input_ids"][-1] == t5.eos_token_id
    batch = collate([{**long[0]}], 0)
    assert batch["target_ids"].tolist() == [[UNSCORED]]


def test_the_likeliest_text_of_all_windows_answers() -> None:
    row = {"id": "q", "question": "who?", "context": "Ada or Eva", "answers": [{"text": "Eva", "start": 7}]}
    bound = questions()
    found = bound.merge(row, [written("", -0.1), written("Ada", -3.0), written("Eva", -2.0)])
    assert (found["prediction"], found["score"], found["no_answer"]) == ("Eva", -2.0, False)
    measured = bound.measure(found, row) or {}
    assert measured["em"] == measured["f1"] == 1.0 and measured["confidence"] == -2.0
    nothing = bound.merge(row, [written("", -0.5), written(" ", -0.4)])
    assert (nothing["prediction"], nothing["no_answer"]) == ("", True)
    columns = {name: np.array([value, 0.0]) for name, value in measured.items()}
    assert bound.reduce(columns) == {"exact_match": 50.0, "f1": 50.0}


def test_settings_of_questions_are_settled_and_checked(t5: Any) -> None:
    row = {"id": "q", "question": "who?", "context": "Ada or Eva", "answers": [{"text": "Eva", "start": 7}]}
    bound, lines = QAGeneration(QAGenerationSettings()).resolve([row, {**row, "answers": []}], t5, config(kind="t5"))
    assert bound.settings.scorer == "squad2" and bound.settings.max_source_length == 384
    assert {line.key for line in lines} == {"qa-generation.max_target_length", "qa-generation.scorer"}
    with pytest.raises(UsageError, match=r"qa-generation\.stride=100 is too large for sources of 64"):
        QAGeneration(QAGenerationSettings(stride=100)).resolve([row], t5, config())
    with pytest.raises(ValueError, match="ends with"):
        QAGenerationSettings(template="{context} {question}")
