"""The label doctor: orders of nameless labels, known checkpoints, doubts, baselines, and how labels were read."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from class_helpers import answer, config, measured, numbered, words

from hfkit.errors import ModelError, UsageError
from hfkit.tasks.base import Prediction, Row
from hfkit.tasks.classify import Classify, ClassifySettings
from hfkit.tasks.doctor import label_doubts, label_fields, majority, settle_labels
from hfkit.tasks.labels import OTHER, THREE_WAY
from hfkit.tasks.nli.known import KNOWN_ORDERS, known_order
from hfkit.tasks.nli.settings import NLISettings
from hfkit.tasks.nli.task import NLI

NAMELESS = ["LABEL_0", "LABEL_1", "LABEL_2"]
TABLE = ((300, 20, 10), (25, 280, 30), (5, 15, 315))  # gold, predicted: 89.5 % right


def from_table(table: Any = TABLE) -> tuple[np.ndarray, np.ndarray]:
    """Gold and predicted places of rows that give this confusion table."""
    cells = [(g, p) for g, line in enumerate(table) for p, count in enumerate(line) for _ in range(count)]
    gold, said = zip(*cells, strict=True)
    return np.asarray(gold), np.asarray(said)


def rows_of(gold: np.ndarray) -> list[Row]:
    return numbered([{"premise": "a", "hypothesis": "b", "label": THREE_WAY[place]} for place in gold])


def predictions_of(said: np.ndarray, names: list[str]) -> list[Prediction]:
    """`names[place]` is what the model calls the class at this place."""
    return [
        {
            "id": str(number),
            "prediction": names[place],
            "probabilities": {name: 0.8 if name == names[place] else 0.1 for name in names},
        }
        for number, place in enumerate(said)
    ]


def test_the_six_orders_are_tried_and_the_right_one_is_found() -> None:
    """Fact J32: the orders of a cycle add up to 100, and the swaps do."""
    gold, said = from_table()
    rows = rows_of(gold)
    model = ["LABEL_1", "LABEL_2", "LABEL_0"]  # entailment, neutral, contradiction by this model's numbers
    task = NLI(NLISettings(model_labels="auto")).adopt(rows, config(NAMELESS))[0]
    fitted, predictions, tested = settle_labels(task, predictions_of(said, model), rows)
    assert tested is not None and isinstance(fitted, NLI)
    assert tested.best == {"LABEL_0": "contradiction", "LABEL_1": "entailment", "LABEL_2": "neutral"}
    shares = sorted((accuracy for _, accuracy in tested.orders), reverse=True)
    assert shares == pytest.approx([89.5, 36.0, 34.5, 29.5, 5.5, 5.0])
    assert shares[0] + shares[4] + shares[5] == pytest.approx(100) and sum(shares[1:4]) == pytest.approx(100)
    assert tested.lines()[0] == "accuracy 89.5: LABEL_0 = contradiction, LABEL_1 = entailment, LABEL_2 = neutral"
    assert fitted.settings.classes == ["contradiction", "entailment", "neutral"]
    assert fitted.reduce(measured(fitted, predictions, rows))["accuracy"] == pytest.approx(89.5)
    assert predictions[0]["prediction"] == "entailment" and set(predictions[0]["probabilities"]) == set(THREE_WAY)
    assert "model labels: LABEL_0 = contradiction, LABEL_1 = entailment" in fitted.definitions()["accuracy"]
    fields = label_fields(fitted, tested)["labels"]
    assert fields["model"] == tested.best and len(fields["tried"]) == 6 and fields["data"]["neutral"] == "neutral"


@pytest.mark.parametrize("names", [["0", "1", "2"], NAMELESS])
def test_predictions_of_any_tool_have_their_orders_tried(names: list[str]) -> None:
    gold, said = from_table()
    rows = rows_of(gold)
    task = NLI(NLISettings(model_labels="auto")).adopt(rows, None)[0]
    bare = [{"id": str(number), "prediction": names[2 - place]} for number, place in enumerate(said)]
    fitted, predictions, tested = settle_labels(task, bare, rows)
    assert tested is not None and list(tested.best.values()) == list(reversed(THREE_WAY))
    assert fitted.reduce(measured(fitted, predictions, rows))["accuracy"] == pytest.approx(89.5)


def test_an_order_that_is_not_certain_is_refused_with_all_of_them() -> None:
    drawn = np.random.default_rng(0).integers(3, size=(2, 300))
    rows = rows_of(drawn[0])
    task = NLI(NLISettings(model_labels="auto")).adopt(rows, config(NAMELESS))[0]
    with pytest.raises(ModelError) as raised:
        settle_labels(task, predictions_of(drawn[1], NAMELESS), rows)
    assert raised.value.message.count("accuracy ") == 6
    assert "nli.model_labels=" in (raised.value.hint or "")


def test_what_cannot_be_tried_is_refused() -> None:
    rows = numbered([{"premise": "a", "hypothesis": "b", "label": ("entailment", OTHER)[n % 2]} for n in range(40)])
    task = NLI(NLISettings(model_labels="auto")).adopt(rows, config(NAMELESS))[0]
    with pytest.raises(ModelError, match="rows of three classes"):
        settle_labels(task, predictions_of(np.arange(40) % 3, NAMELESS), rows)
    with pytest.raises(ModelError, match="there are none"):
        NLI(NLISettings(model_labels="auto")).adopt(numbered([{"premise": "a"}]), config(NAMELESS))
    with pytest.raises(ModelError, match="nli.model_labels|LABEL_0"):
        NLI(NLISettings(model_labels="auto")).resolve(rows_of(np.arange(6) % 3), words(), config(NAMELESS))
    four = [*NAMELESS, "LABEL_3"]
    task = NLI(NLISettings(model_labels="auto")).adopt(rows, config(four))[0]
    with pytest.raises(ModelError, match="two or three labels"):
        settle_labels(task, predictions_of(np.arange(40) % 4, four), rows)


def test_two_nameless_labels() -> None:
    rows = rows_of(np.arange(90) % 3)
    task = NLI(NLISettings(model_labels="auto")).adopt(rows, config(["LABEL_0", "LABEL_1"]))[0]
    said = np.asarray([1 if row["label"] == "entailment" else 0 for row in rows])
    fitted, _, tested = settle_labels(task, predictions_of(said, ["LABEL_0", "LABEL_1"]), rows)
    assert tested is not None and tested.best == {"LABEL_0": OTHER, "LABEL_1": "entailment"}
    assert fitted.settings.classes == [OTHER, "entailment"]


def test_a_head_with_names_needs_no_test() -> None:
    rows = rows_of(np.arange(6) % 3)
    task = NLI(NLISettings(model_labels="auto")).adopt(rows, config(["c", "e", "n"]))[0]
    assert task.settings.classes == ["contradiction", "entailment", "neutral"]
    predictions = predictions_of(np.arange(6) % 3, list(THREE_WAY))
    assert settle_labels(task, predictions, rows)[1:] == (predictions, None)


def test_known_checkpoints() -> None:
    name = "textattack/bert-base-uncased-MNLI"
    assert known_order(f"{name}@main", NAMELESS) == ["contradiction", "entailment", "neutral"]
    assert known_order(name, ["e", "n", "c"]) is None and known_order(name, NAMELESS[:2]) is None
    assert known_order("somebody/else", NAMELESS) is None and known_order(None, NAMELESS) is None
    assert all(set(order) == set(THREE_WAY) for order in KNOWN_ORDERS.values())
    rows = rows_of(np.arange(3))
    found = config(NAMELESS)
    found.name_or_path = name
    task, lines = NLI(NLISettings()).adopt(rows, found)
    assert task.settings.classes == ["contradiction", "entailment", "neutral"]
    assert any(f"the known order of {name}" in line.why for line in lines)
    assert task.label_map["model"] == dict(zip(NAMELESS, task.settings.classes, strict=True))
    again = NLI(NLISettings(model_labels={"LABEL_0": "e", "LABEL_1": "n", "LABEL_2": "c"})).adopt(rows, found)[0]
    assert again.settings.classes == list(THREE_WAY)  # the key goes first
    trained, lines = NLI(NLISettings()).resolve(rows, words(), found)
    assert trained.settings.classes == ["contradiction", "entailment", "neutral"] and "known order" in lines[1].why


@pytest.mark.parametrize(
    ("order", "expected"),
    [
        ((1, 2, 0), "accuracy is 5.0, below chance (33.3), and would be 89.5"),
        ((0, 2, 1), "accuracy is 34.5, and would"),
    ],
)
def test_an_accuracy_that_another_order_mends_is_called_out(order: tuple[int, ...], expected: str) -> None:
    gold, said = from_table()
    rows = rows_of(gold)
    task = NLI(NLISettings())
    predictions = predictions_of(np.asarray(order)[said], list(THREE_WAY))
    (line,) = label_doubts(task, measured(task, predictions, rows))
    # the model's own answer p was renamed to order[p]; to mend it, order[p] is read as p
    moved = [f"{THREE_WAY[order[place]]} as {THREE_WAY[place]}" for place in range(3) if order[place] != place]
    assert all(each in line for each in moved) and "nli.labels" in line
    assert expected in line
    assert label_doubts(task, measured(task, predictions_of(said, list(THREE_WAY)), rows)) == []


def test_no_doubt_without_a_reason() -> None:
    task = NLI(NLISettings())
    drawn = np.random.default_rng(1).integers(3, size=(2, 2000))
    assert label_doubts(task, measured(task, predictions_of(drawn[1], list(THREE_WAY)), rows_of(drawn[0]))) == []
    gold, said = from_table(((1, 2, 0), (0, 1, 2), (2, 0, 1)))  # a few rows
    assert label_doubts(task, measured(task, predictions_of(said, list(THREE_WAY)), rows_of(gold))) == []
    always = np.zeros(900, dtype=int)  # 10 % right, and no better than the majority in any other order
    gold = np.asarray([0] * 90 + [1] * 810)
    assert label_doubts(task, measured(task, predictions_of(always, list(THREE_WAY)), rows_of(gold))) == []


def test_a_wrong_entailment_on_two_way_gold_is_called_out() -> None:
    """HANS with bart-large-mnli read as entailment, neutral, contradiction: its contradiction is the entailment."""
    gold = [("entailment", OTHER)[n % 2] for n in range(400)]
    rows = numbered([{"premise": "a", "hypothesis": "b", "label": label} for label in gold])
    said = ["contradiction" if label == "entailment" else "entailment" for label in gold]
    task = NLI(NLISettings())
    predictions = [{"id": row["id"], "prediction": name} for row, name in zip(rows, said, strict=True)]
    (line,) = label_doubts(task, measured(task, predictions, rows))
    assert "accuracy is 0.0, below chance (50.0), and would be 100.0" in line and "contradiction as entailment" in line


def test_swapped_classes_of_any_task_are_called_out() -> None:
    for labels in (["no", "yes"], [f"intent {number:02d}" for number in range(20)]):
        gold = [labels[n % len(labels)] for n in range(400)]
        rows = numbered([{"text": "a", "label": label} for label in gold])
        said = [labels[(labels.index(label) + 1) % len(labels)] for label in gold]
        task = Classify(ClassifySettings(labels=labels, target="single"))
        predictions = [{"id": row["id"], "prediction": name} for row, name in zip(rows, said, strict=True)]
        (line,) = label_doubts(task, measured(task, predictions, rows))
        assert "would be 100.0" in line and f"{labels[1]} as {labels[0]}" in line and "classify.labels" in line
        right = [{"id": row["id"], "prediction": row["label"]} for row in rows]
        assert label_doubts(task, measured(task, right, rows)) == []


def test_the_majority_baseline() -> None:
    gold = np.asarray([0] * 30 + [1] * 50 + [2] * 20)
    task = NLI(NLISettings())
    said, metrics = majority(task, measured(task, predictions_of(gold, list(THREE_WAY)), rows_of(gold)))
    assert said == "neutral" and metrics["accuracy"] == 50 and metrics["mcc"] == 0 and "log_loss" not in metrics
    rows = numbered([{"text": "a", "label": label} for label in "aab"])
    single = Classify(ClassifySettings(labels=["b", "a"], target="single"))
    columns = measured(single, [{"id": row["id"], "prediction": "b"} for row in rows], rows)
    assert majority(single, columns)[0] == "a" and majority(single, columns)[1]["accuracy"] == pytest.approx(200 / 3)
    with pytest.raises(UsageError, match="one label a row"):
        majority(single, {"gold_0": np.zeros(2), "predicted_0": np.zeros(2)})


def test_the_hypothesis_alone() -> None:
    rows = numbered([{"premise": "the cat " * 20, "hypothesis": "a cat sat", "label": n % 3} for n in range(6)])
    task, lines = NLI(NLISettings(hypothesis_only=True)).resolve(rows, words(), config())
    assert lines[0].value == 8  # [CLS] [SEP] a cat sat [SEP]: the premise does not count
    assert next(task.encode(rows, words()))["input_ids"] == [2, 3, 5, 6, 8, 3]
    assert "the premise was left out" in task.definitions()["accuracy"]
    other = [dict(row, premise="a dog ran") for row in rows]
    assert list(task.encode(rows, words())) == list(task.encode(other, words()))
    later = NLI(NLISettings(**task.settings.model_dump())).adopt(rows, config(list(THREE_WAY)))
    assert later[0].settings.hypothesis_only and any(line.key == "nli.hypothesis_only" for line in later[1])


def test_how_labels_were_read_goes_with_every_score() -> None:
    rows = numbered([{"premise": "a", "hypothesis": "b", "label": label} for label in ("蕴含", "中性", "矛盾", "-")])
    task, lines = NLI(NLISettings()).adopt(rows, config(["CONTRADICTION", "neutral", "entailment"]))
    assert task.label_map == {
        "data": {"蕴含": "entailment", "中性": "neutral", "矛盾": "contradiction", "-": None},
        "model": {"CONTRADICTION": "contradiction", "neutral": "neutral", "entailment": "entailment"},
    }
    said = task.definitions()["accuracy"]
    assert "data labels: - = no gold, 中性 = neutral, 矛盾 = contradiction, 蕴含 = entailment" in said
    assert "model labels: CONTRADICTION = contradiction, neutral, entailment" in said
    assert next(line for line in lines if line.key == "nli.labels").why == "by meaning"
    # a submission is written in the data's words, so they are kept beside the model
    assert task.settings.labels == {"蕴含": "entailment", "中性": "neutral", "矛盾": "contradiction"}


def test_a_word_that_means_two_things_is_asked() -> None:
    from hfkit.errors import DataError

    rows = numbered([{"premise": "a", "hypothesis": "b", "label": label} for label in ("蕴含", "不相关", "矛盾")])
    with pytest.raises(DataError, match="不相关") as raised:
        NLI(NLISettings()).check(rows, training=True)
    assert "some sets call neutral so, others non-entailment" in (raised.value.hint or "")


def test_logits_become_the_labels_words_until_they_are_tested() -> None:
    import torch

    rows = rows_of(np.arange(3))
    task = NLI(NLISettings(model_labels="auto")).adopt(rows, config(NAMELESS))[0]
    predictions = answer(task, rows, torch.eye(3))
    assert [item["prediction"] for item in predictions] == NAMELESS
    assert task.model_config()["id2label"] == dict(enumerate(NAMELESS))
