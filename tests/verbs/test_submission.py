"""submission: ids by the sample's name for them, thresholds from out-of-fold rows, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from hfkit.errors import DataError, UsageError
from hfkit.verbs.evaluate import evaluate
from hfkit.verbs.submission import submission


@pytest.fixture
def submit(runs, finish, tmp_path):
    def submit(model: str, rows: list, sample: str, name: str = "sample.csv", **options):
        path = tmp_path / name
        path.write_text(sample, encoding="utf-8")
        output = tmp_path / f"out{path.suffix}"
        result, events = finish(
            submission(model, test=rows, sample=path, output=output, overwrite=True, cpu=True, **options)
        )
        said = [event.fields["text"] for event in events if event.kind in ("note", "warning")]
        return output.read_text(encoding="utf-8"), result, said

    return submit


def binary(count: int, cut: float) -> str:
    """Out-of-fold lines whose label is 1 above `cut`, not above 0.5."""
    lines = []
    for number in range(count):
        chance = (number + 0.5) / count
        shares = {"0": 1 - chance, "1": chance}
        item = {"id": f"o{number}", "prediction": str(int(chance > 0.5)), "probabilities": shares}
        lines.append(json.dumps({**item, "gold": str(int(chance > cut))}) + "\n")
    return "".join(lines)


def test_ids_are_read_from_the_column_that_the_sample_names(submit, texts):
    rows = [{"PhraseId": n + 7, "text": row["text"]} for n, row in enumerate(texts)]
    asked = "PhraseId,Sentiment\n" + "".join(f"{n + 7},0\n" for n in reversed(range(5)))
    written, result, said = submit("3-two", rows, asked)
    assert [line.split(",")[0] for line in written.splitlines()] == ["PhraseId", "11", "10", "9", "8", "7"]
    assert "ids are read from the column PhraseId, as the sample names it" in said
    assert result["sample"] == {"form": "csv", "id": "PhraseId", "columns": {"Sentiment": "int"}}
    assert result["rows"] == 5 and result["thresholds"] is None


def test_a_binary_threshold_is_fitted_out_of_fold(submit, texts, tmp_path):
    oof = tmp_path / "oof.jsonl"
    oof.write_text(binary(200, cut=0.9), encoding="utf-8")
    asked = "id,label\n" + "".join(f"{row['id']},0\n" for row in texts)
    _, result, said = submit("3-two", texts, asked, oof=oof)
    fit = result["thresholds"]
    assert fit["metric"] == "accuracy" and 0.85 < fit["values"]["1"] < 0.93 and fit["rows"] == 200
    assert fit["before"] == 60 < fit["held_out"] <= fit["fitted"] == 100
    assert any(line.startswith("thresholds fitted: accuracy 60.00 at 0.5") for line in said)
    written, _, _ = submit("3-two", texts, asked, oof=oof)
    said_labels = [line.split(",")[1] for line in written.splitlines()[1:]]
    written, result, said = submit("3-two", texts, asked.replace(",0\n", ",0.5\n"), oof=oof)
    chances = [float(line.split(",")[1]) for line in written.splitlines()[1:]]
    assert said_labels == [str(int(chance > fit["values"]["1"])) for chance in chances]
    assert result["thresholds"] is None and any("asks for numbers" in line for line in said)
    _, result, said = submit("3-two", texts, asked, oof=oof, metric="log_loss")
    assert result["thresholds"] is None and "log_loss does not depend on thresholds, so none is fitted" in said
    oof.write_text(binary(200, cut=0.5), encoding="utf-8")
    _, result, said = submit("3-two", texts, asked, oof=oof)
    assert result["thresholds"] is None and any(line.startswith("thresholds do not help") for line in said)


def test_several_labels_get_a_threshold_each(submit, texts, tmp_path):
    lines = []
    for number in range(120):
        chance = (number + 0.5) / 120
        gold = [name for name, cut in (("new", 0.2), ("old", 0.5), ("wet", 0.8)) if chance > cut]
        shares = dict.fromkeys(("new", "old", "wet"), chance)
        lines.append(json.dumps({"id": str(number), "prediction": [], "probabilities": shares, "gold": gold}) + "\n")
    oof = tmp_path / "oof.jsonl"
    oof.write_text("".join(lines), encoding="utf-8")
    asked = "id,new,old,wet\n" + "".join(f"{row['id']},0,0,0\n" for row in texts)
    written, result, _ = submit("4-many", texts, asked, oof=oof)
    limits = result["thresholds"]["values"]
    assert limits == {name: pytest.approx(cut, abs=0.05) for name, cut in (("new", 0.2), ("old", 0.5), ("wet", 0.8))}
    chances, _, _ = submit("4-many", texts, asked.replace(",0", ",0.5"))
    for said, line in zip(written.splitlines()[1:], chances.splitlines()[1:], strict=True):
        shares = map(float, line.split(",")[1:])
        above = [str(int(share > limit)) for share, limit in zip(shares, limits.values(), strict=True)]
        assert said.split(",")[1:] == above


def test_an_evaluation_is_out_of_fold_rows_too(submit, runs, texts, finish):
    gold = [{**row, "label": str(n % 2)} for n, row in enumerate(texts * 4)]
    gold = [{**row, "id": f"g{n}"} for n, row in enumerate(gold)]
    scored, _ = finish(evaluate("3-two", gold, name="dev", cpu=True))
    asked = "id,label\n" + "".join(f"{row['id']},0\n" for row in texts)
    _, _, said = submit("3-two", texts, asked, oof=Path(scored["output"]))
    assert any("20 rows of" in line for line in said)


def test_what_fits_nothing_is_refused_and_leaves_nothing(submit, texts, tmp_path):
    asked = "id,label\n" + "".join(f"{row['id']},0\n" for row in texts)
    oof = tmp_path / "oof.jsonl"
    oof.write_text(binary(10, 0.5).replace('"gold"', '"golden"'), encoding="utf-8")
    with pytest.raises(DataError, match="not every line holds its gold"):
        submit("3-two", texts, asked, oof=oof)
    oof.write_text(binary(10, 0.5).replace('"1":', '"2":'), encoding="utf-8")
    with pytest.raises(DataError, match="probabilities of 0, 1"):
        submit("3-two", texts, asked, oof=oof)
    with pytest.raises(UsageError, match="no out-of-fold rows"):
        submit("3-two", texts, asked, metric="accuracy")
    with pytest.raises(UsageError, match="predicts something else"):
        submit("5-one", texts, asked, oof=oof)
    oof.write_text(binary(10, 0.5), encoding="utf-8")
    with pytest.raises(UsageError, match="'f2' is not a metric"):
        submit("3-two", texts, asked, oof=oof, metric="f2")
    with pytest.raises(DataError, match=r"1 rows of the data are not in it \(t4\)"):
        submit("3-two", texts, asked.replace("t4,0\n", ""))
    assert not (tmp_path / "out.csv").exists()
    (tmp_path / "out.csv").write_text("mine", encoding="utf-8")
    with pytest.raises(UsageError, match="exists already"):
        list(submission("3-two", test=texts, sample=tmp_path / "sample.csv", output=tmp_path / "out.csv"))
    assert (tmp_path / "out.csv").read_text(encoding="utf-8") == "mine"


def test_answers_of_questions_as_squad_has_them(submit, questions):
    rows = [{key: value for key, value in row.items() if key != "answers"} for row in questions]
    written, result, _ = submit("1-qa", rows, '{"a": "", "b": "", "c": ""}', name="sample.json")
    assert list(json.loads(written)) == ["a", "b", "c"] and result["sample"]["form"] == "map"
