"""The published data sets as they are: counts, columns, flaws, and the time it takes."""

import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from hfkit.data import Rows, load, load_training
from hfkit.data.validators import answers_located, duplicate_ids, text_column
from hfkit.recipe.keys import Data
from hfkit.tasks.base import Column

pytestmark = pytest.mark.shared_data

QA = (Column("id", False), Column("question", True), Column("context", True), Column("answers", True, gold=True))
NLI = (
    Column("id", False),
    Column("premise", True, ("sentence1",)),
    Column("hypothesis", True, ("sentence2",)),
    Column("label", False, ("gold_label",), gold=True),
)
CLASSIFY = (
    Column("id", False),
    Column("text", True, ("sentence",)),
    Column("label", False, ("category",), gold=True),
)
LM = (Column("text", True),)
PAIR = (Column("id", False), Column("source", True), Column("target", True, gold=True))


def read(path: Path | str, columns: tuple[Column, ...], **settings: Any) -> Rows:
    return load(str(path), columns=columns, settings=Data(**settings), need_gold=True)


def test_squad(shared: Path) -> None:
    started = time.perf_counter()
    train = read(shared / "squad" / "train.json", QA)
    assert time.perf_counter() - started < 3  # about 0.2 s on an idle core
    dev = read(shared / "squad" / "dev.json", QA)
    assert (len(train), len(dev)) == (11_877, 10_570)
    assert set(train[0]) == {"id", "question", "context", "answers", "title"}
    for rows in (train, dev):
        (found,) = answers_located(rows)
        assert found.level == "good"
        assert not list(duplicate_ids(rows, "failure"))
        for column in ("question", "context"):
            assert not list(text_column(rows, column, empty="failure"))


def test_squad_is_split_by_context(shared: Path) -> None:
    train, held, lines = load_training(Data(train=str(shared / "squad" / "train.json")), columns=QA, group="context")
    assert len(train) + len(held) == 11_877
    assert abs(len(held) - 1188) < 30
    assert not {row["context"] for row in train} & {row["context"] for row in held}
    assert "grouped by context" in lines[-1]


def test_squad_2(shared: Path) -> None:
    rows = read(shared / "squad2" / "dev-half.json", QA)
    assert len(rows) == 6_078
    assert sum(not row["answers"] for row in rows) == 3_168
    assert all(row["is_impossible"] == (not row["answers"]) for row in rows)


def test_cmrc_answers_that_do_not_stand_at_their_offset(shared: Path) -> None:
    rows = read(shared / "cmrc2018" / "dev.json", QA)
    assert len(rows) == 3_219
    assert len(read(shared / "cmrc2018" / "trial.json", QA)) == 1_002
    (found,) = answers_located(rows)
    assert (found.level, found.count) == ("warning", 200)
    assert sum(answer["start"] < 0 for row in rows for answer in row["answers"]) == 193


def test_adversarial_qa_has_repeated_ids(shared: Path) -> None:
    rows = read(shared / "adversarial_qa" / "train.jsonl", QA)
    assert len(rows) == 30_000
    (found,) = duplicate_ids(rows, "warning")
    assert found.count == 35
    both = read_list(shared)
    assert len(both) == 41_877
    assert (both[0]["id"], both[11_877]["id"]) == (read(shared / "squad" / "train.json", QA)[0]["id"], rows[0]["id"])


def read_list(shared: Path) -> Rows:
    parts = [str(shared / "squad" / "train.json"), str(shared / "adversarial_qa" / "train.jsonl")]
    return load(parts, columns=QA, settings=Data(), need_gold=True)


def test_snli(shared: Path) -> None:
    train, validation, lines = load_training(Data(train=str(shared / "snli")), columns=NLI, group="premise")
    assert (len(train), len(validation)) == (24_980, 9_842)
    assert {row["label"] for row in train} == {0, 1, 2}
    assert "validation.jsonl" in lines[1]


def test_ocnli(shared: Path) -> None:
    train, dev, _ = load_training(Data(train=str(shared / "ocnli")), columns=NLI, group="premise")
    assert (len(train), len(dev)) == (10_000, 3_000)
    assert train.mapping == {"id": "id", "premise": "sentence1", "hypothesis": "sentence2", "label": "label"}
    assert Counter(row["label"] for row in dev)["-"] == 50
    assert all(isinstance(row["id"], str) for row in dev)


def test_hans_and_mnli(shared: Path) -> None:
    rows = read(shared / "hans" / "eval.jsonl", NLI)
    assert len(rows) == 30_000
    assert rows.mapping["label"] == "gold_label"
    assert Counter(row["heuristic"] for row in rows) == dict.fromkeys(
        ("lexical_overlap", "subsequence", "constituent"), 10_000
    )
    assert rows[29_999]["id"] == "29999"
    assert len(read(shared / "mnli" / "dev_matched.jsonl", NLI)) == 9_815


def test_sst2_and_banking77(shared: Path) -> None:
    train = read(shared / "sst2" / "train.tsv", CLASSIFY)
    assert len(train) == 60_614
    assert {row["label"] for row in train} == {"0", "1"}
    assert len(read(shared / "sst2" / "dev.tsv", CLASSIFY)) == 872
    banking = read(shared / "banking77" / "train.csv", CLASSIFY)
    assert (len(banking), len({row["label"] for row in banking})) == (10_003, 77)
    assert len(read(shared / "banking77" / "test.csv", CLASSIFY)) == 3_080


def test_running_text(shared: Path) -> None:
    rows = read(shared / "wikitext2" / "train.txt", LM)
    assert rows.stream
    assert rows[0]["text"].encode() == (shared / "wikitext2" / "train.txt").read_bytes()
    train, held, _ = load_training(Data(train=str(shared / "tinyshakespeare" / "input.txt")), columns=LM, group=None)
    assert train[0]["text"] + held[0]["text"] == (shared / "tinyshakespeare" / "input.txt").read_bytes().decode()


def test_aligned_text(shared: Path) -> None:
    rows = read(f"{shared}/multi30k/val.en,{shared}/multi30k/val.de", PAIR)
    assert len(rows) == 1_014
    assert rows[0]["source"].startswith("A group of men")
    assert rows[0]["target"].startswith("Eine Gruppe")
