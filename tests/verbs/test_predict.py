"""predict: what is written and shown for every task, sample submissions, and what is refused."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest

from hfkit.errors import DataError, ModelError, UsageError
from hfkit.verbs.predict import predict


@pytest.fixture
def run(finish, runs):
    def run(model: str, **options):
        return finish(predict(model, cpu=True, **options))

    return run


def lines(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def cells(path: Path) -> list[list[str]]:
    with path.open(encoding="utf-8", newline="") as handle:
        return list(csv.reader(handle))


def test_answers_are_spans_in_the_order_of_the_rows(run, write, questions, tmp_path):
    result, events = run("last:qa", data=str(write("test.jsonl", questions)), output=tmp_path / "out" / "answers.jsonl")
    written = lines(tmp_path / "out" / "answers.jsonl")
    assert [row["id"] for row in written] == ["b", "a", "c"]
    for row, asked in zip(written, questions, strict=True):
        assert asked["context"][row["start"] : row["end"]] == row["prediction"] != ""
        assert {"score", "null_gap", "no_answer_probability", "no_answer"} <= set(row)
    assert result["rows"] == 3 and result["output"] == str(tmp_path / "out" / "answers.jsonl")
    assert "predictions" not in result and result["model"] == "1-qa" and result["task"] == "qa"
    assert set(result["throughput"]) == {"rows_per_s", "tokens_per_s", "seconds"}
    assert [e.fields["what"] for e in events if e.kind == "saved"] == ["predictions"]


def test_many_rows_answer_as_few_do(run, questions):
    rows = [dict(questions[0], id=str(number)) for number in range(101)]  # beyond FEW_ROWS: through the cache
    many, _ = run("1-qa", data=rows, overrides=["train.precision=float32"])
    few, _ = run("1-qa", data=rows[:1], overrides=["train.precision=float32"])
    assert [row["id"] for row in many["predictions"]] == [row["id"] for row in rows]
    for row in many["predictions"]:
        assert row["prediction"] == few["predictions"][0]["prediction"]
        assert row["score"] == pytest.approx(few["predictions"][0]["score"], abs=1e-5)


def test_gold_columns_are_never_read(run, questions, pairs):
    for row in questions:
        row["answers"] = "not even a list of answers"
    assert len(run("1-qa", data=questions)[0]["predictions"]) == 3
    for row in pairs:
        row["label"] = "an unknown word"
    assert len(run("2-nli", data=pairs)[0]["predictions"]) == 6


@pytest.mark.parametrize(
    ("model", "fields", "key"),
    [
        ("1-qa", {"question": "who built the mill?", "context": "nobody knows who built the old mill"}, "start"),
        ("2-nli", {"premise": "the mill stands still", "hypothesis": "the river runs"}, "probabilities"),
        ("3-two", {"text": "the old mill"}, "probabilities"),
        ("4-many", {"text": "the old mill", "text_pair": "the river"}, "probabilities"),
        ("5-one", {"text": "the old mill"}, "prediction"),
        ("7-lm", {"text": "the small river runs behind the old mill"}, "nll"),
    ],
)
def test_one_row_by_its_columns(run, model, fields, key):
    result, events = run(model, fields=fields)
    (row,) = result["predictions"]
    assert row["id"] == "0" and key in row and result["rows"] == 1 and result["output"] is None
    assert [e.fields["items"] for e in events if e.kind == "answered"] == [[row]]


def test_one_row_leaves_nothing_behind(run, monkeypatch, tmp_path):
    cache = tmp_path / "cache"
    monkeypatch.setenv("HFKIT_CACHE", str(cache))
    run("1-qa", fields={"question": "who?", "context": "the old mill"})
    assert not cache.exists()


def test_a_column_missing_or_unknown(run):
    with pytest.raises(UsageError, match="missing: context"):
        run("1-qa", fields={"question": "who?"})
    with pytest.raises(UsageError, match="no such column: queston; missing: question"):
        run("1-qa", fields={"queston": "who?", "context": "the old mill"})
    with pytest.raises(UsageError, match="no such column: label"):
        run("2-nli", fields={"premise": "a", "hypothesis": "b", "label": "neutral"})


def test_probabilities_are_by_label_name(run, pairs):
    result, _ = run("last:nli", data=pairs)
    for row in result["predictions"]:
        assert set(row["probabilities"]) == {"contradiction", "entailment", "neutral"}
        assert sum(row["probabilities"].values()) == pytest.approx(1, abs=1e-5)
        assert row["prediction"] == max(row["probabilities"], key=row["probabilities"].get)


def test_csv_of_every_kind(run, texts, questions, pairs, tmp_path):
    heads = {
        "2-nli": (pairs, ["id", "prediction", "contradiction", "entailment", "neutral"]),
        "3-two": (texts, ["id", "prediction", "0", "1"]),
        "4-many": (texts, ["id", "prediction", "new", "old", "wet"]),
        "5-one": (texts, ["id", "prediction"]),
        "6-numbers": (texts, ["id", "depth", "width"]),
        "1-qa": (questions, ["id", "prediction"]),
    }
    for model, (rows, head) in heads.items():
        path = tmp_path / f"{model}.csv"
        result, _ = run(model, data=rows, output=path, form="csv")
        found = cells(path)
        assert found[0] == head and [row[0] for row in found[1:]] == [row["id"] for row in rows]
        assert result["rows"] == len(rows)
    _, said, *shares = cells(tmp_path / "4-many.csv")[1]
    names = ("new", "old", "wet")
    assert json.loads(said) == [name for name, share in zip(names, shares, strict=True) if float(share) > 0.5]


def test_squad_form_is_for_qa_and_ids_that_differ(run, questions, texts, tmp_path):
    path = tmp_path / "answers.json"
    run("1-qa", data=questions, output=path, form="squad")
    written = json.loads(path.read_text(encoding="utf-8"))
    assert list(written) == ["b", "a", "c"] and all(isinstance(text, str) for text in written.values())
    questions[1]["id"] = "b"
    with pytest.raises(DataError, match="'b'"):
        run("1-qa", data=questions, output=tmp_path / "two.json", form="squad")
    with pytest.raises(UsageError, match="squad is for qa"):
        run("3-two", data=texts, output=tmp_path / "two.json", form="squad")
    assert not (tmp_path / "two.json").exists()


def test_a_sample_submission_is_filled(run, texts, pairs, tmp_path):
    sample, output = tmp_path / "sample_submission.csv", tmp_path / "submission.csv"

    def submit(model, rows, text, **options):
        sample.write_text(text, encoding="utf-8")
        _, events = run(model, data=rows, sample=sample, output=output, overwrite=True, **options)
        return cells(output), events

    backwards = [row["id"] for row in reversed(texts)]
    found, _ = submit("3-two", texts, "row,target\n" + "".join(f"{i},0\n" for i in backwards))
    assert found[0] == ["row", "target"] and [row[0] for row in found[1:]] == backwards
    assert {row[1] for row in found[1:]} <= {"0", "1"}
    found, _ = submit("3-two", texts, "row,target\n" + "".join(f"{i},0.5\n" for i in backwards))
    assert all(0 < float(row[1]) < 1 for row in found[1:])
    found, events = submit("5-one", texts, "row,target\n" + "".join(f"{i},0\n" for i in backwards))
    assert all(row[1].isdigit() for row in found[1:])
    assert any("whole numbers" in e.fields["text"] for e in events if e.kind == "warning")
    ids = [row["id"] for row in pairs]
    found, _ = submit("2-nli", pairs, "id,label\n" + "".join(f"{i},0\n" for i in ids))
    assert {row[1] for row in found[1:]} <= {"0", "1", "2"}  # the numbers that training data had


def test_a_sample_that_does_not_fit_leaves_nothing(run, texts, tmp_path):
    sample, output = tmp_path / "sample.csv", tmp_path / "submission.csv"
    for text, problem in (
        ("id,target\nt0,0\nt9,0\n", r"1 of its 2 ids are not in the data \(t9\); 4 rows of the data"),
        (
            "id,a,b\n" + "".join(f"t{i},0,0\n" for i in range(5)),
            "column 'a' cannot be filled: the model's labels are 0, 1",
        ),
        ("id\nt0\n", "id column, at least one more"),
    ):
        sample.write_text(text, encoding="utf-8")
        with pytest.raises(DataError, match=problem):
            run("3-two", data=texts, sample=sample, output=output)
    sample.write_text("id,label\nt0,0\n", encoding="utf-8")
    with pytest.raises(DataError, match="'t0'"):
        run("3-two", data=[texts[0], texts[0]], sample=sample, output=output)
    with pytest.raises(UsageError, match="no -o"):
        run("3-two", data=texts, sample=sample)
    with pytest.raises(UsageError, match="together"):
        run("3-two", data=texts, sample=sample, output=output, form="csv")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["sample.csv"]


def test_output_that_is_there(run, texts, tmp_path):
    output = tmp_path / "out.jsonl"
    output.write_text("mine", encoding="utf-8")
    with pytest.raises(UsageError, match="exists"):
        run("3-two", data=texts, output=output)
    assert output.read_text(encoding="utf-8") == "mine"
    run("3-two", data=texts, output=output, overwrite=True)
    assert len(lines(output)) == 5
    with pytest.raises(UsageError, match="folder"):
        run("3-two", data=texts, output=tmp_path, overwrite=True)
    with pytest.raises(UsageError, match="no -o"):
        run("3-two", data=texts, form="csv")


def test_models_that_cannot_answer(run, texts):
    with pytest.raises(ModelError, match="fresh weights"):
        run("scratch:bert-mini", data=texts)
    with pytest.raises(ModelError, match="no run, folder or model"):
        run("nothing-like-it", data=texts)
    with pytest.raises(UsageError, match="no effect"):
        run("3-two", data=texts, overrides=["train.lr=1"])


def test_runs_are_found_by_last_and_by_part_of_a_name(run, texts, runs):
    assert run("last", fields={"text": "the old mill"})[0]["model"] == "7-lm"
    assert run("last:classify", data=texts)[0]["model"] == "6-numbers"
    assert run("numb", data=texts)[0]["model"] == "6-numbers"
    with pytest.raises(ModelError, match="part of 7 run names"):
        run("-", data=texts)
    with pytest.raises(ModelError, match="no finished run of task seq2seq"):
        run("last:seq2seq", data=texts)
