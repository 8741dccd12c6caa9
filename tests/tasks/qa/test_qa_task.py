"""QA as a task: loss, reads, predictions, settings, checks, scores."""

import json
import math
import random
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from qa_helpers import byte_level, predictions, qa, row, run_batch, spaced_words, wordpiece
from transformers import BertConfig

from hfkit.errors import DataError, ModelError, UsageError
from hfkit.tasks import task_class
from hfkit.tasks.qa.settings import QASettings
from hfkit.tasks.qa.task import QA

CONTEXT = "the cat sat on the dog . the bird is in paris . an answer stands here and there"


def random_logits(feature: dict[str, Any]) -> tuple[np.ndarray, np.ndarray]:
    """Numbers that depend on the window alone, not on its place in a batch."""
    rng = np.random.default_rng([feature["row"], sum(feature["char_start"])])
    return tuple(rng.normal(size=(2, len(feature["input_ids"]))).astype(np.float32))


def peak(first: int, last: int, height: float, null: float = 0.0) -> Any:
    """Logits that put `height` on the tokens `first` and `last` of the context, and `null` on the null position."""

    def logits(feature: dict[str, Any]) -> tuple[np.ndarray, np.ndarray]:
        start, end = np.full((2, len(feature["input_ids"])), -20.0)
        inside = np.flatnonzero(feature["context"])
        start[inside[first]] = end[inside[last]] = height / 2
        start[feature["null_index"]] = end[feature["null_index"]] = null / 2
        return start, end

    return logits


def test_the_table_of_tasks_knows_qa() -> None:
    task = task_class("qa")(QASettings())
    assert isinstance(task, QA)
    assert task.headline == ("f1", "higher")
    assert [(c.name, c.required, c.gold) for c in task.columns] == [
        ("id", False, False), ("question", True, False), ("context", True, False), ("answers", True, True),
    ]  # fmt: skip


# loss


def test_loss_is_the_mean_of_start_and_end_summed_over_labelled_windows() -> None:
    rows = [row("cat dog", ("dog", 4)), row(CONTEXT * 3, ("bird", 29)), {"id": "n", "question": "a", "context": "cat"}]
    features = list(qa().encode(rows, wordpiece()))
    outputs, batch = run_batch(qa(), features, random_logits)
    total, count = qa().loss(outputs, batch)
    expected = 0.0
    labelled = [feature for feature in features if feature["start_position"] >= 0]
    for feature in labelled:
        for logits, name in zip(random_logits(feature), ("start_position", "end_position"), strict=True):
            expected += float(np.log(np.exp(logits.astype(np.float64)).sum()) - logits[feature[name]]) / 2
    assert int(count) == len(labelled) == len(features) - 1
    assert float(total) == pytest.approx(expected, rel=1e-5)


def test_loss_does_not_see_padding_and_is_float32_for_half_precision() -> None:
    features = list(qa().encode([row("cat", ("cat", 0)), row(CONTEXT, ("cat", 4))], wordpiece()))
    alone, batch = run_batch(qa(), features[:1], random_logits)
    together, both = run_batch(qa(), features, random_logits)
    single = qa().loss(alone, batch)[0]
    sole = {name: value[:1] for name, value in both.items()}
    padded = SimpleNamespace(start_logits=together.start_logits[:1], end_logits=together.end_logits[:1])
    assert torch.allclose(qa().loss(padded, sole)[0], single)
    half = SimpleNamespace(start_logits=padded.start_logits.bfloat16(), end_logits=padded.end_logits.bfloat16())
    assert qa().loss(half, sole)[0].dtype == torch.float32


def test_a_batch_without_labels_gives_zero_and_finite_gradients() -> None:
    features = list(qa().encode([{"id": "n", "question": "a", "context": "cat"}], wordpiece()))
    outputs, batch = run_batch(qa(), features, random_logits)
    outputs.start_logits.requires_grad_()
    total, count = qa().loss(outputs, batch)
    total.backward()
    assert (float(total.detach()), int(count)) == (0.0, 0)
    assert torch.isfinite(outputs.start_logits.grad).all()


def test_left_padding_moves_labels_null_and_spans_with_the_window() -> None:
    task = qa()
    features = list(task.encode([row("cat", ("cat", 0)), row(CONTEXT, ("bird", 29))], wordpiece(layout="xlnet")))
    outputs, batch = run_batch(task, features, random_logits)
    size = len(features[0]["input_ids"])
    shift = batch["input_ids"].shape[1] - size
    assert shift > 0
    left = {n: torch.roll(v[:1], shift, dims=1) if v.dim() == 2 else v[:1] for n, v in batch.items()}
    right = {n: v[:1] for n, v in batch.items()}
    moved = SimpleNamespace(
        start_logits=torch.roll(outputs.start_logits[:1], shift, dims=1),
        end_logits=torch.roll(outputs.end_logits[:1], shift, dims=1),
    )
    still = SimpleNamespace(start_logits=outputs.start_logits[:1], end_logits=outputs.end_logits[:1])
    assert torch.allclose(task.loss(moved, left)[0], task.loss(still, right)[0])
    for name, value in task.read(still, right).items():
        assert torch.equal(task.read(moved, left)[name], value), name


# predictions


def test_a_prediction_has_the_contracts_keys_and_its_span_is_its_text() -> None:
    rows = [row(CONTEXT)]
    features = list(qa(max_length=80, stride=8).encode(rows, wordpiece()))
    (found,) = predictions(qa(max_length=80, stride=8), rows, features, peak(1, 1, 4.0, null=1.0))
    assert found == {
        "id": "r", "prediction": "cat", "start": 4, "end": 7, "score": 4.0, "null_gap": -3.0,
        "no_answer_probability": pytest.approx(1 / (1 + math.exp(3))), "no_answer": False,
    }  # fmt: skip
    assert json.loads(json.dumps(found)) == found


@pytest.mark.parametrize(
    ("settings", "null", "empty"),
    [
        ({"scorer": "squad2"}, 4.0, False),  # a gap of exactly 0: strictly greater is needed
        ({"scorer": "squad2"}, 4.5, True),
        ({"scorer": "squad2", "null_threshold": 1.0}, 5.0, False),
        ({"scorer": "squad2", "null_threshold": -5.0}, 0.0, True),
        ({"scorer": "squad", "null_threshold": 1.0}, 5.5, True),
        ({"scorer": "squad"}, 99.0, False),
        ({"scorer": "cmrc"}, 99.0, False),
    ],
)
def test_the_null_threshold(settings: dict[str, Any], null: float, empty: bool) -> None:
    task = qa(**settings)
    rows = [row("the cat")]
    (found,) = predictions(task, rows, list(task.encode(rows, wordpiece())), peak(1, 1, 4.0, null=null))
    assert found["no_answer"] is empty
    assert (found["prediction"], found["start"], found["end"]) == (("", 0, 0) if empty else ("cat", 4, 7))
    assert found["score"] + found["null_gap"] == null


def test_a_span_costs_by_its_characters_wherever_its_window_begins() -> None:
    rows = [row("a dog. " * 40 + "the cat an the")]
    free, costly = (qa(n_best=500, n_best_in_predictions=True, length_penalty=cost) for cost in (0.0, 0.25))
    features = list(free.encode(rows, wordpiece()))
    assert len(features) > 2
    draw = {id(feature): random.Random(number).random() for number, feature in enumerate(features)}

    def logits(feature: dict[str, Any]) -> tuple[np.ndarray, np.ndarray]:
        drawn = np.random.default_rng(int(draw[id(feature)] * 1e6))
        return tuple(drawn.normal(size=(2, len(feature["input_ids"]))).astype(np.float32))

    (usual,), (found,) = (predictions(task, rows, features, logits) for task in (free, costly))
    plain = {(span["start"], span["end"]): span["score"] for span in usual["n_best"]}
    shared = [span for span in found["n_best"] if (span["start"], span["end"]) in plain]
    assert len(shared) > 50
    for span in shared:
        cost = 0.25 * (span["end"] - span["start"])
        assert span["score"] == pytest.approx(plain[span["start"], span["end"]] - cost, abs=1e-4)
    assert found["score"] + found["null_gap"] == pytest.approx(usual["score"] + usual["null_gap"], abs=1e-5)
    lengths = [sum(span["end"] - span["start"] for span in one["n_best"][:20]) for one in (found, usual)]
    assert lengths[0] < lengths[1]


def test_the_null_score_is_the_lowest_over_the_windows() -> None:
    task = qa(scorer="squad2")
    rows = [row(CONTEXT)]
    features = list(task.encode(rows, wordpiece()))
    assert len(features) > 1
    nulls = {sum(feature["char_start"]): 8.0 - 3 * number for number, feature in enumerate(features)}

    def logits(feature: dict[str, Any]) -> tuple[np.ndarray, np.ndarray]:
        return peak(0, 0, 1.0, null=nulls[sum(feature["char_start"])])(feature)

    (found,) = predictions(task, rows, features, logits)
    assert found["null_gap"] == min(nulls.values()) - 1.0


@pytest.mark.parametrize("context", ["", " \r\n "])
def test_a_context_without_tokens_is_answered_with_nothing(context: str) -> None:
    task = qa(n_best_in_predictions=True)
    rows = [row(context)]
    (found,) = predictions(task, rows, list(task.encode(rows, wordpiece())), random_logits)
    assert (found["prediction"], found["start"], found["end"], found["no_answer"]) == ("", 0, 0, True)
    assert (found["score"], found["null_gap"], found["n_best"]) == (None, None, [])


def test_the_best_spans_are_distinct_and_their_probabilities_add_up() -> None:
    task = qa(n_best_in_predictions=True, stride=14, n_best=7)
    rows = [row(CONTEXT, id=str(number)) for number in range(5)]
    for found in predictions(task, rows, list(task.encode(rows, wordpiece())), random_logits):
        listed = found["n_best"]
        assert len({(item["start"], item["end"]) for item in listed}) == len(listed) == 7
        assert sum(item["probability"] for item in listed) == pytest.approx(1, abs=1e-9)
        assert [item["score"] for item in listed] == sorted((item["score"] for item in listed), reverse=True)
        assert all(CONTEXT[item["start"] : item["end"]] == item["prediction"] for item in listed)
        assert listed[0]["prediction"] == found["prediction"]


def test_one_span_in_two_windows_is_one_entry() -> None:
    task = qa(n_best_in_predictions=True, stride=12)
    rows = [row(" ".join("abcdefghijklmnopqrstuvwxyz" * 2))]
    features = list(task.encode(rows, wordpiece()))
    shared = set(features[0]["char_start"]) & set(features[1]["char_start"]) - {0}
    place = min(shared)

    def logits(feature: dict[str, Any]) -> tuple[np.ndarray, np.ndarray]:
        start = np.where(np.array(feature["char_start"]) == place, 9.0, -9.0) * np.array(feature["context"])
        return start, start

    (found,) = predictions(task, rows, features, logits)
    assert found["start"] == place
    assert [item["start"] for item in found["n_best"]].count(place) >= 1
    assert sum((item["start"], item["end"]) == (place, place + 1) for item in found["n_best"]) == 1
    assert found["n_best"][0]["probability"] > 0.99


def test_the_order_of_windows_and_the_make_up_of_batches_do_not_matter() -> None:
    task = qa(scorer="squad2", n_best_in_predictions=True)
    draw = random.Random(5)
    rows = [row(" ".join(draw.choices(CONTEXT.split(), k=draw.randint(1, 60))), id=str(n)) for n in range(40)]
    features = list(task.encode(rows, wordpiece()))
    first = predictions(task, rows, features, random_logits, size=64)
    shuffled = draw.sample(features, len(features))
    assert predictions(task, rows, shuffled, random_logits, size=3) == first


def test_text_predicted_from_offsets_with_spaces_has_none() -> None:
    for tokenizer in (spaced_words(), byte_level(trim=False)):
        task = qa(max_length=200)
        rows = [row(CONTEXT, id=str(number)) for number in range(20)]
        for found in predictions(task, rows, list(task.encode(rows, tokenizer)), random_logits):
            assert found["prediction"] == found["prediction"].strip()
            assert CONTEXT[found["start"] : found["end"]] == found["prediction"]


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_scores_that_are_not_finite_are_named(value: float) -> None:
    rows = [row("the cat", id="q7")]

    def logits(feature: dict[str, Any]) -> tuple[np.ndarray, np.ndarray]:
        start, end = np.zeros((2, len(feature["input_ids"])))
        start[-1] = value
        return start, end

    with pytest.raises(ModelError, match="q7"):
        predictions(qa(), rows, list(qa().encode(rows, wordpiece())), logits)


def test_infinite_logits_on_padding_are_no_error() -> None:
    features = list(qa().encode([row("cat"), row(CONTEXT)], wordpiece()))
    outputs, batch = run_batch(qa(), features, random_logits)
    outputs.start_logits[batch["attention_mask"] == 0] = float("-inf")
    assert qa().read(outputs, batch)["finite"].all()


# settings


def config(positions: int = 512) -> BertConfig:
    return BertConfig(max_position_embeddings=positions)


def test_resolve_leaves_nothing_open_and_says_why() -> None:
    rows = [row("cat " * 50, ("cat " * 45, 0)), row("dog", ("dog", 0)), row("dog")]
    task, why = QA(QASettings()).resolve(rows, wordpiece(), config())
    assert task.settings.scorer == "squad2"
    assert task.settings.max_answer_length == 45
    assert (task.settings.max_length, task.settings.stride) == (384, 128)
    assert {one.key for one in why} == {"qa.scorer", "qa.max_answer_length"}
    assert "1 of 3 questions are unanswerable" in next(one.why for one in why if one.key == "qa.scorer")


def test_resolve_by_answerable_short_answers() -> None:
    task, _ = QA(QASettings()).resolve([row("dog", ("dog", 0))], wordpiece(), config())
    assert (task.settings.scorer, task.settings.max_answer_length) == ("squad", 30)


def test_resolve_counts_questions_that_are_cut() -> None:
    rows = [row("dog", ("dog", 0), question="cat " * 70), row("dog", ("dog", 0))]
    _, why = QA(QASettings()).resolve(rows, wordpiece(), config())
    assert any(one.key == "qa.max_question_length" and "1 of 2" in one.why for one in why)


def test_a_model_with_fewer_positions_shortens_window_and_stride() -> None:
    rows = [row(CONTEXT, ("cat", 4))]
    task, why = QA(QASettings()).resolve(rows, wordpiece(), config(64))
    assert task.settings.max_length == 64
    assert {"qa.max_length", "qa.stride"} <= {one.key for one in why}
    assert max(len(feature["input_ids"]) for feature in task.encode(rows, wordpiece())) <= 64
    adopted, _ = QA(QASettings()).adopt(rows, config(64))
    assert max(len(feature["input_ids"]) for feature in adopted.encode(rows, wordpiece())) <= 64


def test_a_stride_of_the_users_that_does_not_fit_is_refused_before_anything_is_encoded() -> None:
    with pytest.raises(UsageError, match=r"qa\.stride=400"):
        QA(QASettings(stride=400)).resolve([row("cat", ("cat", 0))], wordpiece(), config())


def test_adopt_chooses_the_scorer_by_the_rows() -> None:
    answerable, unanswerable = row("dog", ("dog", 0)), row("dog")
    plain = {"id": "x", "question": "a", "context": "dog"}
    for settings, rows, expected in (
        (QASettings(), [answerable], "squad"),
        (QASettings(), [answerable, unanswerable], "squad2"),
        (QASettings(), [plain], "squad"),
        (QASettings(scorer="squad"), [answerable, unanswerable], "squad2"),
        (QASettings(scorer="squad2"), [answerable], "squad2"),
        (QASettings(scorer="cmrc"), [answerable], "cmrc"),
    ):
        task, _ = QA(settings).adopt(rows, config())
        assert task.settings.scorer == expected
        assert task.settings.max_answer_length == 30


# checks


def test_check_says_how_answers_were_found() -> None:
    assert qa().check([row("the cat", ("cat", 4))], training=True) == []
    rows = [row("the cat", ("cat", n % 2 + 4), id=str(n)) for n in range(10)]
    assert any("5 of 10 answers" in line for line in qa().check(rows, training=True))


def test_check_refuses_data_whose_answers_are_mostly_lost() -> None:
    rows = [row("the cat", ("cat" if n % 4 else "bird", 4), id=f"q{n}") for n in range(8)]
    with pytest.raises(DataError, match=r"2 of 8 answerable questions.*q0"):
        qa().check(rows, training=True)
    assert qa().check(rows, training=False) == []
    few = [row("the cat", ("cat" if n else "bird", 4), id=f"q{n}") for n in range(5)]
    assert any("1 of 5 answerable questions" in line for line in qa().check(few, training=True))


@pytest.mark.parametrize(
    ("broken", "words"),
    [
        ({"question": None}, "question is null"),
        ({"question": "  "}, "question is empty"),
        ({"context": 7}, "context is not text"),
        ({"context": "cat \ud83d"}, "surrogate"),
    ],
)
def test_check_refuses_what_cannot_be_tokenised(broken: dict[str, Any], words: str) -> None:
    with pytest.raises(DataError, match=words):
        qa().check([row("cat", ("cat", 0)) | broken], training=False)


def test_check_of_no_rows_and_of_training_rows_without_answers() -> None:
    with pytest.raises(DataError, match="no questions"):
        qa().check([], training=False)
    with pytest.raises(DataError, match="no answers"):
        qa().check([{"id": "x", "question": "a", "context": "cat"}], training=True)


# scores


def measured(scorer: str, pairs: list[tuple[str, list[str]]]) -> dict[str, float]:
    task = qa(scorer=scorer)
    stats = [task.measure({"prediction": text}, row("c", *((gold, None) for gold in golds))) for text, golds in pairs]
    columns = {name: np.array([one[name] for one in stats if one is not None]) for name in stats[0] or {}}
    metrics = task.reduce(columns)
    assert set(metrics) <= set(task.definitions())
    return metrics


def test_scores_come_from_the_official_functions_and_use_all_gold_texts() -> None:
    assert measured("squad", [("cat", ["dog", "the cat"]), ("x", ["y"])]) == {"exact_match": 50.0, "f1": 50.0}
    assert measured("mrqa", [("cat", ["dog", "the cat"])]) == {"exact_match": 100.0, "f1": 100.0}
    found = measured("squad2", [("", []), ("cat", []), ("cat", ["cat"])])
    assert found["no_answer_exact_match"] == 50.0
    assert found["has_answer_f1"] == 100.0
    assert measured("cmrc", [("北京", ["北京市"])])["average"] == pytest.approx(40.0)


def test_rows_without_an_answers_column_are_not_scored() -> None:
    plain = {"id": "x", "question": "a", "context": "cat"}
    assert qa().measure({"prediction": "cat"}, plain) is None
    assert not qa().usable(plain)
    assert qa().usable(row("cat"))
