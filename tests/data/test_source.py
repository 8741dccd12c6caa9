"""What a name means: files, folders with parts, shipped data, pairs, lists; paths never go to the Hub."""

import json
from pathlib import Path
from typing import Any

import pytest

from hfkit.data import load, load_training
from hfkit.data.place import Place
from hfkit.data.readers import FORMS
from hfkit.data.source import locate
from hfkit.errors import DataError, NetworkError, UsageError
from hfkit.files import DATA_SUFFIXES, ends_as_data
from hfkit.recipe.keys import Data
from hfkit.tasks.base import Column

TEXT = (Column("id", False), Column("text", True), Column("label", False, gold=True))
PAIR = (Column("id", False), Column("source", True), Column("target", True, gold=True))
QA = (Column("id", False), Column("question", True), Column("context", True), Column("answers", True, gold=True))


def put(path: Path, *texts: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps({"text": t, "label": i}) + "\n" for i, t in enumerate(texts)), encoding="utf-8")
    return path


def names(places: list[Place]) -> list[str]:
    return [place.files[0].name for place in places]


def texts(spec: Any, split: str | None = None, columns: tuple[Column, ...] = TEXT) -> list[str]:
    return [row["text"] for row in load(spec, columns=columns, settings=Data(), split=split, need_gold=True)]


def test_data_is_known_by_the_same_names_to_recipes_and_readers() -> None:
    assert set(DATA_SUFFIXES) == set(FORMS)
    assert ends_as_data("A.CSV.gz") and not ends_as_data("a.yaml")


def test_a_folder_with_parts(tmp_path: Path) -> None:
    put(tmp_path / "train.jsonl", "a", "b")
    put(tmp_path / "dev.jsonl", "c")
    (tmp_path / "README.txt").write_text("about", encoding="utf-8")
    assert texts(str(tmp_path), "train") == ["a", "b"]
    assert texts(str(tmp_path), "validation") == ["c"]
    assert texts(str(tmp_path)) == ["c"]
    train, validation, lines = load_training(Data(train=str(tmp_path)), columns=TEXT, group=None)
    assert (len(train), len(validation)) == (2, 1)
    assert "dev.jsonl" in lines[1]
    with pytest.raises(DataError, match="has no test part, only train"):
        texts(str(tmp_path), "test")


def test_of_several_sets_all_bring_validation_or_it_is_said(tmp_path: Path) -> None:
    for name in ("one", "two"):
        put(tmp_path / name / "train.jsonl", *(f"{name}{number}" for number in range(30)))
        put(tmp_path / name / "dev.jsonl", f"{name} dev")
    alone = put(tmp_path / "more.jsonl", *(f"more{number}" for number in range(30)))
    one, two = str(tmp_path / "one"), str(tmp_path / "two")
    _, validation, lines = load_training(Data(train=[one, two]), columns=TEXT, group=None)
    assert [row["text"] for row in validation] == ["one dev", "two dev"]
    assert not any("not used" in line for line in lines)
    _, validation, lines = load_training(Data(train=[one, str(alone)]), columns=TEXT, group=None)
    assert "one dev" not in [row["text"] for row in validation]
    said = f"the validation part of {one} is not used, since {alone} has none; data.validation (--validation) takes it"
    assert any(line.startswith(said) for line in lines)
    _, validation, lines = load_training(Data(train=[one, str(alone)], validation=one), columns=TEXT, group=None)
    assert [row["text"] for row in validation] == ["one dev"]


def test_a_folder_of_shards_and_numbered_parts(tmp_path: Path) -> None:
    for number in (1, 2, 3):
        put(tmp_path / "shards" / f"part{number}.jsonl", f"t{number}")
        put(tmp_path / "parts" / f"train-0000{number}-of-00003.jsonl", f"t{number}")
    assert texts(str(tmp_path / "shards"), "train") == ["t1", "t2", "t3"]
    assert texts(str(tmp_path / "parts"), "train") == ["t1", "t2", "t3"]


def test_folders_that_say_too_much_or_nothing(tmp_path: Path) -> None:
    put(tmp_path / "a" / "train.jsonl", "a")
    put(tmp_path / "a" / "train.json", "a")
    put(tmp_path / "b" / "x.jsonl", "a")
    put(tmp_path / "b" / "y.csv", "a")
    (tmp_path / "c").mkdir()
    for name, words in (("a", "several files for train"), ("b", "several forms"), ("c", "no data files")):
        with pytest.raises(DataError, match=words):
            locate(str(tmp_path / name), "train")


def test_shipped_data() -> None:
    train = load("shipped:quickstart", columns=QA, settings=Data(), split="train", need_gold=True)
    assert len(train) >= 240
    assert names(locate("shipped:quickstart")) == ["quickstart-validation.json"]
    _, validation, _ = load_training(Data(train="shipped:quickstart"), columns=QA, group="context")
    assert len(validation) == 60
    with pytest.raises(DataError) as caught:
        locate("shipped:quickstrat")
    assert caught.value.hint == "did you mean shipped:quickstart?"


def test_line_aligned_files(tmp_path: Path) -> None:
    (tmp_path / "a.en").write_text("one\ntwo\n", encoding="utf-8")
    (tmp_path / "a.de").write_text("eins\nzwei\n", encoding="utf-8")
    spec = f"{tmp_path}/a.en,{tmp_path}/a.de"
    rows = load(spec, columns=PAIR, settings=Data(), need_gold=True)
    assert rows[1] == {"id": "1", "source": "two", "target": "zwei"}
    assert len(rows.files) == 2
    (tmp_path / "a.de").write_text("eins\n", encoding="utf-8")
    with pytest.raises(DataError, match=r"a\.de ends at line 1, .*a\.en goes on"):
        load(spec, columns=PAIR, settings=Data(), need_gold=True)


def test_paths_never_go_to_the_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    put(tmp_path / "data" / "train.jsonl", "a")
    for spec, hint in {
        "./no/such": "paths are relative",
        "data/trian.jsonl": "did you mean data/train.jsonl?",
        "train.jsonl": "give a file",
        "squad": "give a file",
        "data/nothing": "hub:data/nothing",
        "/no/such/file.csv": "paths are relative",
    }.items():
        with pytest.raises(DataError, match="no such file") as caught:
            locate(spec)
        assert hint in str(caught.value.hint), spec
    for spec, words in {"notes.pdf": "unknown form '.pdf'", "plain": "without a suffix"}.items():
        (tmp_path / spec).write_text("x", encoding="utf-8")
        with pytest.raises(DataError, match=words):
            locate(spec)


def test_hub_names() -> None:
    (place,) = locate("nyu-mll/glue@mrpc:test[:10%]", "train")
    assert place.hub is not None
    assert (place.hub.repo, place.hub.config, place.hub.split) == ("nyu-mll/glue", "mrpc", "test[:10%]")
    (place,) = locate("hub:rajpurkar/squad", "train")
    assert place.hub is not None
    assert (place.hub.repo, place.hub.config, place.hub.split) == ("rajpurkar/squad", None, "train")


def test_offline_and_not_cached() -> None:
    with pytest.raises(NetworkError, match="offline mode"):
        load("owner/never-cached", columns=TEXT, settings=Data(), need_gold=True)


def test_no_training_data() -> None:
    with pytest.raises(UsageError, match="no training data"):
        load_training(Data(), columns=TEXT, group=None)
