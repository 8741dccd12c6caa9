"""Runs that learn from pseudo-labels; and a cross-validation in which no held-out label reaches those of its fold."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import engine_helpers as helpers
import pytest

Command = Callable[..., list[str]]


@pytest.fixture
def unlabelled(tmp_path: Path) -> Path:
    """Twenty texts with ids, one of them with a label that must not be looked at."""
    rows = [{"id": f"u{number}", "text": row["text"]} for number, row in enumerate(helpers.rows(20, start=200))]
    rows[0]["label"] = "wrong"
    path = tmp_path / "unlabelled.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    return path


def test_a_run_learns_from_labels_that_a_model_gave(command: Command, unlabelled: Path, tmp_path: Path) -> None:
    teacher, labels = tmp_path / "teacher", tmp_path / "labels.jsonl"
    assert helpers.call(command(teacher))[0] == 0
    code, _, err = helpers.call(["predict", str(teacher), "--data", str(unlabelled), "-o", str(labels), "--cpu"])
    assert code == 0, err
    keys = (f"data.pseudo={unlabelled}", f"data.pseudo_labels={labels}", "data.pseudo_weight=0.5")
    code, _, err = helpers.call(command(tmp_path / "student", *keys))
    assert code == 0, err
    assert "81 examples" in err and "20 rows" in err
    facts = json.loads((tmp_path / "student" / "run.json").read_text("utf-8"))["data"]
    assert facts["train"]["rows"] == 61 and facts["pseudo"]["rows"] == 20
    assert helpers.weights(tmp_path / "student" / "model") != helpers.weights(teacher / "model")
    assert "pseudo-labelled: " in (tmp_path / "student" / "README.md").read_text("utf-8")


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        (("data.pseudo=FILE",), "without data.pseudo_labels"),
        (("data.pseudo_labels=FILE",), "without data.pseudo"),
        (("data.pseudo=FILE", "data.pseudo_labels=FILE", "classify.target=multi"), "with one label a row"),
        (("data.pseudo_weight=0",), "data.pseudo_weight"),
    ],
)
def test_keys_that_do_not_go_together_are_refused(
    command: Command, unlabelled: Path, tmp_path: Path, keys: tuple[str, ...], message: str
) -> None:
    given = [key.replace("FILE", str(unlabelled)) for key in keys]
    code, result, _ = helpers.call(command(tmp_path / "run", *given))
    assert code == 2 and message in result["error"]["message"]


def test_no_held_out_label_reaches_the_pseudo_labels_of_its_fold(small: Path, unlabelled: Path, tmp_path: Path) -> None:
    """The labels of fold 0 are turned round: its pseudo-labels stay bit for bit, those of fold 1, which trains on
    these rows, do not. An evaluation each step would let held-out labels choose the labeller's step, were it to look:
    what it learns of one word being the more frequent lowers the loss on right labels, and raises it on turned ones."""
    recipe = helpers.recipe_file(tmp_path)
    found = []
    for name, turned in (("right", False), ("turned", True)):
        rows = [
            {"text": row["text"], "intent": row["label"], "fold": str(number % 2)}
            for number, row in enumerate(helpers.rows(40))
        ]
        other = {"bread": "salt", "salt": "bread"}
        rows = [{**row, "intent": other[row["intent"]]} if turned and row["fold"] == "0" else row for row in rows]
        train = tmp_path / f"{name}.jsonl"
        train.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
        arguments = [
            "cv", str(recipe), "--train", str(train), "--model", str(small / "bert"), "-o", str(tmp_path / name),
            "--cpu", "data.columns={text: text, label: intent}", "data.fold_column=fold", f"data.pseudo={unlabelled}",
            "train.max_steps=5", "train.eval_steps=1", "train.lr=0.01", "train.precision=float32",
            "train.metric=log_loss",
        ]  # fmt: skip
        code, result, err = helpers.call(arguments)
        assert code == 0, err
        labels = [tmp_path / name / "pseudo" / f"fold-{fold}-seed-42" / "pseudo.jsonl" for fold in (0, 1)]
        found.append([path.read_bytes() for path in labels])
        for fold, path in enumerate(labels):
            used = (tmp_path / name / f"fold-{fold}-seed-42" / "recipe.yaml").read_text("utf-8")
            assert str(path) in used
            assert "eval_steps: null" in (path.parent / "recipe.yaml").read_text("utf-8")
        assert result["rows"] == 40
    assert found[0][0] == found[1][0]
    assert found[0][1] != found[1][1]

    code, result, _ = helpers.call([*arguments, "--dry-run"])
    assert code == 2 and "with data.pseudo" in result["error"]["message"]
    code, result, err = helpers.call([*arguments, "--resume"])
    assert code == 0 and "labellers" not in err
    code, result, _ = helpers.call([*arguments, "--resume", f"data.pseudo_labels={unlabelled}"])
    assert code == 2 and "cv labels data.pseudo itself" in result["error"]["message"]
    unlabelled.write_text(unlabelled.read_text("utf-8").replace("bread", "salt"), "utf-8")
    code, result, _ = helpers.call([*arguments, "--resume"])
    assert code == 2 and "began with other unlabelled rows" in result["error"]["message"], "ids are as they were"
    train.write_text(train.read_text("utf-8").replace('"text": "', '"text": "bread '), "utf-8")
    code, result, _ = helpers.call([*arguments, "--resume"])
    assert code == 2 and "began with other training rows" in result["error"]["message"]
