"""What the checks of rows find, and how it is said."""

from typing import Any

import pytest

from hfkit.data import validators
from hfkit.data.findings import Finding, raise_failures
from hfkit.errors import DataError


def rows(column: str, values: list[Any]) -> list[dict[str, Any]]:
    return [{"id": f"r{i}", column: value} for i, value in enumerate(values)]


def test_text() -> None:
    found = list(validators.text_column(rows("q", ["a", None, 3, "", " \n", "b", None]), "q", empty="warning"))
    assert [(f.level, f.code, f.count, f.ids) for f in found] == [
        ("failure", "null_text", 2, ("r1", "r6")),
        ("failure", "not_text", 1, ("r2",)),
        ("warning", "empty_text", 2, ("r3", "r4")),
    ]
    assert found[0].message == "q is null in 2 rows (ids 'r1', 'r6')"
    assert not list(validators.text_column(rows("q", ["a"]), "q", empty="failure"))
    many = list(validators.text_column(rows("q", [None] * 9), "q", empty="failure"))
    assert many[0].message.endswith("'r4', ...)")


def test_duplicate_ids() -> None:
    data = [{"id": name} for name in ["a", "b", "a", "c", "a", "b"]]
    (found,) = validators.duplicate_ids(data, "failure")
    assert (found.count, found.ids) == (3, ("a", "b"))
    assert "2 ids are given to more than one row" in found.message
    assert not list(validators.duplicate_ids([{"id": "a"}, {"id": "b"}], "failure"))
    assert not list(validators.duplicate_ids([], "failure"))


def qa(context: str, text: str, start: int | None) -> dict[str, Any]:
    return {"id": "x", "context": context, "answers": [{"text": text, "start": start}]}


def test_where_answers_stand() -> None:
    cases = {
        "offset": ("a cat sat", "cat", 2),
        "utf-16": ("\U0001f600\U0001f600 cat", "cat", 5),
        "bytes": ("éé cat", "cat", 5),
        "once": ("a cat sat", "cat", -1),
        "near": ("cat dog bird cat", "cat", 11),
        "several": ("cat cat", "cat", 1),
        "nowhere": ("a cat sat", "dog", 2),
    }
    for expected, (context, text, start) in cases.items():
        assert validators.locate_answer(context, text, start)[0] == expected
    (found,) = validators.answers_located([qa(*case) for case in cases.values()])
    assert (found.level, found.count) == ("warning", 6)
    assert "1 offset in UTF-16 units, 1 offset in bytes, 1 found once elsewhere" in found.message
    (good,) = validators.answers_located([qa("a cat", "cat", 2)])
    assert good.level == "good"
    assert not list(validators.answers_located([{"id": "x", "context": "c", "answers": []}]))


def test_overlap() -> None:
    train = [{"id": "1", "p": "a", "h": "b"}, {"id": "2", "p": "c", "h": "d"}]
    (found,) = validators.overlap(train, [{"id": "7", "p": "c", "h": "d"}, {"id": "8", "p": "a", "h": "d"}], ["p", "h"])
    assert (found.count, found.ids) == (1, ("7",))
    assert not list(validators.overlap(train, [], ["p"]))


def test_failures_are_raised_together() -> None:
    findings = [
        Finding("failure", "a", "first"),
        Finding("warning", "b", "second"),
        Finding("failure", "c", "third"),
        Finding("good", "d", "fourth"),
    ]
    with pytest.raises(DataError, match="first\nthird"):
        raise_failures(iter(findings))
    assert raise_failures(findings[1:2] + findings[3:]) == ["second"]
