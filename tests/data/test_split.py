"""The validation share, folds and the limit: groups stay together, the same rows come out each time."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from hfkit.data import Rows, load, load_training
from hfkit.data import split as splitting
from hfkit.errors import DataError
from hfkit.recipe.keys import Data
from hfkit.tasks.base import Column

NLI = (
    Column("id", False),
    Column("premise", True, ("sentence1",)),
    Column("hypothesis", True),
    Column("label", False, gold=True),
)
LM = (Column("text", True),)


def rows_of(count: int, group_size: int = 3) -> Rows:
    data = [
        {"premise": f"p{i // group_size}", "hypothesis": f"h{i}", "label": i % 3, "site": i % 4} for i in range(count)
    ]
    return load(data, columns=NLI, settings=Data(), need_gold=True)


def ids(rows: Sequence[Any]) -> list[int]:
    return [int(row["id"]) for row in rows]


def test_share_keeps_groups_together_and_is_the_same_each_time() -> None:
    rows = rows_of(3000)
    train, held, line = splitting.share(rows, Data(), "premise", columns=NLI)
    assert len(train) + len(held) == 3000
    assert 300 <= len(held) < 303
    assert "300" in line
    assert "grouped by premise" in line
    assert not {row["premise"] for row in train} & {row["premise"] for row in held}
    assert ids(held) == sorted(ids(held))
    again = splitting.share(rows_of(3000), Data(), "premise", columns=NLI)[1]
    assert ids(again) == ids(held)
    assert again.fingerprint == held.fingerprint
    assert train.fingerprint != held.fingerprint


def test_share_does_not_depend_on_the_order_of_rows() -> None:
    rows = rows_of(300)
    backward = rows.subset(range(299, -1, -1))
    assert sorted(ids(splitting.share(backward, Data(), "premise", columns=NLI)[1])) == ids(
        splitting.share(rows, Data(), "premise", columns=NLI)[1]
    )


def test_share_by_another_column_under_the_data_name() -> None:
    data = [{"sentence1": f"p{i % 7}", "hypothesis": f"h{i}", "label": 0} for i in range(100)]
    rows = load(data, columns=NLI, settings=Data(), need_gold=True)
    train, held, line = splitting.share(rows, Data(group="sentence1"), None, columns=NLI)
    assert not {row["premise"] for row in train} & {row["premise"] for row in held}
    assert "grouped by sentence1" in line
    with pytest.raises(DataError, match="no column 'nothing', which data.group asks for"):
        splitting.share(rows, Data(group="nothing"), None, columns=NLI)


def test_equal_texts_stay_on_one_side_without_a_group() -> None:
    data = [{"premise": f"p{i % 50}", "hypothesis": "h", "label": i % 3} for i in range(500)]
    train, held, _ = splitting.share(
        load(data, columns=NLI, settings=Data(), need_gold=True), Data(), None, columns=NLI
    )
    assert len(held) == 50
    assert not {row["premise"] for row in train} & {row["premise"] for row in held}


def test_columns_that_the_task_lacks_part_no_equal_texts() -> None:
    columns = (Column("id", False), Column("source", True), Column("target", True, gold=True))
    data = [{"source": f"s{i % 50}", "target": f"t{i}", "tweet_id": i, "at": f"{i}:00"} for i in range(500)]
    train, held, _ = splitting.share(
        load(data, columns=columns, settings=Data(), need_gold=True), Data(), None, columns=columns
    )
    assert len(held) == 50
    assert not {row["source"] for row in train} & {row["source"] for row in held}


def test_one_group_cannot_be_split() -> None:
    with pytest.raises(DataError, match="all rows share one premise"):
        splitting.share(rows_of(10, group_size=10), Data(), "premise", columns=NLI)


def test_limit_draws_by_a_fixed_seed_and_keeps_order() -> None:
    rows = splitting.limited(rows_of(1000), 50)
    assert len(rows) == 50
    assert ids(rows) == sorted(ids(rows))
    assert ids(rows) != list(range(50))
    assert ids(rows) == ids(splitting.limited(rows_of(1000), 50))
    assert splitting.limited(rows_of(10), 50).fingerprint == rows_of(10).fingerprint


def test_limit_applies_to_both_after_the_split(tmp_path: Path) -> None:
    path = tmp_path / "train.csv"
    path.write_text("premise,hypothesis,label\n" + "".join(f"p{i},h,{i % 2}\n" for i in range(400)), encoding="utf-8")
    train, held, lines = load_training(Data(train=str(path), limit=20), columns=NLI, group="premise")
    assert (len(train), len(held)) == (20, 20)
    assert lines[0].endswith("400 rows, columns premise=premise, hypothesis=hypothesis, label=label")
    assert "40 rows held out of train" in lines[1]


def test_running_text_gives_its_tail(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    text = "".join(f"line {i}\r\n" for i in range(1000))
    path.write_text(text, encoding="utf-8", newline="")
    train, held, line = load_training(Data(train=str(path)), columns=LM, group=None)[:3]
    assert train[0]["text"] + held[0]["text"] == text
    assert train[0]["text"].endswith("\n")
    assert 0.08 < len(held[0]["text"]) / len(text) < 0.12
    assert train.stream
    assert held.stream
    assert train.fingerprint != held.fingerprint
    assert "characters" in line[-1]


def test_documents_of_text_give_the_last_ones() -> None:
    rows = load([{"text": f"d{i}"} for i in range(20)], columns=LM, settings=Data(), need_gold=True)
    _, held, _ = splitting.share(rows, Data(), None, columns=NLI)
    assert [row["text"] for row in held] == ["d18", "d19"]


def test_overlap_is_said_and_can_be_refused(tmp_path: Path) -> None:
    train, validation = tmp_path / "train.csv", tmp_path / "dev.csv"
    train.write_text("premise,hypothesis,label\na,b,0\nc,d,1\n", encoding="utf-8")
    validation.write_text("premise,hypothesis,label\na,b,1\ne,f,1\n", encoding="utf-8")
    settings = Data(train=str(train), validation=str(validation))
    _, _, lines = load_training(settings, columns=NLI, group="premise")
    assert "1 of 2 validation rows (50.0 %) stand in the training data too" in lines[-1]
    with pytest.raises(DataError, match=r"data\.max_overlap=0\.1"):
        load_training(settings.model_copy(update={"max_overlap": 0.1}), columns=NLI, group="premise")


def test_rows_are_a_sequence() -> None:
    rows = rows_of(10)
    assert rows[-1]["id"] == "9"
    assert ids(rows[2:4]) == [2, 3]
    assert ids(rows.subset([7, 1]).subset([1])) == [1]
    assert rows.subset(range(10)) is rows
    with pytest.raises(IndexError):
        rows[10]


def test_keys_that_change_nothing_are_said() -> None:
    rows = [{"premise": f"p{n}", "hypothesis": "h", "label": n % 2, "site": n % 4} for n in range(20)]
    settings = Data(validation_share=0.3, group="site").model_copy(update={"train": rows})
    _, _, lines = load_training(settings, columns=NLI, group=None)
    assert not [line for line in lines if "no effect" in line]
    _, _, lines = load_training(settings.model_copy(update={"validation": rows[:4]}), columns=NLI, group=None)
    assert [line for line in lines if "no effect" in line] == [
        "data.validation_share has no effect: validation data is there",
        "data.group has no effect: validation data is there",
    ]
