"""Classify: the target is found from the labels, and each goes from rows to metrics and back to the data's names."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from class_helpers import answer, config, loss, measured, numbered, words
from sklearn import metrics as sklearn_metrics

from hfkit.data import load
from hfkit.errors import DataError, ModelError
from hfkit.recipe.keys import Data
from hfkit.tasks.base import LOWER_IS_BETTER, Row
from hfkit.tasks.classify import Classify, ClassifySettings
from hfkit.tasks.scoring import measured as all_measured
from hfkit.tasks.scoring import score_columns


def texts(*labels: Any) -> list[Row]:
    return numbered([{"text": "the film was good", "label": label} for label in labels])


def resolved(rows: list[Row], names: list[str] | None = None, **settings: Any) -> Classify:
    task = Classify(ClassifySettings(**settings))
    task.check(rows, training=True)
    return task.resolve(rows, words(), config(names))[0]


class Mine(Classify):
    """A user's own task: the shipped one with a change."""

    def __init__(self, settings: ClassifySettings) -> None:
        super().__init__(settings)
        self.weight = 2


@pytest.mark.parametrize("labels", [("a", "b"), (["a"], ["a", "b"]), (0.5, 2.0)])
def test_a_users_task_stays_what_it_is(labels: tuple[Any, ...]) -> None:
    rows = texts(*labels)
    task = Mine(ClassifySettings()).resolve(rows, words(), config(None))[0]
    assert type(task) is Mine and task.weight == 2
    assert type(Mine(ClassifySettings()).adopt(rows, None)[0]) is Mine
    assert type(task.adopt(rows, config(task.settings.labels))[0]) is Mine


def targets(*labels: Any, **settings: Any) -> tuple[str, list[str]]:
    found = resolved(texts(*labels), **settings).settings
    return found.target, found.labels or []


def test_the_target_is_found_from_the_labels() -> None:
    assert targets("b", "a", "B", "a") == ("single", ["B", "a", "b"])
    assert targets(10, 9, -3) == ("single", ["-3", "9", "10"])
    assert targets("10", "9") == ("single", ["9", "10"])
    assert targets(1.0, 2.0) == ("single", ["1", "2"])
    assert targets(True, False) == ("single", ["False", "True"])
    assert targets(["b", "a"], [], ["c"]) == ("multi", ["a", "b", "c"])
    assert targets({"toxic": 1, "rude": 0}, {"toxic": "0", "rude": "0"}) == ("multi", ["toxic", "rude"])
    assert targets(0.5, 2, 3.25) == ("regression", ["value"])
    assert targets("0.5", "2") == ("regression", ["value"])
    assert targets({"cohesion": 3.5, "syntax": 2}, {"cohesion": 1, "syntax": 4}) == (
        "regression",
        ["cohesion", "syntax"],
    )
    assert targets(1, 2, 3, target="regression") == ("regression", ["value"])
    assert targets("b", "a", labels=["b", "a"]) == ("single", ["b", "a"])


@pytest.mark.parametrize(
    ("labels", "settings", "message"),
    [
        (("a", ["b"]), {}, "different kinds"), (("a", 0), {}, "different kinds"), (("a", "a"), {}, "two labels"),
        (("a", None), {}, "1 training rows have no label, first row '1'"), (("a", float("nan")), {}, "no label"),
        (("a", "b"), {"target": "regression"}, "does not go with"),
        (("a", "b"), {"target": "multi"}, "does not go with"),
        (([0, 1, 1], [0, 0, 1]), {}, "names a label twice"), (({"a": "x"}, {"a": 1}), {}, "not numbers"),
        (("a", "b", "c"), {"labels": ["a", "b"]}, "not among classify.labels: c 1"),
        ((["a"], ["b"]), {"labels": ["a"]}, "not among classify.labels: b 1"),
    ],
)  # fmt: skip
def test_labels_that_do_not_fit_together(labels: tuple[Any, ...], settings: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=message):
        Classify(ClassifySettings(**settings)).check(texts(*labels), training=True)


def test_minus_one_is_a_class_unless_the_labels_say_otherwise() -> None:
    rows = texts(-1, 0, 1)
    assert any("'classify.labels=[0, 1]'" in line for line in Classify(ClassifySettings()).check(rows, training=True))
    assert resolved(rows).settings.labels == ["-1", "0", "1"]
    given = Classify(ClassifySettings(labels=[0, 1]))
    assert given.check(rows, training=True) == []
    assert [given.usable(row) for row in rows] == [False, True, True]
    assert [f["label"] for f in resolved(rows, labels=[0, 1]).encode(rows, words())] == [-100, 0, 1]


def test_features() -> None:
    single = resolved(texts("a", "b"))
    assert next(single.encode(texts("b"), words())) == {
        "row": 0, "input_ids": [2, 4, 15, 16, 13, 3], "token_type_ids": [0] * 6, "label": 1,
    }  # fmt: skip
    pair = [dict(row, text_pair="it was") for row in texts("a", "b")]
    assert next(resolved(pair).encode(pair, words()))["input_ids"] == [2, 4, 15, 16, 13, 3, 17, 16, 3]
    multi = resolved(texts(["a"], ["b"]))
    assert [f["labels"] for f in multi.encode(texts(["b", "a"], []), words())] == [[1.0, 1.0], [0.0, 0.0]]
    assert np.isnan(next(multi.encode(numbered([{"text": "a"}]), words()))["labels"]).all()
    with pytest.raises(DataError, match="row '0': the label 'c'"):
        list(single.encode(texts("c"), words()))
    with pytest.raises(DataError, match="text_pair is null"):
        resolved([pair[0], dict(pair[1], text_pair=None)])


def test_single_label_round_trip_equals_sklearn() -> None:
    generator = np.random.default_rng(1)
    names = [f"{n}" for n in generator.permutation(6)]
    rows = texts(*generator.integers(0, 6, size=300).tolist())
    task = Classify(ClassifySettings()).adopt(rows, config(names))[0]
    assert task.headline == ("accuracy", "higher")
    logits = torch.tensor(generator.normal(size=(300, 6)), dtype=torch.float32)
    predictions = answer(task, rows, logits)
    assert [p["prediction"] for p in predictions] == [names[i] for i in logits.argmax(-1)]
    metrics = task.reduce(measured(task, predictions, rows))
    gold, said = [str(row["label"]) for row in rows], [p["prediction"] for p in predictions]
    order = sorted(names)
    chances = np.array([[p["probabilities"][name] for name in order] for p in predictions])
    auc = sklearn_metrics.roc_auc_score(gold, chances, multi_class="ovr", labels=order)
    assert metrics == {
        "accuracy": pytest.approx(100 * sklearn_metrics.accuracy_score(gold, said), abs=1e-12),
        "macro_f1": pytest.approx(100 * sklearn_metrics.f1_score(gold, said, average="macro"), abs=1e-12),
        "mcc": pytest.approx(sklearn_metrics.matthews_corrcoef(gold, said), abs=1e-12),
        "log_loss": pytest.approx(sklearn_metrics.log_loss(gold, chances, labels=order), abs=1e-12),
        "roc_auc": pytest.approx(auc, abs=1e-12),
        "qwk": pytest.approx(sklearn_metrics.cohen_kappa_score(gold, said, weights="quadratic"), abs=1e-12),
    }
    without_model = Classify(ClassifySettings()).adopt(rows, None)[0]
    again = without_model.reduce(measured(without_model, predictions, rows))
    assert again == {key: pytest.approx(value, abs=1e-12) for key, value in metrics.items()}


def test_multi_label_round_trip_equals_sklearn() -> None:
    generator = np.random.default_rng(2)
    names = ["a", "b", "c", "d"]
    flags = generator.integers(0, 2, size=(200, 4))
    rows = texts(*[[name for name, flag in zip(names, each, strict=True) if flag] for each in flags])
    task = resolved(rows)
    assert task.headline == ("micro_f1", "higher")
    assert task.model_config()["problem_type"] == "multi_label_classification"
    logits = torch.tensor(generator.normal(size=(200, 4)), dtype=torch.float32)
    predictions = answer(task, rows, logits)
    said = (logits.sigmoid() > 0.5).numpy()
    assert predictions[0]["prediction"] == [name for name, flag in zip(names, said[0], strict=True) if flag]
    chances = np.array([[p["probabilities"][name] for name in names] for p in predictions])
    metrics = task.reduce(measured(task, predictions, rows))
    assert metrics["accuracy"] == pytest.approx(100 * sklearn_metrics.accuracy_score(flags, said), abs=1e-12)
    for average in ("macro", "micro"):
        expected = 100 * sklearn_metrics.f1_score(flags, said, average=average)
        assert metrics[f"{average}_f1"] == pytest.approx(expected, abs=1e-12)
    assert metrics["roc_auc"] == pytest.approx(sklearn_metrics.roc_auc_score(flags, chances), abs=1e-12)
    without_model = Classify(ClassifySettings()).adopt(rows, None)[0]
    columns = measured(without_model, predictions, rows)
    assert without_model.reduce(columns) == metrics
    light = {name: values for name, values in columns.items() if not name.startswith("p_")}  # what a bootstrap is given
    assert without_model.reduce(light).items() <= metrics.items()
    total, count = loss(task, rows, logits)
    expected = torch.nn.functional.binary_cross_entropy_with_logits(logits, torch.tensor(flags).float())
    assert (total / count, count) == (pytest.approx(float(expected), rel=1e-6), 200)


def test_columns_of_flags() -> None:
    rows = texts({"toxic": 1, "rude": 0}, {"toxic": 0, "rude": 0}, {"toxic": 1, "rude": 1})
    task = resolved(rows)
    predictions = answer(task, rows, torch.tensor([[3.0, -3.0], [-3.0, -3.0], [3.0, 3.0]]))
    assert [p["prediction"] for p in predictions] == [["toxic"], [], ["toxic", "rude"]]
    assert task.reduce(measured(task, predictions, rows))["accuracy"] == 100


def test_one_number_round_trip() -> None:
    generator = np.random.default_rng(4)
    gold = generator.normal(5000, 300, size=150)
    rows = texts(*gold.tolist())
    task = resolved(rows)
    assert task.headline == ("rmse", "lower") and "rmse" in LOWER_IS_BETTER
    assert task.settings.mean == [pytest.approx(gold.mean())] and task.settings.std == [pytest.approx(gold.std())]
    logits = torch.tensor(generator.normal(size=(150, 1)), dtype=torch.float32)
    predictions = answer(task, rows, logits)
    said = np.array([p["prediction"] for p in predictions])
    assert said == pytest.approx(logits.double().numpy()[:, 0] * gold.std() + gold.mean())
    metrics = task.reduce(measured(task, predictions, rows))
    assert metrics["rmse"] == pytest.approx(sklearn_metrics.root_mean_squared_error(gold, said), abs=1e-12)
    assert metrics["pearson"] == pytest.approx(np.corrcoef(gold, said)[0, 1], abs=1e-12)
    assert "qwk" not in metrics
    total, count = loss(task, rows, logits)
    assert total / count == pytest.approx(np.mean(((gold - said) / gold.std()) ** 2), rel=1e-5)
    scores = score_columns(task, all_measured(task, predictions, rows))
    assert set(scores.definitions) == set(scores.metrics)


def test_several_numbers_round_trip() -> None:
    generator = np.random.default_rng(5)
    gold = generator.normal(size=(80, 2)) * [1, 100]
    rows = texts(*[{"cohesion": a, "syntax": b} for a, b in gold.tolist()])
    task = resolved(rows)
    assert task.headline == ("mcrmse", "lower")
    logits = torch.tensor(generator.normal(size=(80, 2)), dtype=torch.float32)
    predictions = answer(task, rows, logits)
    assert list(predictions[0]["prediction"]) == ["cohesion", "syntax"]
    said = np.array([list(p["prediction"].values()) for p in predictions])
    expected = np.mean([sklearn_metrics.root_mean_squared_error(gold[:, i], said[:, i]) for i in range(2)])
    assert task.reduce(measured(task, predictions, rows))["mcrmse"] == pytest.approx(expected, abs=1e-12)
    without_model = Classify(ClassifySettings()).adopt(rows, None)[0]
    assert without_model.reduce(measured(without_model, predictions, rows))["mcrmse"] == pytest.approx(
        expected, abs=1e-12
    )


def test_ordered_integers_as_numbers_have_a_kappa() -> None:
    gold = [1, 2, 3, 4, 5, 3]
    rows = texts(*gold)
    task = resolved(rows, target="regression")
    said = [1.4, 2.6, 3.1, 9.0, -2.0, 3.4]
    predictions = [{"id": row["id"], "prediction": value} for row, value in zip(rows, said, strict=True)]
    expected = sklearn_metrics.cohen_kappa_score(gold, [1, 3, 3, 5, 1, 3], weights="quadratic", labels=[1, 2, 3, 4, 5])
    assert task.reduce(measured(task, predictions, rows))["qwk"] == pytest.approx(expected, abs=1e-12)
    assert "rounded" in task.definitions()["qwk"]


@pytest.mark.parametrize("labels", [("a", "b", None), (["a"], ["b"], None), (0.5, 1.5, None)])
def test_rows_without_gold_are_left_out_of_the_loss(labels: tuple[Any, ...]) -> None:
    task = resolved(texts(*labels[:2]))
    width = task.model_config()["num_labels"]
    logits = torch.randn(3, width, generator=torch.Generator().manual_seed(0)).requires_grad_()
    assert loss(task, texts(*labels), logits) == (pytest.approx(loss(task, texts(*labels[:2]), logits[:2])[0]), 2)
    assert task.measure(answer(task, texts(None), logits[:1].detach())[0], texts(None)[0]) is None


@pytest.mark.parametrize("labels", [(["a"], ["b"], None), (0.5, 1.5, None)])
def test_missing_gold_leaves_no_nan_in_gradients(labels: tuple[Any, ...]) -> None:
    from types import SimpleNamespace

    from hfkit.engine.collate import collate

    task = resolved(texts(*labels[:2]))
    logits = torch.zeros(3, task.model_config()["num_labels"], requires_grad=True)
    total, _ = task.loss(SimpleNamespace(logits=logits), collate(list(task.encode(texts(*labels), words())), 0))
    total.backward()
    assert logits.grad is not None and logits.grad.isfinite().all() and not logits.grad[2].any()


def test_a_trained_head_is_met_by_name() -> None:
    rows = texts("b", "a")
    assert resolved(rows, ["b", "a"]).settings.labels == ["b", "a"]  # its own order
    assert resolved(rows, ["x", "y"]).settings.labels == ["a", "b"]
    adopted = Classify(ClassifySettings()).adopt(rows, config(["b", "a", "c"]))[0]
    assert adopted.settings.labels == ["b", "a", "c"] and adopted.settings.target == "single"
    with pytest.raises(
        DataError, match="not among the model's labels: 0 1, 1 1; known are NEGATIVE, POSITIVE"
    ) as raised:
        Classify(ClassifySettings()).adopt(texts(0, 1), config(["NEGATIVE", "POSITIVE"]))
    assert "'classify.labels=[0, 1]'" in (raised.value.hint or "")
    named = Classify(ClassifySettings(labels=[0, 1])).adopt(texts(0, 1, -1), config(["NEGATIVE", "POSITIVE"]))[0]
    assert [named.usable(row) for row in texts(0, 1, -1)] == [True, True, False]
    with pytest.raises(ModelError, match="gives 2 numbers"):
        Classify(ClassifySettings(labels=[0, 1, 2])).adopt(rows, config(["b", "a"]))
    with pytest.raises(ModelError, match="no classification head"):
        Classify(ClassifySettings()).adopt(rows, config())
    multi = Classify(ClassifySettings()).adopt([], config(["a", "b"], problem="multi_label_classification"))[0]
    assert multi.settings.target == "multi"
    number = Classify(ClassifySettings()).adopt(texts(0.5), config(["LABEL_0"]))[0]
    assert (
        number.settings.target == "regression"
        and answer(number, texts(0.5), torch.tensor([[2.5]]))[0]["prediction"] == 2.5
    )


def test_settings_come_back_from_a_saved_model() -> None:
    rows = texts(1.5, 2.5, 4.0)
    task = resolved(rows)
    saved = Classify(ClassifySettings(**task.settings.model_dump(mode="json")))
    again = saved.adopt(rows, config(["value"], problem="regression"))[0]
    assert again.settings == task.settings


@pytest.mark.shared_data
def test_real_sets(shared: Path) -> None:
    banking = load(str(shared / "banking77/train.csv"), columns=Classify.columns, settings=Data(), need_gold=True)
    task = Classify(ClassifySettings())
    assert task.check(banking, training=True) is not None
    task = task.resolve(banking, words(), config())[0]
    assert len(task.settings.labels or []) == 77 and task.settings.target == "single"
    held_out = load(str(shared / "banking77/test.csv"), columns=Classify.columns, settings=Data(), need_gold=True)
    features = list(task.encode(held_out, words()))
    assert len(features) == 3080 and {feature["label"] for feature in features} == set(range(77))
    sst2 = load(str(shared / "sst2/train.tsv"), columns=Classify.columns, settings=Data(), need_gold=True)
    assert Classify(ClassifySettings()).resolve(sst2, words(), config())[0].settings.labels == ["0", "1"]
