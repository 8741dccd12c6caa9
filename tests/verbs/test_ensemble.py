"""Ensembles: what they say is the average of their members, whatever the tokenizers; accepted wherever a model is."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny_models

from hfkit.errors import DataError, ModelError, UsageError
from hfkit.events import Event
from hfkit.recipe.load import dump, load
from hfkit.report.competition import members_text
from hfkit.tasks.blend import blend_of
from hfkit.tasks.qa.characters import KEY
from hfkit.tasks.qa.settings import QASettings
from hfkit.tasks.qa.task import QA
from hfkit.verbs.compare import compare
from hfkit.verbs.cv.plan import planned
from hfkit.verbs.ensemble import ensemble
from hfkit.verbs.evaluate import evaluate
from hfkit.verbs.finetune import finetune
from hfkit.verbs.predict import predict

Finish = Callable[[Iterable[Event]], tuple[dict[str, Any], list[Event]]]
Write = Callable[..., Path]
ROWS = 300  # of a cross-validation


@pytest.fixture(scope="session")
def others(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Models with a byte-level tokenizer: qa, two (labels 1, 0), three (labels 0, 1, 2)."""
    folder = tmp_path_factory.mktemp("others")
    qa = {"max_length": 48, "stride": 12, "max_question_length": 16, "max_answer_length": 12}
    tiny_models.save("roberta", folder / "qa", "AutoModelForQuestionAnswering")
    keep(folder / "qa", "qa", qa)
    for name, labels in (("two", ["1", "0"]), ("three", ["0", "1", "2"])):
        ids = dict(enumerate(labels))
        tiny_models.save(
            "roberta", folder / name, "AutoModelForSequenceClassification",
            num_labels=len(ids), id2label=ids, label2id={label: number for number, label in ids.items()},
        )  # fmt: skip
        keep(folder / name, "classify", {"target": "single", "labels": labels})
    return folder


def keep(folder: Path, task: str, settings: dict[str, Any]) -> None:
    (folder / "hfkit.json").write_text(json.dumps({"task": task, "settings": settings}), encoding="utf-8")


def answers(finish: Finish, model: Path | str, rows: list[dict[str, Any]], *keys: str) -> list[dict[str, Any]]:
    return finish(predict(str(model), data=rows, cpu=True, overrides=keys))[0]["predictions"]


def test_labels_are_averaged_by_name(
    runs: Path, others: Path, texts: list[dict[str, Any]], finish: Finish, tmp_path: Path
) -> None:
    members = [str(runs / "3-two"), str(others / "two")]
    result, _ = finish(ensemble(members, output=tmp_path / "both", equal=True))
    assert [member["weight"] for member in result["members"]] == [0.5, 0.5]
    one, other, both = (answers(finish, model, texts) for model in (*members, tmp_path / "both"))
    for left, right, found in zip(one, other, both, strict=True):
        mean = {name: (left["probabilities"][name] + right["probabilities"][name]) / 2 for name in ("0", "1")}
        assert found["probabilities"] == pytest.approx(mean)
        assert found["prediction"] == max(mean, key=lambda name: mean[name])
    assert answers(finish, tmp_path / "both", texts) == both


def test_answers_are_averaged_across_tokenizers(
    runs: Path, others: Path, questions: list[dict[str, Any]], finish: Finish, write: Write, tmp_path: Path
) -> None:
    members, data, both = [str(runs / "1-qa"), str(others / "qa")], write("dev.jsonl", questions), tmp_path / "both"
    result, _ = finish(ensemble(members, output=both, data=str(data), cpu=True))
    weights = [member["weight"] for member in result["members"]]
    assert sum(weights) == pytest.approx(1) and result["metric"] == "f1"
    assert set(result["difference"]) == {"differences", "ci95", "p_value"} and "best member" in result["verdict"]
    kept = [answers(finish, model, questions, "qa.keep_characters=true") for model in members]
    found = answers(finish, both, questions)
    blend = blend_of(QA(QASettings(scorer="squad", n_best=20)))
    for row, first, second, said in zip(questions, *kept, found, strict=True):
        assert said == blend.blend(row, [first, second], weights) and KEY not in said
        assert row["context"][said["start"] : said["end"]] == said["prediction"]
        shared = {item[0] for item in first[KEY]["start"]} & {item[0] for item in second[KEY]["start"]}
        assert shared
    scored, _ = finish(evaluate(str(both), str(data), cpu=True))
    assert scored["rows"] == 3 and Path(scored["output"]).parent == both / "eval"
    alone, _ = finish(evaluate(members[0], str(data), cpu=True))
    compared, _ = finish(compare(alone["output"], scored["output"]))
    assert compared["b"]["metrics"]["f1"] == pytest.approx(scored["metrics"]["f1"])


@pytest.fixture
def crossed(others: Path, write: Write, tmp_path: Path) -> Callable[..., Path]:
    """A cross-validation as its folder would be, with these probabilities of label 1: crossed(name, chances)."""
    rows = [{"id": f"r{n}", "text": f"the river {n}", "label": n % 2} for n in range(ROWS)]
    data = write("train.jsonl", rows)

    def folder(name: str, chances: Iterable[float]) -> Path:
        place = tmp_path / name
        recipe = load("classify", [f"data.train={data}", "data.folds=2"])
        plan = returned(planned(recipe, seeds=1, offline=True))
        place.mkdir()
        (place / "recipe.yaml").write_text(dump(plan.recipe), encoding="utf-8")
        for cell in plan.cells(place):
            shutil.copytree(others / "two", cell.path / "model")
        said = [
            {"id": row["id"], "prediction": str(int(p > 0.5)), "probabilities": {"0": 1 - p, "1": p}}
            for row, p in zip(rows, chances, strict=True)
        ]
        (place / "oof.jsonl").write_text("".join(json.dumps(item) + "\n" for item in said), encoding="utf-8")
        facts = {
            "folds": [{"run": str(cell.path)} for cell in plan.cells(place)],
            "data_fingerprint": plan.rows.fingerprint,
        }
        (place / "cv.json").write_text(json.dumps(facts), encoding="utf-8")
        return place

    return folder


def returned(work: Iterator[Event]) -> Any:
    while True:
        try:
            next(work)
        except StopIteration as end:
            return end.value


def test_weights_are_fitted_out_of_fold_and_useless_members_dropped(
    crossed: Callable[..., Path], texts: list[dict[str, Any]], finish: Finish, tmp_path: Path
) -> None:
    draw = np.random.default_rng(3)
    gold = np.arange(ROWS) % 2
    good, also = (1 / (1 + np.exp(-3 * (gold - 0.5) - draw.normal(0, 1.5, ROWS))) for _ in range(2))
    names = [crossed("good", good), crossed("noise", draw.uniform(0.1, 0.9, ROWS)), crossed("also", also)]
    result, _ = finish(ensemble(list(map(str, names)), output=tmp_path / "best"))
    weights = [member["weight"] for member in result["members"]]
    assert weights[1] == 0 and weights[0] > 0.2 and weights[2] > 0.2
    assert result["members"][1]["loss_without"] is None
    assert result["members"][0]["loss_without"] > result["fitted_on"]["loss"]
    assert result["rows"] == ROWS and result["ci95"]["accuracy"][0] < result["metrics"]["accuracy"]
    text = members_text(result)
    assert f"dropped, for they do not help: {names[1]}" in text and "best member" in text
    assert (tmp_path / "best" / "eval" / "oof" / "columns.json").is_file()
    assert len(answers(finish, tmp_path / "best", texts)) == len(texts)

    content = json.loads((tmp_path / "best" / "ensemble.json").read_text("utf-8"))
    assert [model["path"] for model in content["members"][0]["models"]] == [
        "../good/fold-0-seed-42/model",
        "../good/fold-1-seed-42/model",
    ]
    one, _ = finish(ensemble([str(names[0])], output=tmp_path / "one"))
    assert one["members"][0]["weight"] == 1 and len(one["members"][0]["models"]) == 2


def test_other_rows_are_refused(crossed: Callable[..., Path], tmp_path: Path) -> None:
    one, other = crossed("one", [0.5] * ROWS), crossed("other", [0.5] * ROWS)
    lines = (other / "oof.jsonl").read_text("utf-8").splitlines(keepends=True)
    (other / "oof.jsonl").write_text("".join(lines[1:]), encoding="utf-8")
    with pytest.raises(DataError, match=f"{ROWS - 1} ids, not those of"):
        list(ensemble([str(one), str(other)], output=tmp_path / "x"))
    (other / "oof.jsonl").write_text("".join(lines), encoding="utf-8")
    facts = json.loads((other / "cv.json").read_text("utf-8"))
    (other / "cv.json").write_text(json.dumps({**facts, "data_fingerprint": "0"}), encoding="utf-8")
    with pytest.raises(DataError, match="is not what .*other was trained on"):
        list(ensemble([str(one), str(other)], output=tmp_path / "x"))
    (other / "cv.json").unlink()
    with pytest.raises(ModelError, match="not finished"):
        list(ensemble([str(one), str(other)], output=tmp_path / "x"))
    assert not (tmp_path / "x").exists()


def test_what_cannot_be_averaged_is_refused(runs: Path, others: Path, tmp_path: Path, finish: Finish) -> None:
    two, three, qa = (str(others / name) for name in ("two", "three", "qa"))
    out = tmp_path / "out"
    for names, error, said in (
        ([two, three], ModelError, "differ in labels: 0, 1 and 0, 1, 2"),
        ([two, qa], ModelError, "is for classify, .* for qa"),
        ([two, two], UsageError, "are the same models"),
        ([str(runs / "7-lm"), two], UsageError, "predictions of lm cannot be averaged"),
        ([two, str(runs / "3-two")], UsageError, "no out-of-fold predictions to fit weights on"),
    ):
        with pytest.raises(error, match=said):
            list(ensemble(names, output=out))
    assert not out.exists()
    finish(ensemble([two, str(runs / "3-two")], output=out, equal=True))
    with pytest.raises(UsageError, match="is an ensemble itself"):
        list(ensemble([str(out), two], output=tmp_path / "more", equal=True))
    with pytest.raises(UsageError, match="is not empty"):
        list(ensemble([two], output=out))
    finish(ensemble([two], output=out, overwrite=True))
    with pytest.raises(UsageError, match="is not an ensemble"):
        list(ensemble([two], output=runs / "3-two", overwrite=True))
    with pytest.raises(UsageError, match="there are no weights to fit"):
        list(ensemble([two], output=tmp_path / "y", data="x.csv"))
    with pytest.raises(UsageError, match="no effect without --data"):
        list(ensemble([two], output=tmp_path / "y", overrides=["data.names=[a]"]))


def test_an_ensemble_is_no_single_model(
    runs: Path, others: Path, tmp_path: Path, texts: list[dict[str, Any]], finish: Finish, write: Write
) -> None:
    shutil.copytree(others / "two", tmp_path / "a" / "two")
    out = tmp_path / "a" / "out"
    finish(ensemble([str(tmp_path / "a" / "two")], output=out))
    data = write("t.jsonl", [{**row, "label": n % 2} for n, row in enumerate(texts)])
    with pytest.raises(ModelError, match="is an ensemble of 1 models, and this needs a single one"):
        list(finetune(load("classify", [f"data.train={data}", f"model={out}"]), output=tmp_path / "x", cpu=True))
    shutil.move(tmp_path / "a", tmp_path / "b")  # together
    moved = tmp_path / "b" / "out"
    assert len(answers(finish, moved, texts)) == 5
    weights = tmp_path / "b" / "two" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-4] + b"\x00\x00\x00\x01")
    with pytest.raises(ModelError, match="not the weights that the ensemble was made of"):
        answers(finish, moved, texts)
    shutil.rmtree(tmp_path / "b" / "two")
    with pytest.raises(ModelError, match="names ../two, which is not there"):
        answers(finish, moved, texts)
    (moved / "ensemble.json").write_text('{"members": [{}]}', encoding="utf-8")
    with pytest.raises(ModelError, match="not what hfkit writes"):
        answers(finish, moved, texts)
