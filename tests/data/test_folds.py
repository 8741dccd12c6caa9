"""Folds: a partition, groups whole, labels even, the same for the same rows in any order; the user's own column."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from hfkit.data import Rows, folds, load, load_training
from hfkit.errors import DataError, UsageError
from hfkit.recipe.keys import Data
from hfkit.tasks.base import Column

NLI = (Column("id", False), Column("premise", True), Column("hypothesis", True), Column("label", False, gold=True))
TEXT = (Column("id", False), Column("text", True), Column("label", False, gold=True))


def rows_of(count: int, group_size: int = 3) -> Rows:
    data = [{"premise": f"p{i // group_size}", "hypothesis": f"h{i}", "label": i % 3} for i in range(count)]
    return load(data, columns=NLI, settings=Data(), need_gold=True)


def texts_of(labels: Sequence[Any], **columns: Sequence[Any]) -> Rows:
    data = [
        {"text": f"t{i}", "label": label, **{name: values[i] for name, values in columns.items()}}
        for i, label in enumerate(labels)
    ]
    return load(data, columns=TEXT, settings=Data(), need_gold=False)


def ids(rows: Sequence[Any]) -> list[int]:
    return [int(row["id"]) for row in rows]


def counts_of(rows: Rows, count: int, **keys: Any) -> tuple[list[Counter[str]], list[int]]:
    """Of each fold: how many rows of each label, and how many rows."""
    numbers, found, _ = folds.fold_numbers(rows, Data(folds=count, **keys), None, columns=TEXT)
    assert found == count
    held = [Counter(str(row["label"]) for row, at in zip(rows, numbers, strict=True) if at == n) for n in range(count)]
    return held, np.bincount(numbers, minlength=count).tolist()


def test_folds_are_a_partition() -> None:
    seen: list[int] = []
    for number in range(5):
        settings = Data(folds=5, fold=number)
        train, held, line = folds.fold(rows_of(1000), settings, "premise", columns=TEXT)
        assert f"fold {number} of 5" in line
        assert 180 <= len(held) <= 220
        assert sorted(ids(train) + ids(held)) == list(range(1000))
        seen += ids(held)
    assert sorted(seen) == list(range(1000))


def test_folds_that_make_no_sense() -> None:
    for settings in (Data(fold=0), Data(folds=3), Data(folds=3, fold=3), Data(folds=3, fold=0, validation="x.jsonl")):
        with pytest.raises(UsageError):
            load_training(settings.model_copy(update={"train": "never-read.jsonl"}), columns=NLI, group="premise")
    with pytest.raises(DataError, match="cannot make 5 folds"):
        folds.fold(rows_of(6, group_size=3), Data(folds=5, fold=0), "premise", columns=TEXT)


def test_labels_are_even_to_one_row() -> None:
    labels = ["rare"] * 7 + ["common"] * 400 + ["some"] * 43 + [None] * 11
    held, sizes = counts_of(texts_of(labels), 5)
    for label, total in Counter(map(str, labels)).items():
        assert all(total // 5 <= found[label] <= -(-total // 5) for found in held), label
    assert max(sizes) - min(sizes) <= 1


def test_folds_do_not_depend_on_the_order_of_rows() -> None:
    rows = texts_of([f"l{i % 7}" for i in range(200)], author=[f"a{i % 60}" for i in range(200)])
    settings = Data(folds=4, group="author")
    straight, _, how = folds.fold_numbers(rows, settings, None, columns=TEXT)
    backward, _, _ = folds.fold_numbers(rows.subset(range(199, -1, -1)), settings, None, columns=TEXT)
    assert straight.tolist() == backward[::-1].tolist()
    assert how == ", grouped by author, labels even"


def test_groups_stay_whole_and_labels_nearly_even() -> None:
    random = np.random.default_rng(0)
    authors = random.integers(0, 120, 3000)
    labels = [f"l{(author % 3 + draw) % 3}" for author, draw in zip(authors, random.integers(0, 2, 3000), strict=True)]
    rows = texts_of(labels, author=[f"a{n}" for n in authors])
    numbers, _, _ = folds.fold_numbers(rows, Data(folds=5, group="author"), None, columns=TEXT)
    of_author = {author: set(numbers[authors == author].tolist()) for author in set(authors.tolist())}
    assert all(len(found) == 1 for found in of_author.values())
    held, sizes = counts_of(rows, 5, group="author")
    assert max(sizes) - min(sizes) < 30
    for label, total in Counter(labels).items():
        assert all(abs(found[label] - total / 5) < 0.05 * total / 5 for found in held), label


def test_columns_that_the_task_lacks_part_no_equal_texts() -> None:
    data = [{"text": f"t{i % 40}", "label": i % 2, "tweet_id": i} for i in range(400)]
    rows = load(data, columns=TEXT, settings=Data(), need_gold=True)
    numbers, _, _ = folds.fold_numbers(rows, Data(folds=4), None, columns=TEXT)
    places = {(row["text"], int(at)) for row, at in zip(rows, numbers, strict=True)}
    assert len(places) == 40, "each text is in one fold"


def test_several_labels_and_numbers_are_evened_out() -> None:
    many = texts_of([["a", "b"] if i % 10 == 0 else ["a"] if i % 2 else [] for i in range(200)])
    numbers, _, _ = folds.fold_numbers(many, Data(folds=4), None, columns=TEXT)
    with_b = [int(at) for row, at in zip(many, numbers, strict=True) if "b" in row["label"]]
    assert np.bincount(with_b).tolist() == [5, 5, 5, 5]
    amounts = texts_of([i**2 / 7 for i in range(500)])
    numbers, _, _ = folds.fold_numbers(amounts, Data(folds=5), None, columns=TEXT)
    upper = [int(at) for row, at in zip(amounts, numbers, strict=True) if row["label"] > 400**2 / 7]
    assert max(np.bincount(upper)) - min(np.bincount(upper)) <= 2
    columns = [{"depth": i * 0.5, "width": i * 2.0} for i in range(50)]
    assert set(folds.strata_of([{"label": value} for value in columns])) == {folds.NONE}
    flags = [{"new": 1, "old": i % 2} for i in range(4)]
    assert folds.strata_of([{"label": value} for value in flags])[:2] == [("new",), ("new", "old")]


def test_the_users_own_folds() -> None:
    rows = texts_of(["x", "y"] * 6, kfold=[10, 2, 2, 10, 3, 3] * 2)
    train, held, line = folds.fold(rows, Data(fold_column="kfold", fold=1), None, columns=TEXT)
    assert {row["kfold"] for row in held} == {3} and len(train) == 8
    assert line == "validation: fold 1 of 3, 4 rows of train, by kfold"
    assert {
        row["kfold"] for row in folds.fold(rows, Data(fold_column="kfold", fold=2, folds=3), None, columns=TEXT)[1]
    } == {10}
    with pytest.raises(UsageError, match=r"has 3 folds \(2, 3, 10\), data.folds says 5"):
        folds.fold_numbers(rows, Data(fold_column="kfold", folds=5), None, columns=TEXT)
    with pytest.raises(UsageError, match="data.fold=3 is not below"):
        folds.fold(rows, Data(fold_column="kfold", fold=3), None, columns=TEXT)
    with pytest.raises(DataError, match="no column 'folds', which data.fold_column asks for"):
        folds.fold(rows, Data(fold_column="folds", fold=0), None, columns=TEXT)
    with pytest.raises(DataError, match=r"2 rows without a fold in data.fold_column=kfold \(1, 3\)"):
        folds.fold(texts_of(["x"] * 4, kfold=[1, None, 2, ""]), Data(fold_column="kfold", fold=0), None, columns=TEXT)
    with pytest.raises(DataError, match="all rows have one fold"):
        folds.fold(texts_of(["x"] * 4, kfold=[1] * 4), Data(fold_column="kfold", fold=0), None, columns=TEXT)
    with pytest.raises(UsageError, match="data.fold_column is set without data.fold"):
        folds.check_folds(Data(fold_column="kfold"))


def test_the_limit_is_drawn_before_train_is_divided() -> None:
    data = [{"text": f"t{i}", "label": i % 2} for i in range(400)]
    held: list[str] = []
    for number in range(4):
        settings = Data(limit=40, folds=4, fold=number).model_copy(update={"train": data})
        train, validation, _ = load_training(settings, columns=TEXT, group=None)
        assert (len(train), len(validation)) == (30, 10)
        held += [row["id"] for row in validation]
    assert len(set(held)) == 40
