"""What other tools' files may hold, and what must never become a number: each refused in words, or read right."""

from __future__ import annotations

import gzip
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import hfkit

CLASSES = ("entailment", "neutral", "contradiction")
PAIRS = [
    {"id": f"{n}", "premise": f"mill {n}", "hypothesis": f"it turns {n}", "label": CLASSES[n % 3], "genre": "xy"[n % 2]}
    for n in range(30)
]
SAID = [{"id": row["id"], "prediction": row["label"]} for row in PAIRS]
LISTS = [{"id": str(n), "text": f"t {n}", "label": [["a"], ["a", "b"], []][n % 3]} for n in range(12)]


def file(path: Path, content: Any) -> Path:
    """Rows as jsonl, anything else as it is."""
    if isinstance(content, list):
        content = "".join(json.dumps(row) + "\n" for row in content)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def nli(path: Path, **keys: Any) -> dict[str, Any]:
    return hfkit.score(path, data=PAIRS, task="nli", **keys)


CSV = "id,prediction\n" + "".join(f"{row['id']},{row['prediction']}\n" for row in SAID)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("bom.csv", "\ufeff" + CSV),
        ("crlf.csv", CSV.replace("\n", "\r\n")),
        ("bom.jsonl", "\ufeff" + "".join(json.dumps(row) + "\n" for row in SAID)),
        ("numbers.jsonl", [{**row, "id": int(row["id"])} for row in SAID]),
        ("packed.csv.gz", gzip.compress(CSV.encode())),
        ("capitals.JSON", json.dumps({row["id"]: row["prediction"].upper() for row in SAID})),
    ],
)
def test_the_same_predictions_in_other_clothes(name: str, content: Any, tmp_path: Path) -> None:
    assert nli(file(tmp_path / name, content))["metrics"]["accuracy"] == 100.0


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("header.csv", "id,prediction\n", "holds no predictions"),
        ("empty.json", "{}", "holds no predictions"),
        ("semicolons.csv", CSV.replace(",", ";"), "has no id, but 'id;prediction'"),
        ("names.csv", CSV.replace("id,prediction", "Id,Label"), "but 'Id', 'Label'"),
        ("cut.jsonl.gz", gzip.compress(CSV.encode())[:-9], "damaged gzip file"),
        ("twice.json", '{"0": "neutral", "0": "entailment"}', "stands twice"),
        ("floats.jsonl", [{**row, "id": float(row["id"])} for row in SAID], "30 of 30 rows without a prediction"),
        ("null.jsonl", [{**row, "prediction": None} for row in SAID], "not an NLI class"),
        ("list.jsonl", [{**row, "prediction": ["neutral"]} for row in SAID], "not an NLI class"),
    ],
)
def test_files_that_are_refused(name: str, content: Any, words: str, tmp_path: Path) -> None:
    with pytest.raises(hfkit.DataError) as caught:
        nli(file(tmp_path / name, content))
    assert words in str(caught.value)


@pytest.mark.parametrize(
    ("chances", "words"),
    [
        ("[0.1, 0.2, 0.7]", "are not probabilities"),
        ('"high"', "are not probabilities"),
        ('{"entailment": NaN, "neutral": 0.5, "contradiction": 0.5}', "are not probabilities"),
        ('{"entailment": null, "neutral": 0.5, "contradiction": 0.5}', "are not probabilities"),
        ('{"entailment": 3.1, "neutral": -2, "contradiction": 0.4}', "are not probabilities"),
        ('{"entailment": 0.2, "neutral": 0.2, "contradiction": 0.2}', "add up to 0.6"),
        ('{"entailment": 1.0}', "the probabilities are of entailment"),
    ],
)
def test_probabilities_that_are_none(chances: str, words: str, tmp_path: Path) -> None:
    """Logits in their place would give a log loss and a calibration that nobody has."""
    text = "".join(f'{{"id": "{row["id"]}", "prediction": "neutral", "probabilities": {chances}}}\n' for row in SAID)
    with pytest.raises(hfkit.DataError) as caught:
        nli(file(tmp_path / "p.jsonl", text))
    assert words in str(caught.value)


@pytest.mark.parametrize(("field", "value"), [("null_gap", "NaN"), ("null_gap", '"x"'), ("score", "[1]")])
def test_numbers_beside_an_answer_are_numbers(field: str, value: str, tmp_path: Path) -> None:
    rows = [{"id": "0", "question": "who?", "context": "Ada", "answers": [{"text": "Ada", "answer_start": 0}]}]
    path = file(tmp_path / "p.jsonl", f'{{"id": "0", "prediction": "Ada", "{field}": {value}}}')
    with pytest.raises(hfkit.DataError, match=f"{field} is"):
        hfkit.score(path, data=rows, task="qa")


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ("a", "no list of labels"),  # not the label "a", nor every label with an a in it
        (["q"], "'q' is not one of the labels (a, b)"),
        ({"a": 0.7, "b": 0.2}, "hold 0 or 1, not 0.7, 0.2"),
    ],
)
def test_several_labels_are_a_list(said: Any, words: str, tmp_path: Path) -> None:
    path = file(tmp_path / "p.jsonl", [{"id": row["id"], "prediction": said} for row in LISTS])
    with pytest.raises(hfkit.DataError) as caught:
        hfkit.score(path, data=LISTS, task="classify")
    assert words in str(caught.value)


def test_several_labels_without_probabilities_are_scored(tmp_path: Path) -> None:
    lists = file(tmp_path / "p.jsonl", [{"id": row["id"], "prediction": row["label"]} for row in LISTS])
    cells = "".join(f"{row['id']},{int('a' in row['label'])},{int('b' in row['label'])}\n" for row in LISTS)
    for path in (lists, file(tmp_path / "p.csv", "id,a,b\n" + cells)):
        assert hfkit.score(path, data=LISTS, task="classify")["metrics"]["micro_f1"] == 100.0


def test_a_prediction_that_is_no_label_is_told_so(tmp_path: Path) -> None:
    rows = [{"text": f"t {n}", "label": "ab"[n % 2]} for n in range(8)]
    for said in (None, 3, ["a"]):
        path = file(tmp_path / "p.jsonl", [{"id": n, "prediction": said} for n in range(8)])
        with pytest.raises(hfkit.DataError, match=r"the prediction .* is not one of the labels \(a, b\)"):
            hfkit.score(path, data=rows, task="classify")


def test_columns_to_slice_and_group_by(tmp_path: Path) -> None:
    path = file(tmp_path / "p.jsonl", SAID)
    found = nli(path, **{"data.slices": ["genre"], "data.group": "genre"})
    assert set(found["slices"]["genre"]) == {"x", "y"}
    assert found["ci95_method"]["accuracy"].startswith("Wilson over 2 groups of genre")
    for key, value in (("data.slices", ["nope"]), ("data.group", "nope")):
        with pytest.raises(hfkit.DataError, match=f"{key} names 'nope', which is no column"):
            nli(path, **{key: value})
    with pytest.raises(hfkit.UsageError, match=r"'data.folds' has no effect"):
        nli(path, **{"data.folds": 3})


def test_scoring_loads_no_library_that_it_does_not_need(tmp_path: Path) -> None:
    """Nor does it take its memory apart at the end: the exit code and what it printed are whole."""
    file(tmp_path / "rows.jsonl", PAIRS)
    file(tmp_path / "said.jsonl", SAID)
    code = """
import sys, hfkit.cli.app
from hfkit.cli import main
code = main("score said.jsonl --data rows.jsonl --task nli --json".split())
heavy = {"torch", "datasets", "scipy", "transformers", "accelerate", "pyarrow", "pandas", "sklearn", "rich", "yaml"}
assert not heavy & set(sys.modules), heavy & set(sys.modules)
assert code == 0
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path, check=False)
    assert done.returncode == 0, done.stderr
    words = [sys.executable, "-m", "hfkit", "score", "said.jsonl", "--data", "rows.jsonl", "--task", "nli", "--json"]
    whole = subprocess.run(words, capture_output=True, text=True, cwd=tmp_path, check=False)
    assert whole.returncode == 0 and json.loads(whole.stdout)["metrics"]["accuracy"] == 100.0
