"""MRQA's own files: read as rows of qa, checked, and scored as MRQA's script does."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

import hfkit
from hfkit.data import load
from hfkit.errors import DataError
from hfkit.recipe.keys import Data
from hfkit.tasks.qa.answers import first_usable
from hfkit.tasks.qa.task import QA

CONTEXT = "[TLE] Mill [PAR] The Old Mill was built in 1876. It burnt down in 1901."
HEADER = {"header": {"dataset": "SQuAD", "split": "train"}}


def detected(text: str, *spans: tuple[int, int]) -> dict[str, Any]:
    return {"text": text, "char_spans": [list(span) for span in spans], "token_spans": [[0, 0]]}


def span(text: str) -> tuple[int, int]:
    """First and last character: MRQA's spans hold both."""
    start = CONTEXT.index(text)
    return start, start + len(text) - 1


LINES = [
    HEADER,
    {
        "id": "",
        "context": CONTEXT,
        "context_tokens": [["[TLE]", 0]],
        "qas": [
            {
                "qid": "q1", "id": "other", "question": "What was built?", "question_tokens": [["What", 0]],
                "answers": ["the old mill", "a mill"],
                "detected_answers": [detected("the old mill", span("The Old Mill"))],
            },
            {
                "qid": "q2", "question": "When?", "answers": ["1876"],
                "detected_answers": [detected("1876", span("1876"))],
            },
        ],
    },
    {
        "context": "Ada wrote it.",
        "qas": [{"qid": "q3", "question": "Who?", "answers": ["Ada"], "detected_answers": [detected("Ada", (0, 2))]}],
    },
]  # fmt: skip


def written(path: Path, lines: list[Any]) -> Path:
    text = "".join(json.dumps(line) + "\n" for line in lines)
    path.write_bytes(gzip.compress(text.encode()) if path.suffix == ".gz" else text.encode())
    return path


def read(path: Path, **keys: Any) -> Any:
    return load(str(path), columns=QA.columns, settings=Data(**keys), need_gold=True)


@pytest.mark.parametrize("name", ["SQuAD.jsonl.gz", "SQuAD.jsonl"])
def test_one_row_a_question(name: str, tmp_path: Path) -> None:
    rows = read(written(tmp_path / name, LINES))
    assert [row["id"] for row in rows] == ["q1", "q2", "q3"]
    assert [row["dataset"] for row in rows] == ["SQuAD"] * 3
    assert rows[0]["context"] == CONTEXT and rows[2]["question"] == "Who?"
    assert "MRQA" in rows.notes[0] and "dataset SQuAD, split train" in rows.notes[0]
    assert all("context_tokens" not in row for row in rows)


def test_answers_stand_where_they_were_detected_and_are_scored_as_published(tmp_path: Path) -> None:
    rows = read(written(tmp_path / "SQuAD.jsonl.gz", LINES))
    places = [first_usable(row["context"], row["answers"]) for row in rows]
    assert [row["context"][slice(*place)] for row, place in zip(rows, places, strict=True)] == [
        "The Old Mill", "1876", "Ada",
    ]  # fmt: skip
    assert [answer["text"] for answer in rows[0]["answers"]] == ["The Old Mill", "the old mill", "a mill"]


def test_text_of_the_context_that_the_script_would_not_accept_is_no_gold(tmp_path: Path) -> None:
    """MRQA's script compares with `answers`; "10-20" in the context must not make "10-20" right where "10 20" is."""
    question = {"qid": "q", "question": "?", "answers": ["10 20"], "detected_answers": [detected("10 20", (0, 4))]}
    rows = read(written(tmp_path / "x.jsonl", [HEADER, {"context": "10-20 men", "qas": [question]}]))
    assert rows[0]["answers"] == [{"text": "10 20", "start": None}]


def test_scores_are_those_of_the_script(tmp_path: Path) -> None:
    """By hand: "old mill" equals a gold but for its article (1, 1); "in 1876" has F1 2/3; q3 is missing, 0."""
    data = written(tmp_path / "SQuAD.jsonl.gz", LINES)
    said = tmp_path / "said.json.gz"
    said.write_bytes(gzip.compress(json.dumps({"q1": "Old mill!", "q2": "in 1876"}).encode()))
    found = hfkit.score(said, data=str(data), task="qa", allow_missing=True, **{"qa.scorer": "mrqa"})
    assert found["metrics"] == pytest.approx({"exact_match": 100 / 3, "f1": 100 * (1 + 2 / 3) / 3})
    assert found["definitions"]["f1"].startswith("MRQA 2019") and found["missing"] == 1
    with pytest.raises(DataError, match="q3"):
        hfkit.score(said, data=str(data), task="qa", **{"qa.scorer": "mrqa"})


def test_what_is_not_its_form_is_named_by_line(tmp_path: Path) -> None:
    bad = [*LINES, {"context": "x", "qas": [{"qid": "q4", "question": "?", "detected_answers": [{"text": "x"}]}]}]
    with pytest.raises(DataError, match=r"x.jsonl:4: detected_answers need text and char_spans"):
        read(written(tmp_path / "x.jsonl", bad))
    with pytest.raises(DataError, match=r"x.jsonl:2: a line needs a context and a list qas"):
        read(written(tmp_path / "x.jsonl", [HEADER, {"question": "?"}]))
    with pytest.raises(DataError, match="0 rows"):
        read(written(tmp_path / "x.jsonl", [HEADER]))
    rows = read(written(tmp_path / "x.jsonl", bad), on_bad_row="skip")
    assert len(rows) == 3 and rows.skipped == 1


def test_questions_to_be_answered_need_no_answers(tmp_path: Path) -> None:
    lines = [HEADER, {"context": "Ada wrote it.", "qas": [{"qid": "q", "question": "Who?"}]}]
    rows = load(
        str(written(tmp_path / "x.jsonl.gz", lines)), columns=QA.columns, settings=Data(), need_gold=False
    )  # fmt: skip
    assert rows[0].get("answers") is None and rows[0]["question"] == "Who?"


def test_check_and_init_read_it(tmp_path: Path) -> None:
    path = str(written(tmp_path / "SQuAD.jsonl.gz", LINES))
    checked = hfkit.check(path, task="qa")
    assert checked["rows"] == 3 and checked["counts"]["answers"] == {"offset": 3} and not checked["failures"]
    assert "task: qa" in hfkit.init(path)["recipe"]
