"""Repeats, languages, broken characters and labels of rows, and the records of a set before a task is known."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hfkit.data.characters import broken_characters
from hfkit.data.gold import label_counts, rare_labels
from hfkit.data.languages import language_of, mixed_languages
from hfkit.data.peek import peek
from hfkit.data.repeats import disagree, equal_rows, repeats
from hfkit.data.token_checks import Tokens, padding_waste, percentiles
from hfkit.recipe.keys import Data


def answers(*texts: str) -> list[dict[str, Any]]:
    return [{"text": text, "start": None} for text in texts]


def test_rows_that_repeat_or_contradict() -> None:
    labels = ["a", "a", "b", "-", None, "a"]
    rows = [{"id": str(n), "text": "same", "label": label} for n, label in enumerate(labels)]
    rows += [{"id": "9", "text": None, "label": "b"}, {"id": "10", "text": None, "label": "b"}]
    assert equal_rows(rows, ["text"], "label") == ([1, 5], [0, 1, 2, 5])
    found = {finding.code: finding.count for finding in repeats(rows, ["text"], "label")}
    assert found == {"repeated_rows": 2, "contradictory_rows": 4}
    assert not list(repeats(rows[6:], ["text"], "label"))


@pytest.mark.parametrize(
    ("one", "other", "wrong"),
    [
        (answers("Denver"), answers("Denver Broncos"), False),
        (answers("Denver"), answers("Carolina"), True),
        (answers("北京市"), answers("北京"), False),
        (answers("Denver"), [], True),
        ([], [], False),
        ("yes", "no", True),
        ("yes", "-", False),
        (1, 1.0, False),
        (0, 1, True),
    ],
)
def test_golds_that_cannot_both_be_right(one: Any, other: Any, wrong: bool) -> None:
    assert disagree(one, other) is wrong


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("the cat sat on the mat and it was the best of them", "English"),
        ("der Hund ist nicht mit den anderen und das ist gut", "German"),
        ("les chats sont dans une maison et elle est avec nous", "French"),
        ("el perro y los gatos están con una niña pero no más", "Spanish"),
        ("A man sleeps", "Latin letters"),
        ("你好，世界", "Chinese"),
        ("Antichrist Superstar是谁的个人专辑?", "unclear"),
        ("これは日本語の文章です", "Japanese"),
        ("한국어로 쓴 글", "Korean"),
        ("привет мир", "Cyrillic"),
        ("12 + 3", "unclear"),
    ],
)
def test_languages(text: str, language: str) -> None:
    assert language_of(text) == language


def test_rows_in_another_language() -> None:
    rows = [{"id": str(n), "text": "the end of the story and of the man"} for n in range(9)]
    rows += [{"id": "d", "text": "das ist nicht der mann und nicht die frau"}, {"id": "s", "text": "ok ok ok ok"}]
    (found,), counts = mixed_languages(rows, ["text"])
    assert (found.ids, found.count) == (("d",), 1)
    assert counts["text"] == {"English": 9, "German": 1, "Latin letters": 1}
    assert mixed_languages(rows[:9], ["text"])[0] == []


def test_broken_characters() -> None:
    texts = [
        "fine, caf\u00e9 \u2014 \u201cquoted\u201d",
        "lo\ufffdst",
        "caf\u00c3\u00a9",
        "it\u00e2\u20ac\u2122s",
        "a\x00b",
        "tab\tand\nline",
    ]
    rows = [{"id": str(n), "text": text} for n, text in enumerate(texts)]
    assert [finding.ids for finding in broken_characters(rows, ["text"])] == [("1",), ("2", "3"), ("4",)]


def test_labels() -> None:
    rows: list[dict[str, Any]] = [{"id": str(n), "label": ("yes", "no")[n % 2]} for n in range(200)]
    rows.append({"id": "x", "label": "yess"})
    counts = label_counts(rows)
    assert counts == Counter(yes=100, no=100, yess=1)
    (found,) = rare_labels(rows, counts)
    assert found.ids == ("x",)
    assert "a slip for yes?" in found.message
    assert label_counts([{"id": "0", "label": {"a": 1, "b": "0"}}, {"id": "1", "label": ["b", "c"]}]) == Counter("abc")


def test_padding() -> None:
    lengths = np.asarray([10] * 16 + [100] * 16)
    none = np.zeros(32, dtype=np.int64)
    tokens = Tokens(np.arange(32), lengths, none, none.astype(bool), none.astype(bool))
    assert padding_waste(tokens, 100)["to_max_length"] == pytest.approx(0.45)
    assert 0 < padding_waste(tokens, 100)["to_longest_of_16"] <= 0.45
    assert percentiles(tokens) == {"median": 100, "p95": 100, "p99": 100, "most": 100}


def test_records_before_a_task_is_known(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text('{"x": 1}\n{broken\n{"x": 2, "y": 3}\n{"x": 4}\n', encoding="utf-8")
    found = peek(str(path), Data(), None, offline=True)
    assert (len(found.records), found.unreadable, found.complete, found.columns) == (3, 1, True, ["x", "y"])
    some = peek(str(path), Data(), None, offline=True, most=2)
    assert (len(some.records), some.complete) == (1, False)
    text = tmp_path / "a.txt"
    text.write_text("one\ntwo\n", encoding="utf-8")
    assert peek(str(text), Data(), None, offline=True).text == "one\ntwo\n"
