"""NLI: labels meet by name, rows without gold are left out, two-way gold is read after the decision."""

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from class_helpers import answer, config, loss, measured, numbered, words
from sklearn import metrics as sklearn_metrics
from transformers import BertForSequenceClassification

from hfkit.data import load
from hfkit.engine.collate import collate
from hfkit.errors import DataError, ModelError
from hfkit.recipe.keys import Data
from hfkit.tasks.base import Row
from hfkit.tasks.labels import OTHER, THREE_WAY
from hfkit.tasks.nli.settings import NLISettings
from hfkit.tasks.nli.task import NLI
from hfkit.tasks.scoring import measured as all_measured
from hfkit.tasks.scoring import score_columns


def pairs(*labels: Any) -> list[Row]:
    return numbered(
        [{"premise": "the cat sat on the mat", "hypothesis": "a cat sat", "label": label} for label in labels]
    )


def resolved(rows: list[Row], names: list[str] | None = None, **settings: Any) -> NLI:
    return NLI(NLISettings(**settings)).resolve(rows, words(), config(names))[0]


def trained(rows: list[Row], *names: str, **settings: Any) -> NLI:
    return NLI(NLISettings(**settings)).adopt(rows, config(list(names)))[0]


def test_features() -> None:
    task = resolved(pairs(2, 0, 1))
    first = next(task.encode(pairs(2, 0, 1), words()))
    assert first == {
        "row": 0,
        "input_ids": [2, 4, 6, 8, 10, 4, 11, 3, 5, 6, 8, 3],
        "token_type_ids": [0] * 8 + [1] * 4,
        "label": 2,
    }
    assert "token_type_ids" not in next(task.encode(pairs(0), words(types=False)))
    unlabelled = numbered([{"premise": "a", "hypothesis": "b"}])
    assert next(task.encode(unlabelled, words()))["label"] == -100


def test_numbers_are_said_and_stored() -> None:
    rows = pairs(0, 1, 2, -1)
    assert "labels are read by number: 0 as entailment, 1 as neutral, 2 as contradiction" in NLI(NLISettings()).check(
        rows, training=True
    )
    task, lines = NLI(NLISettings()).resolve(rows[:3], words(), config())
    assert {line.key for line in lines} == {"nli.max_length", "nli.classes", "nli.labels"}
    assert task.settings.classes == list(THREE_WAY)
    later = NLI(NLISettings(**task.settings.model_dump()))  # as saved beside the model
    assert later.check(pairs(0, 2, 2), training=False) == [
        "labels are read by number: 0 as entailment, 2 as contradiction",
        "no row is labelled neutral",
    ]
    assert later.settings.max_length == task.settings.max_length


def test_a_row_that_says_no_gold_is_dropped_and_counted() -> None:
    rows = pairs("entailment", "-", "neutral", None, "contradiction", -1, "-1", "")
    task = NLI(NLISettings())
    assert [task.usable(row) for row in rows] == [True, False, True, False, True, False, False, False]
    lines = task.check(rows, training=True)
    assert 'labels that say no gold, left out: "" 2, -1 2, - 1' in lines
    assert all(
        task.measure({"id": row["id"], "prediction": "neutral"}, row) is None for row in rows if not task.usable(row)
    )


@pytest.mark.parametrize("labels", [("entailment", "weird"), (0, "neutral", 2), (0, 1), (float("nan"), "neutral")])
def test_unknown_labels_are_refused(labels: tuple[Any, ...]) -> None:
    for training in (True, False):
        with pytest.raises(DataError) as raised:
            NLI(NLISettings()).check(pairs(*labels), training=training)
        assert "nli.labels=" in (raised.value.hint or "")


def test_training_needs_two_classes() -> None:
    with pytest.raises(DataError, match="two classes"):
        NLI(NLISettings()).check(pairs("neutral", "neutral", "-"), training=True)


def test_duplicate_ids_and_null_texts() -> None:
    rows = [dict(row, id="same") for row in pairs(0, 1, 2)]
    for training in (True, False):  # eval and score refuse them by themselves, predict does not
        assert any("same" in line for line in NLI(NLISettings()).check(rows, training=training))
    with pytest.raises(DataError, match="premise is null"):
        NLI(NLISettings()).check([dict(pairs(0)[0], premise=None), *pairs(1, 2)], training=True)


def test_two_way_data_trains_a_two_way_head() -> None:
    task = resolved(pairs("entailment", "non-entailment", "not_entailment"))
    assert task.model_config() == {
        "num_labels": 2,
        "id2label": {0: "entailment", 1: OTHER},
        "label2id": {"entailment": 0, OTHER: 1},
        "problem_type": "single_label_classification",
    }
    with pytest.raises(DataError, match="mix"):
        resolved(pairs("entailment", "non-entailment", "neutral"))


def test_a_named_head_keeps_its_order_in_training() -> None:
    task = resolved(pairs(0, 1, 2), ["CONTRADICTION", "NEUTRAL", "ENTAILMENT"])
    assert task.settings.classes == ["contradiction", "neutral", "entailment"]
    assert [feature["label"] for feature in task.encode(pairs(0, 1, 2), words())] == [2, 1, 0]
    with pytest.raises(ModelError, match="LABEL_0"):
        resolved(pairs(0, 1, 2), ["LABEL_0", "LABEL_1", "LABEL_2"])
    named = resolved(pairs(0, 1, 2), ["LABEL_0", "LABEL_1", "LABEL_2"], model_labels={0: "n", 1: "e", 2: "c"})
    assert named.settings.classes == ["neutral", "entailment", "contradiction"]


def test_a_model_in_training_is_scored_by_its_new_names() -> None:
    """Its config has the task's labels already, and still the architecture of the encoder it came from."""
    task = resolved(pairs(0, 1, 2))
    model_config = config()
    for name, value in task.model_config().items():
        setattr(model_config, name, value)
    assert task.adopt(pairs(2, 1, 0), model_config)[0].settings == task.settings


def test_models_that_cannot_be_scored() -> None:
    with pytest.raises(ModelError, match="LABEL_0"):
        trained(pairs("neutral"), "LABEL_0", "LABEL_1", "LABEL_2")
    with pytest.raises(ModelError, match="no classification head"):
        NLI(NLISettings()).adopt(pairs("neutral"), config())
    with pytest.raises(ModelError, match=r"hfkit\.json"):
        trained(
            pairs("neutral"),
            "entailment",
            "neutral",
            "contradiction",
            classes=["neutral", "entailment", "contradiction"],
        )


def test_permuted_heads_give_equal_named_predictions() -> None:
    """The same weights in another order under their own names (facts J32, J33) mean the same."""
    torch.manual_seed(0)
    generator = np.random.default_rng(0)
    rows = numbered(
        [
            {
                "premise": f"the cat {'sat ' * (n % 5)}",
                "hypothesis": f"a {'dog ' * (n % 3)}",
                "label": int(generator.integers(3)),
            }
            for n in range(60)
        ]
    )
    model = BertForSequenceClassification(config(list(THREE_WAY))).eval()
    torch.nn.init.normal_(model.classifier.weight)
    weight, bias = model.classifier.weight.detach().clone(), model.classifier.bias.detach().clone()
    results = []
    for order in ([0, 1, 2], [2, 1, 0], [1, 2, 0]):
        with torch.no_grad():
            model.classifier.weight.copy_(weight[order])
            model.classifier.bias.copy_(bias[order])
        task = trained(rows, *[THREE_WAY[place] for place in order], labels={0: "e", 1: "n", 2: "c"})
        batch = collate(list(task.encode(rows, words())), 0)
        names = ("input_ids", "attention_mask", "token_type_ids")
        with torch.no_grad():
            logits = model(**{name: batch[name] for name in names}).logits
        results.append(answer(task, rows, logits))
    for other in results[1:]:
        for left, right in zip(results[0], other, strict=True):
            assert left["prediction"] == right["prediction"]
            assert left["probabilities"] == pytest.approx(right["probabilities"], abs=1e-6)
    wrong = [[rotate(task_answer, by) for task_answer in results[0]] for by in range(3)]
    task = trained(rows, *THREE_WAY, labels={0: "e", 1: "n", 2: "c"})
    shares = [task.reduce(measured(task, answers, rows))["accuracy"] for answers in wrong]
    assert sum(shares) == pytest.approx(100)


def rotate(prediction: dict[str, Any], by: int) -> dict[str, Any]:
    return {"id": prediction["id"], "prediction": THREE_WAY[(THREE_WAY.index(prediction["prediction"]) + by) % 3]}


def test_three_way_model_on_two_way_gold_decides_first() -> None:
    rows = pairs("non-entailment", "entailment", "non-entailment")
    task = trained(rows, "contradiction", "neutral", "entailment")
    # Row 0: neutral and contradiction together beat entailment, and yet entailment is the likeliest class.
    chances = torch.tensor([[0.3, 0.3, 0.4], [0.2, 0.2, 0.6], [0.1, 0.6, 0.3]])
    predictions = answer(task, rows, chances.log())
    assert [p["prediction"] for p in predictions] == ["entailment", "entailment", "neutral"]
    metrics = task.reduce(measured(task, predictions, rows))
    assert metrics["accuracy"] == pytest.approx(200 / 3)
    assert metrics["log_loss"] == pytest.approx(-(math.log(0.6) + math.log(0.6) + math.log(0.7)) / 3, abs=1e-6)
    scores = score_columns(task, all_measured(task, predictions, rows))
    assert set(scores.definitions) == set(scores.metrics)


def test_two_way_model_on_three_way_gold() -> None:
    rows = pairs("neutral", "entailment", "contradiction")
    task = trained(rows, "not_entailment", "entailment")
    predictions = answer(task, rows, torch.tensor([[2.0, 0.0], [0.0, 2.0], [0.0, 2.0]]))
    assert [p["prediction"] for p in predictions] == [OTHER, "entailment", "entailment"]
    assert [feature["label"] for feature in task.encode(rows, words())] == [0, 1, 0]
    columns = measured(task, predictions, rows)
    assert task.reduce(columns)["accuracy"] == pytest.approx(200 / 3)
    light = {name: values for name, values in columns.items() if not name.startswith("p_")}
    assert task.reduce(light).items() <= task.reduce(columns).items()


def test_always_entailment_on_hans_is_50() -> None:
    """Fact J36, on rows of HANS' shape."""
    heuristics = ("lexical_overlap", "subsequence", "constituent")
    rows = [
        dict(row, heuristic=heuristic)
        for heuristic in heuristics
        for row in pairs(*["entailment"] * 10, *["non-entailment"] * 10)
    ]
    task = NLI(NLISettings())
    predictions = [{"id": row["id"], "prediction": "entailment"} for row in rows]
    metrics = task.reduce(measured(task, predictions, rows))
    assert metrics["accuracy"] == metrics["overall"] == 50
    assert [metrics[f"{name}_entailment"] for name in heuristics] == [100] * 3
    assert [metrics[f"{name}_non_entailment"] for name in heuristics] == [0] * 3


def test_metrics_equal_sklearn() -> None:
    generator = np.random.default_rng(3)
    rows = pairs(*generator.integers(-1, 3, size=400).tolist())
    task = trained(rows, "neutral", "contradiction", "entailment", labels={0: "e", 1: "n", 2: "c"})
    logits = torch.tensor(generator.normal(size=(400, 3)), dtype=torch.float32)
    predictions = answer(task, rows, logits)
    metrics = task.reduce(measured(task, predictions, rows))
    kept = [(p, THREE_WAY[row["label"]]) for p, row in zip(predictions, rows, strict=True) if row["label"] >= 0]
    gold, said = [name for _, name in kept], [p["prediction"] for p, _ in kept]
    chances = [[p["probabilities"][name] for name in sorted(THREE_WAY)] for p, _ in kept]
    assert metrics["accuracy"] == pytest.approx(100 * sklearn_metrics.accuracy_score(gold, said), abs=1e-12)
    assert metrics["macro_f1"] == pytest.approx(100 * sklearn_metrics.f1_score(gold, said, average="macro"), abs=1e-12)
    assert metrics["mcc"] == pytest.approx(sklearn_metrics.matthews_corrcoef(gold, said), abs=1e-12)
    assert metrics["log_loss"] == pytest.approx(
        sklearn_metrics.log_loss(gold, chances, labels=sorted(THREE_WAY)), abs=1e-12
    )
    assert set(metrics) <= set(task.definitions())


def test_loss_is_over_rows_with_gold() -> None:
    rows = pairs("entailment", "-", "contradiction", None)
    task = resolved(pairs("entailment", "neutral", "contradiction"))
    logits = torch.randn(4, 3, generator=torch.Generator().manual_seed(0))
    total, count = loss(task, rows, logits)
    expected = -logits.log_softmax(-1)[0, 0] - logits.log_softmax(-1)[2, 2]
    assert (count, total) == (2, pytest.approx(float(expected), rel=1e-6))
    assert loss(task, pairs("-"), logits[:1]) == (0.0, 0)


def test_outputs_that_are_not_finite_stop() -> None:
    rows = pairs("entailment")
    with pytest.raises(ModelError, match="row '0'"):
        answer(trained(rows, *THREE_WAY), rows, torch.tensor([[float("nan"), 0.0, 0.0]]))


def test_predictions_of_any_batch_are_json(tmp_path: Path) -> None:
    rows = pairs("entailment", "neutral")
    prediction = answer(trained(rows, *THREE_WAY), rows, torch.tensor([[1.0, 2.0, 3.0], [0.0, 80.0, -80.0]]))[1]
    assert json.loads(json.dumps(prediction)) == prediction
    assert sum(prediction["probabilities"].values()) == pytest.approx(1, abs=1e-15)


def test_max_length() -> None:
    rows = [dict(row, premise="cat " * 30) for row in pairs(0, 1, 2)] * 40
    _, lines = NLI(NLISettings()).resolve(rows, words(), config())
    assert lines[0].value == 40 and "no row is truncated" in lines[0].why  # 30 + 3 words + 3 marks, rounded up
    task, lines = NLI(NLISettings(max_length=500)).resolve(rows, words(), config(positions=32))
    assert lines[0].value == 32 and "100 % of rows are truncated (longest: 36)" in lines[0].why
    feature = next(task.encode(rows, words()))
    assert len(feature["input_ids"]) == 32 and feature["input_ids"][-5:] == [3, 5, 6, 8, 3]  # the hypothesis is whole
    assert trained(pairs(0, 1, 2), *THREE_WAY).settings.max_length == 64


def test_score_needs_no_model() -> None:
    rows = pairs(0, 1, 2)
    task = NLI(NLISettings()).adopt(rows, None)[0]
    predictions = [{"id": row["id"], "prediction": name} for row, name in zip(rows, THREE_WAY, strict=True)]
    assert task.reduce(measured(task, predictions, rows))["accuracy"] == 100
    with pytest.raises(DataError, match="not an NLI class"):
        task.measure({"id": "0", "prediction": "positive"}, rows[0])


@pytest.mark.shared_data
def test_real_sets(shared: Path) -> None:
    expected = {
        "ocnli/dev.jsonl": (3000, 2950),
        "ocnli/train.jsonl": (10000, 9985),
        "mnli/dev_matched.jsonl": (9815, 9815),
    }
    for name, (all_rows, kept) in expected.items():
        rows = load(str(shared / name), columns=NLI.columns, settings=Data(), need_gold=True)
        task = NLI(NLISettings())
        lines = task.check(rows, training=True)
        assert (len(rows), sum(map(task.usable, rows))) == (all_rows, kept)
        assert kept == all_rows or f"labels that say no gold, left out: - {all_rows - kept}" in lines
    hans = load(str(shared / "hans/eval.jsonl"), columns=NLI.columns, settings=Data(), need_gold=True)
    task = trained(list(hans), "contradiction", "neutral", "entailment")
    said = {"prediction": "entailment", "probabilities": dict(zip(THREE_WAY, (0.4, 0.3, 0.3), strict=True))}
    metrics = task.reduce(measured(task, [{"id": row["id"], **said} for row in hans], hans))
    assert metrics["accuracy"] == metrics["overall"] == 50
