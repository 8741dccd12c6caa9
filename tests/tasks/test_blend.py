"""Predictions of several models for one row: what is averaged, what is said of the mean, what weights are fitted by."""

from __future__ import annotations

from typing import Any

import pytest

from hfkit.errors import DataError, UsageError
from hfkit.tasks import task_class
from hfkit.tasks.blend import blend_of
from hfkit.tasks.classify.settings import ClassifySettings
from hfkit.tasks.classify.task import Classify
from hfkit.tasks.nli.settings import NLISettings
from hfkit.tasks.nli.task import NLI


def said(chances: dict[str, float]) -> dict[str, Any]:
    return {"id": "1", "prediction": "?", "probabilities": chances}


def test_labels_are_averaged_by_name() -> None:
    blend = blend_of(Classify(ClassifySettings(target="single", labels=["b", "a"])))
    found = blend.blend({"id": "1"}, [said({"b": 0.9, "a": 0.1}), said({"a": 0.8, "b": 0.2})], [0.25, 0.75])
    assert found == {"id": "1", "prediction": "a", "probabilities": pytest.approx({"b": 0.375, "a": 0.625})}
    assert list(found["probabilities"]) == ["b", "a"]
    assert blend.loss == "log" and blend.must_agree() == {"target": "single", "labels": ["a", "b"]}
    assert blend.evidence(said({"b": 0.9, "a": 0.1}), {"id": "1", "label": "a"}) == [0.1]
    assert blend.evidence(said({"b": 0.9, "a": 0.1}), {"id": "1", "label": None}) is None
    with pytest.raises(DataError, match="different labels: c"):
        blend.blend({"id": "1"}, [said({"a": 1.0, "b": 0.0}), said({"a": 0.5, "b": 0.4, "c": 0.1})], [0.5, 0.5])
    with pytest.raises(DataError, match="has no probabilities"):
        blend.blend({"id": "1"}, [said({"a": 1.0, "b": 0.0}), {"id": "1", "prediction": "a"}], [0.5, 0.5])


def test_several_labels() -> None:
    blend = blend_of(Classify(ClassifySettings(target="multi", labels=["new", "old"])))
    found = blend.blend({"id": "1"}, [said({"new": 0.9, "old": 0.1}), said({"new": 0.3, "old": 0.8})], [0.5, 0.5])
    assert found["prediction"] == ["new"]
    assert blend.evidence(said({"new": 0.9, "old": 0.2}), {"id": "1", "label": ["new"]}) == pytest.approx([0.9, 0.8])


def test_numbers() -> None:
    settings = ClassifySettings(target="regression", labels=["depth", "width"], mean=[0.0, 0.0], std=[2.0, 4.0])
    blend = blend_of(Classify(settings))
    row = {"id": "1", "label": {"depth": 1, "width": 2}}
    each = [
        {"id": "1", "prediction": {"depth": 3.0, "width": 2.0}},
        {"id": "1", "prediction": {"depth": 1.0, "width": 6.0}},
    ]
    assert blend.blend(row, each, [0.5, 0.5]) == {"id": "1", "prediction": {"depth": 2.0, "width": 4.0}}
    assert blend.loss == "square" and blend.evidence(each[0], row) == [1.0, 0.0]
    one = blend_of(Classify(ClassifySettings(target="regression", labels=["value"])))
    assert one.blend(row, [{"id": "1", "prediction": 1.0}, {"id": "1", "prediction": 4.0}], [0.5, 0.5]) == {
        "id": "1",
        "prediction": 2.5,
    }


def test_nli_reads_two_way_gold_of_three_way_models() -> None:
    blend = blend_of(NLI(NLISettings(classes=["entailment", "neutral", "contradiction"])))
    three = said({"entailment": 0.5, "neutral": 0.3, "contradiction": 0.2})
    other = said({"contradiction": 0.8, "neutral": 0.1, "entailment": 0.1})
    found = blend.blend({"id": "1"}, [three, other], [0.5, 0.5])
    assert found["prediction"] == "contradiction"
    assert blend.evidence(three, {"id": "1", "label": "neutral"}) == [0.3]
    assert blend.evidence(three, {"id": "1", "label": "non-entailment"}) == [0.5]
    assert blend.evidence(three, {"id": "1", "label": "-"}) is None
    two = said({"entailment": 0.6, "non-entailment": 0.4})
    assert blend.evidence(two, {"id": "1", "label": "contradiction"}) == [0.4]


def test_texts_cannot_be_averaged() -> None:
    kind = task_class("lm")
    with pytest.raises(UsageError, match="predictions of lm cannot be averaged"):
        blend_of(kind(kind.Settings()))
