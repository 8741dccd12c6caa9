"""What lies behind the scores: slices, confusion, calibration, abstention, mistakes; and the words of slices."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from hfkit.tasks import task_class
from hfkit.tasks.analysis import analysis, one_half, slice_values, slices
from hfkit.tasks.scoring import measured, score_columns
from hfkit.tasks.slicing import classify_slices, nli_slices, qa_slices, question_word, words


def task(name: str, **settings: Any) -> Any:
    kind = task_class(name)
    return kind(kind.Settings(**settings))


def pairs(count: int = 60) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """nli predictions and rows, three hypotheses a premise; each third prediction is wrong, and row 2 surely so."""
    classes = ("entailment", "neutral", "contradiction")
    rows, made = [], []
    for n in range(count):
        gold = classes[n % 3]
        said = classes[(n + 1) % 3] if n % 9 < 3 else gold
        chances = dict.fromkeys(classes, 0.2) | {said: 0.6}
        if n == 2:
            chances = dict.fromkeys(classes, 0.02) | {said: 0.96}
        said_of = "a man does not sleep" if n % 2 else "a man"
        row = {"id": f"p{n}", "premise": f"a man {n // 3} sleeps", "hypothesis": said_of, "label": gold}
        rows.append({**row, "genre": "ab"[n % 2]})
        made.append({"id": f"p{n}", "prediction": said, "probabilities": chances})
    return made, rows


def test_rows_of_one_premise_are_drawn_together() -> None:
    made, rows = pairs()
    nli = task("nli")
    found = measured(nli, made, rows)
    assert found.groups is not None and found.groups.max() == 19
    scores = score_columns(nli, found)
    assert scores.methods["accuracy"] == "bootstrap over 20 premises, 1,000 resamples"
    alone = [{**row, "premise": f"{row['id']}"} for row in rows]
    single = score_columns(nli, measured(nli, made, alone))
    assert single.methods["accuracy"] == "Wilson" and single.methods["macro_f1"].startswith("bootstrap over 60 rows")
    by_genre = measured(nli, made, rows, group="genre")
    assert by_genre.unit == "groups of genre" and by_genre.groups is not None and by_genre.groups.max() == 1


def test_slices_add_up_and_have_intervals() -> None:
    made, rows = pairs()
    nli = task("nli")
    found = measured(nli, made, rows)
    whole = nli.reduce(found.columns)["accuracy"]
    parts = slices(nli, found, slice_values(nli, found, rows, ["genre"]))
    assert set(parts) == {"hypothesis words in premise", "negation in hypothesis", "hypothesis words", "genre"}
    for name, values in parts.items():
        assert sum(part["rows"] for part in values.values()) == 60, name
        mean = sum(part["rows"] * part["metrics"]["accuracy"] for part in values.values()) / 60
        assert mean == pytest.approx(whole)
        for part in values.values():
            low, high = part["ci95"]["accuracy"]
            assert low < part["metrics"]["accuracy"] < high
    assert slices(nli, found, slice_values(nli, found, rows, ["nothing"]))["nothing"][""]["rows"] == 60


def test_confusion_calibration_and_the_surest_mistake() -> None:
    made, rows = pairs()
    nli = task("nli")
    found = measured(nli, made, rows)
    parts = analysis(nli, found, made, rows, slice_values(nli, found, rows))
    counts = np.array(parts["confusion"]["counts"])
    assert parts["confusion"]["labels"] == ["entailment", "neutral", "contradiction"] and counts.sum() == 60
    assert 100 * np.trace(counts) / 60 == pytest.approx(nli.reduce(found.columns)["accuracy"])
    assert parts["calibration"]["nll"] == pytest.approx(nli.reduce(found.columns)["log_loss"])
    fit = parts["calibration"]["temperature"]
    assert fit["rows"] + fit["fitted_on_rows"] == 60 and fit["after"]["nll"] != fit["before"]["nll"]
    assert parts["mistakes"][0]["id"] == "p2" and parts["mistakes"][0]["confidence"] == pytest.approx(0.96)
    assert parts["mistakes"][0]["gold"] == "contradiction" and "premise" in parts["mistakes"][0]
    first, last = parts["coverage"]["table"][0], parts["coverage"]["table"][-1]
    assert (first["coverage"], first["score"]) == (100, pytest.approx(parts_accuracy(counts))) and last[
        "coverage"
    ] == 50


def parts_accuracy(counts: np.ndarray) -> float:
    return float(np.trace(counts) / counts.sum())


def test_halves_keep_premises_whole() -> None:
    made, rows = pairs()
    found = measured(task("nli"), made, rows)
    half = one_half(found)
    assert half is not None and half.sum() == 30
    assert all(len(set(half[found.groups == number])) == 1 for number in range(20))


def test_labels_only_give_no_calibration_and_numbers_no_confusion() -> None:
    made, rows = pairs(30)
    bare = [{"id": item["id"], "prediction": item["prediction"]} for item in made]
    nli = task("nli")
    parts = analysis(nli, measured(nli, bare, rows), bare, rows, {})
    assert "confusion" in parts and "calibration" not in parts and "mistakes" not in parts
    numbers = task("classify", target="regression", labels=["value"])
    texts = [{"id": str(n), "text": "word " * (n % 20), "label": float(n % 5)} for n in range(40)]
    said = [{"id": str(n), "prediction": float(n % 4)} for n in range(40)]
    found = measured(numbers, said, texts)
    parts = analysis(numbers, found, said, texts, slice_values(numbers, found, texts))
    assert set(parts) == {"slices"} and "rmse" in next(iter(parts["slices"]["words"].values()))["metrics"]


def test_questions_are_ordered_by_how_sure_the_model_is() -> None:
    qa = task("qa", scorer="squad")
    rows = [
        {"id": str(n), "question": "who?", "context": "Ada sleeps", "answers": [{"text": "Ada", "start": 0}]}
        for n in range(10)
    ]
    made = [
        {"id": str(n), "prediction": "Ada" if n > 3 else "sleeps", "null_gap": -float(n), "no_answer": False}
        for n in range(10)
    ]
    parts = analysis(qa, measured(qa, made, rows), made, rows, {})
    table = {row["coverage"]: row["score"] for row in parts["coverage"]["table"]}
    assert table[100] == pytest.approx(0.6) and table[60] == 1.0 and table[50] == 1.0
    assert parts["mistakes"][0]["id"] == "3" and parts["mistakes"][0]["gold"] == ["Ada"]


@pytest.mark.parametrize(
    ("question", "word"),
    [
        ("How many people sleep?", "how many"),
        ("In which year did she go?", "which"),
        ("To whom was it given?", "who"),
        ("Whose house is it?", "who"),
        ("Name the river.", "other"),
        ("Somehow it works?", "other"),
        ("范廷颂是什么时候被任为主教的？", "when"),
        ("《战国无双3》是由哪两个公司合作开发的？", "which"),
        ("谁写了这本书？", "who"),
        ("这条河有多少公里？", "how many"),
        ("为什么他走了？", "why"),
        ("列出三个。", "other"),
    ],
)
def test_question_words(question: str, word: str) -> None:
    assert question_word(question) == word


def test_words_and_where_rows_belong() -> None:
    assert words("Don't stop, U.S. army!") == ["don't", "stop", "u", "s", "army"]
    assert words("北京 2008年 Beijing") == ["北", "京", "2008", "年", "beijing"]
    pair = {"premise": "The man sleeps.", "hypothesis": "The man doesn't run", "subcase": "ln_x"}
    assert nli_slices(pair) == {
        "hypothesis words in premise": "50-74 %",
        "negation in hypothesis": "yes",
        "hypothesis words": "0-4",
        "subcase": "ln_x",
    }
    for negated in ("The man doesn’t run", "THE MAN DOESN'T RUN", "The man cannot run"):
        assert nli_slices({"premise": "a", "hypothesis": negated})["negation in hypothesis"] == "yes"
    full = nli_slices({"premise": "a man sleeps", "hypothesis": "a man"})
    assert full["hypothesis words in premise"] == "100 %" and full["negation in hypothesis"] == "no"
    asked = {"question": "Who sleeps?", "context": "Ada sleeps well", "answers": [{"text": "Ada B", "start": 0}]}
    assert qa_slices(asked) == {
        "question word": "who",
        "answer words": "2-3",
        "context words": "0-99",
        "question words in context": "40-59 %",
        "has answer": "yes",
    }
    assert qa_slices({**asked, "answers": []})["answer words"] == "no answer"
    assert classify_slices({"text": "a b c", "label": 3}) == {"words": "0-7", "label": "3"}
    assert "label" not in classify_slices({"text": "a", "label": ["a", "b"]})
