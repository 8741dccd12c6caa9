"""Columns by name: well-known names, data.columns, and what is said when one is missing; rows in memory."""

import json
from pathlib import Path
from typing import Any

import pytest

from hfkit.data import load
from hfkit.data.validators import duplicate_ids
from hfkit.errors import DataError, UsageError
from hfkit.recipe.keys import Data
from hfkit.tasks.base import Column
from hfkit.tasks.classify import Classify
from hfkit.tasks.qa.task import QA

NLI = (
    Column("id", False, ("pairID",)),
    Column("premise", True, ("sentence1",)),
    Column("hypothesis", True, ("sentence2",)),
    Column("label", False, ("gold_label",), gold=True),
)


def rows_of(
    spec: Any, *, need_gold: bool = True, columns: tuple[Column, ...] = NLI, asked: Any = None, **settings: Any
) -> Any:
    return load(spec, columns=columns, settings=Data(columns=asked or {}, **settings), need_gold=need_gold)


def test_well_known_names_are_mapped_and_the_rest_is_kept() -> None:
    rows = rows_of([{"heuristic": "h", "sentence2": "b", "gold_label": "x", "sentence1": "a", "pairID": 12}])
    assert rows[0] == {"id": "12", "premise": "a", "hypothesis": "b", "label": "x", "heuristic": "h"}
    assert rows.mapping == {"id": "pairID", "premise": "sentence1", "hypothesis": "sentence2", "label": "gold_label"}


def test_the_tasks_own_name_comes_before_other_names_and_case_last() -> None:
    rows = rows_of([{"sentence1": "no", "premise": "yes", "Sentence2": "b", "label": 1}])
    assert rows[0]["premise"] == "yes"
    assert rows[0]["sentence1"] == "no"
    assert rows[0]["hypothesis"] == "b"


def test_data_columns_decide() -> None:
    rows = load(
        [{"a": "p", "premise": "other", "b": "h", "label": 1}],
        columns=NLI,
        settings=Data(columns={"premise": "a", "hypothesis": "b"}),
        need_gold=True,
    )
    assert rows[0] == {"id": "0", "premise": "p", "hypothesis": "h", "label": 1}


def test_several_label_columns_become_one_mapping() -> None:
    columns = (Column("text", True), Column("label", False, gold=True))
    settings = Data(columns={"label": ["toxic", "rude"]})
    rows = load([{"text": "t", "toxic": 0, "rude": 1}], columns=columns, settings=settings, need_gold=True)
    assert rows[0] == {"id": "0", "text": "t", "label": {"toxic": 0, "rude": 1}}
    assert rows.mapping["label"] == "toxic, rude"


def test_a_missing_column_gives_the_table_and_the_nearest_name(tmp_path: Path) -> None:
    with pytest.raises(DataError) as caught:
        rows_of([{"premisse": "a", "hypothesis": "b", "label": 0}])
    assert "no column for premise" in caught.value.message
    assert "nearest: premisse" in caught.value.message
    assert "hypothesis     hypothesis" in caught.value.message
    assert caught.value.hint == "say which column it is, e.g. data.columns.premise=premisse"


def test_columns_are_never_taken_by_position() -> None:
    with pytest.raises(DataError):
        rows_of([{"c1": "a", "c2": "b", "c3": 0}])


def test_data_columns_that_do_not_fit() -> None:
    with pytest.raises(UsageError) as caught:
        load([{"a": "b"}], columns=NLI, settings=Data(columns={"premis": "a"}), need_gold=True)
    assert caught.value.hint == "did you mean data.columns.premise?"
    with pytest.raises(DataError, match=r"data\.columns says 'sentence_1'"):
        load(
            [{"sentence1": "a", "hypothesis": "b", "label": 0}],
            columns=NLI,
            settings=Data(columns={"premise": "sentence_1"}),
            need_gold=True,
        )


def test_another_separator_is_named(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("premise;hypothesis;label\na;b;0\n", encoding="utf-8")
    with pytest.raises(DataError) as caught:
        rows_of(str(path))
    assert "separated by ';'" in str(caught.value.hint)


def test_parts_of_a_set_may_name_columns_differently_but_not_lack_one(tmp_path: Path) -> None:
    one, two, three = (tmp_path / name for name in ("1.jsonl", "2.jsonl", "3.jsonl"))
    one.write_text(json.dumps({"premise": "a", "hypothesis": "b", "label": 0}) + "\n", encoding="utf-8")
    two.write_text(json.dumps({"sentence1": "c", "sentence2": "d", "gold_label": 1}) + "\n", encoding="utf-8")
    three.write_text(json.dumps({"premise": "a", "hypothesis": "b"}) + "\n", encoding="utf-8")
    rows = rows_of([str(one), str(two)])
    assert [(row["id"], row["premise"]) for row in rows] == [("0", "a"), ("1", "c")]
    assert "premise=sentence1" in rows.notes[0]
    with pytest.raises(DataError, match=r"(?s)3\.jsonl: no column for label.*1\.jsonl has them"):
        rows_of([str(one), str(three)])
    with pytest.raises(DataError, match=r"do not both have label"):
        rows_of([str(one), str(three)], need_gold=False)


def test_frames_and_lists_in_memory() -> None:
    import pandas as pd

    frame = pd.DataFrame({"premise": ["a", None], "hypothesis": ["b", "c"], "label": [1.0, float("nan")], "id": [7, 8]})
    rows = rows_of(frame)
    assert [row["id"] for row in rows] == ["7", "8"]
    assert rows[1]["premise"] is None
    assert rows[1]["label"] is None
    assert rows.files == []
    assert rows.fingerprint == rows_of(frame.copy()).fingerprint
    assert rows.fingerprint != rows_of([{"premise": "a", "hypothesis": "b", "label": 1}]).fingerprint
    with pytest.raises(DataError, match="0 rows"):
        rows_of([])
    with pytest.raises(DataError, match="half of a surrogate"):
        rows_of([{"premise": "\ud800", "hypothesis": "b", "label": 1}])
    with pytest.raises(DataError, match="row is not a mapping"):
        rows_of([{"premise": "a", "hypothesis": "b", "label": 1}, 3])
    with pytest.raises(UsageError):
        rows_of(3)


def test_a_key_inside_a_column_of_objects_is_a_column() -> None:
    rows = [{"translation": {"en": "a boat", "de": "ein Boot"}}, {"translation": {"en": "salt", "de": "Salz"}}]
    columns = (Column("id", False), Column("source", True), Column("target", True, gold=True))
    settings = Data(columns={"source": "translation.en", "target": "translation.de"})
    found = load(rows, columns=columns, settings=settings, need_gold=True)
    assert [(row["source"], row["target"]) for row in found] == [("a boat", "ein Boot"), ("salt", "Salz")]
    with pytest.raises(DataError, match=r"column 'translation\.fr' is missing"):
        load(
            rows,
            columns=columns,
            settings=Data(columns={**settings.columns, "source": "translation.fr"}),
            need_gold=True,
        )


def test_frames_with_arrays_and_other_missing_values() -> None:
    pd = pytest.importorskip("pandas")
    np = pytest.importorskip("numpy")
    answers = {"text": np.array(["Ada"], dtype=object), "answer_start": np.array([0])}
    frame = pd.DataFrame({"question": ["Who?"], "context": ["Ada did."], "answers": [answers]})
    (row,) = rows_of(frame, columns=QA.columns)
    assert row["answers"] == [{"text": "Ada", "start": 0}]
    frame = pd.DataFrame(
        {"premise": ["a", pd.NA], "hypothesis": ["b", "c"], "label": pd.array([1, None], dtype="Int64")}
    )
    frame["when"] = [pd.Timestamp("2020"), pd.NaT]
    assert [row["premise"] for row in rows_of(frame)] == ["a", None]
    assert rows_of(frame)[1]["label"] is None and rows_of(frame)[1]["when"] is None
    lists = rows_of(pd.DataFrame({"text": ["a"], "label": [np.array(["x", "y"])]}), columns=Classify.columns)
    assert lists[0]["label"] == ["x", "y"]


def test_ids_and_several_labels_may_stand_in_columns_of_objects() -> None:
    row = {"text": "a", "meta": {"id": "q7"}, "marks": {"x": 1, "y": 0}}
    named = Data(columns={"id": "meta.id", "label": ["marks.x", "marks.y"]})
    (found,) = load([row], columns=Classify.columns, settings=named, need_gold=True)
    assert found["id"] == "q7" and found["label"] == {"marks.x": 1, "marks.y": 0}
    with pytest.raises(DataError, match="'meta.id' is missing"):
        load([{**row, "meta": {}}], columns=Classify.columns, settings=named, need_gold=True)


@pytest.mark.parametrize("first", [0, 1, 120])
def test_a_row_without_an_id_has_its_number_wherever_others_have_theirs(tmp_path: Path, first: int) -> None:
    rows: list[dict[str, Any]] = [{"text": f"t{number}", "label": 0} for number in range(150)]
    rows[first]["id"] = f"q{first}"
    spec = tmp_path / "a.jsonl"
    spec.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    for given in (str(spec), rows):
        read = rows_of(given, columns=Classify.columns)
        assert [row["id"] for row in read] == [f"q{n}" if n == first else str(n) for n in range(150)]
        assert read.mapping["id"] == "id"
    rows[first]["id"] = None
    if first < 100:  # later nobody knows that there is such a column
        with pytest.raises(DataError, match="column 'id' is null"):
            rows_of(rows, columns=Classify.columns)
    rows[first]["id"] = "149"
    (finding,) = duplicate_ids(rows_of(rows, columns=Classify.columns), "failure")
    assert finding.count == 1 and "'149'" in finding.message


@pytest.mark.parametrize("name", ["text_pair", "sentence2", "Text_Pair"])
@pytest.mark.parametrize("memory", [False, True])
def test_a_task_column_that_comes_late_is_not_dropped(tmp_path: Path, name: str, memory: bool) -> None:
    rows = [{"text": f"t{number}", "label": number % 2, name: None} for number in range(150)]
    for row in rows[:120]:
        del row[name]
    spec = tmp_path / "a.jsonl"

    def read() -> Any:
        spec.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
        return rows_of(rows if memory else str(spec), columns=Classify.columns)

    assert len(read()) == 150, "null is nothing"
    rows[130][name] = "second"
    place = "rows in memory: row 131" if memory else r"a\.jsonl:131"
    with pytest.raises(DataError, match=rf"{place}: has a column '{name}'.* that the first rows lack") as caught:
        read()
    assert "on_bad_row=skip" in str(caught.value.hint)


def test_gold_that_comes_late_is_read_where_it_may_be_absent() -> None:
    rows = [{"text": f"t{number}"} for number in range(120)] + [{"text": "last", "gold": 1, "note": "x"}]
    read = rows_of(rows, columns=Classify.columns, need_gold=False, asked={"label": "gold"})
    assert read[120] == {"id": "120", "text": "last", "label": 1, "note": "x"}
    assert "label" not in read[0]
    assert read.mapping == {"text": "text", "label": "gold"}


@pytest.mark.parametrize("memory", [False, True])
def test_gold_that_is_needed_and_comes_late(tmp_path: Path, memory: bool) -> None:
    """Its rows are not said to have no such column; they are read where those in front may be skipped."""
    rows = [{"text": f"t{number}", "gold": number % 2} for number in range(150)]
    for row in rows[:120]:
        del row["gold"]
    spec = tmp_path / "a.jsonl"
    spec.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    given: Any = rows if memory else str(spec)
    with pytest.raises(DataError, match=r"no column for label in the first 100 rows\n") as caught:
        rows_of(given, columns=Classify.columns, asked={"label": "gold"})
    assert "data.on_bad_row=skip leaves out the rows without it" in str(caught.value.hint)

    def skipping(share: float, column: str = "gold") -> Any:
        settings = Data(columns={"label": column}, on_bad_row="skip", max_bad_rows=share)
        return load(given, columns=Classify.columns, settings=settings, need_gold=True)

    read = skipping(0.9)
    assert [row["label"] for row in read] == [number % 2 for number in range(120, 150)] and read.skipped == 120
    assert read.rejected[0]["problem"] == "column 'gold' is missing"
    with pytest.raises(DataError, match=r"120 of 150 rows \(80 %\) cannot be read.*column 'gold' is missing"):
        skipping(0.1)
    with pytest.raises(DataError, match="no column for label") as caught:
        skipping(0.9, "colour")
    assert "first" not in caught.value.message and "text, gold" in caught.value.message, "all rows were looked at"


def test_other_columns_may_come_late() -> None:
    rows = [{"text": f"t{number}", "label": 0} for number in range(120)] + [{"text": "x", "label": 1, "note": "n"}]
    assert rows_of(rows, columns=Classify.columns)[120] == {"id": "120", "text": "x", "label": 1, "note": "n"}


def test_a_late_column_does_not_take_the_place_of_an_early_one(tmp_path: Path) -> None:
    rows: list[dict[str, Any]] = [{"sentence": f"s{number}"} for number in range(110)]
    rows += [{"sentence": f"s{number}", "label": number % 2} for number in range(110, 150)]
    rows[140]["text"] = "a stray one"  # the task's own name, which comes first where it is known from the start
    spec = tmp_path / "a.jsonl"
    spec.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    settings = Data(on_bad_row="skip", max_bad_rows=0.9)
    read = load(str(spec), columns=Classify.columns, settings=settings, need_gold=True)
    assert [row["text"] for row in read] == [f"s{number}" for number in range(110, 150)]
