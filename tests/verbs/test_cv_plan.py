"""What a cross-validation finds out before it trains: rows, folds, seeds, settings that all runs share; no torch."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from hfkit.cli.parse import parse
from hfkit.errors import DataError, UsageError
from hfkit.recipe.load import load
from hfkit.report.competition import folds_text
from hfkit.verbs.cv.oof import spread
from hfkit.verbs.cv.plan import Plan, planned

Write = Callable[..., Path]


@pytest.fixture
def texts_file(write: Write) -> Path:
    """Twenty rows of two labels."""
    rows = [{"id": f"r{n}", "text": f"text {n}", "label": "ab"[n % 2], "k": n % 3} for n in range(20)]
    return write("rows.jsonl", rows)


def plan(recipe: str, *keys: str, seeds: int = 1) -> tuple[Plan, list[Any]]:
    events = []
    work = planned(load(recipe, keys), seeds=seeds, offline=True)
    while True:
        try:
            events.append(next(work))
        except StopIteration as end:
            return end.value, events


def test_five_folds_unless_said_otherwise(texts_file: Path) -> None:
    found, _ = plan("classify", f"data.train={texts_file}", seeds=3)
    assert found.folds == 5 and found.seeds == [42, 43, 44]
    assert [cell.name for cell in found.cells(Path("x"))][:6] == [
        *(f"fold-{n}-seed-42" for n in range(5)),
        "fold-0-seed-43",
    ]
    cell = list(found.cells(Path("x")))[6].recipe(found.recipe)
    assert (cell.data.folds, cell.data.fold, cell.train.seed) == (5, 1, 43)
    assert found.recipe.settings.target == "single" and found.recipe.settings.labels is None
    assert plan("classify", f"data.train={texts_file}", "data.folds=3", "train.seed=7")[0].seeds == [7]


def test_the_users_own_folds_and_validation_data(texts_file: Path) -> None:
    keys = (f"data.train={texts_file}", f"data.validation={texts_file}", "data.fold_column=k")
    found, events = plan("classify", *keys)
    assert found.folds == 3 and found.recipe.data.folds == 3 and found.recipe.data.validation is None
    assert found.numbers.tolist() == [n % 3 for n in range(20)]
    assert any("data.validation is not used" in str(event.fields.get("text")) for event in events)


def test_labels_of_one_fold_alone_are_known_to_all(write: Write) -> None:
    rows = [{"text": f"text {n}", "label": "rare" if n == 7 else "ab"[n % 2]} for n in range(20)]
    found, events = plan("classify", f"data.train={write('rare.jsonl', rows)}")
    assert found.recipe.settings.labels == ["a", "b", "rare"]
    why = next(e.fields["why"] for e in events if e.kind == "resolved" and e.fields["key"] == "classify.labels")
    assert why == "some stand in one fold alone: rare"


def test_rows_without_gold_are_set_aside(pairs: list[dict[str, Any]], write: Write) -> None:
    found, events = plan("nli", f"data.train={write('pairs.jsonl', pairs)}", "data.folds=2")
    assert found.dropped == ["p4"] and [row["id"] for row in found.rows] == ["p0", "p1", "p2", "p3", "p5"]
    assert any("1 row of 6 have no gold" in str(event.fields.get("text")) for event in events)


def test_answers_of_several_seeds_are_kept_by_character(questions: list[dict[str, Any]], write: Write) -> None:
    path = write("qa.jsonl", questions)
    assert plan("qa", f"data.train={path}", "data.folds=2", seeds=2)[0].recipe.settings.keep_characters
    assert not plan("qa", f"data.train={path}", "data.folds=2")[0].recipe.settings.keep_characters


def test_what_makes_no_sense_is_refused(texts_file: Path, write: Write, tmp_path: Path) -> None:
    train = f"data.train={texts_file}"
    for keys, said in (
        ((train, "data.fold=0"), "every fold is held out in turn"),
        ((), "data.train is not set"),
    ):
        with pytest.raises(UsageError, match=said):
            plan("classify", *keys)
    with pytest.raises(UsageError, match="no rows that folds could be made of"):
        plan("lm", "data.train=shipped:tang-train")
    twice = write("twice.jsonl", [{"id": "x", "text": f"t{n}", "label": n % 2} for n in range(10)])
    with pytest.raises(DataError, match="x"):
        plan("classify", f"data.train={twice}")


def test_spread_over_folds_and_over_seeds() -> None:
    runs = [
        {"fold": fold, "seed": seed, "rows": 10, "metrics": {"accuracy": value}}
        for (fold, seed), value in zip(((0, 1), (1, 1), (0, 2), (1, 2)), (10.0, 20.0, 30.0, 60.0), strict=True)
    ]
    found = spread(runs)
    assert found["mean"] == {"accuracy": 30.0}
    assert found["spread"]["folds"]["accuracy"] == pytest.approx(200**0.5)  # of 20 and 40
    assert found["spread"]["seeds"]["accuracy"] == pytest.approx(450**0.5)  # of 15 and 45
    text = folds_text({"folds": runs, **found})
    assert "sd of folds" in text and "30.00" in text
    assert spread(runs[:1])["spread"] == {}
    json.dumps(found)


def test_the_command_parses() -> None:
    words = ["--folds", "5", "--seeds", "3", "-o", "x", "--resume", "--processes", "2"]
    parse(["cv", "classify", "--train", "t.csv", *words])


def test_one_scorer_scores_every_fold(questions: list[dict[str, Any]], write: Write) -> None:
    questions[2]["answers"] = []
    found, events = plan("qa", f"data.train={write('qa.jsonl', questions)}", "data.folds=2")
    assert found.recipe.settings.scorer == "squad2"
    why = next(e.fields["why"] for e in events if e.kind == "resolved" and e.fields["key"] == "qa.scorer")
    assert why == "1 of 3 questions are unanswerable"
