"""Sample submissions: what is read of them, how predictions of each kind fill them, and what does not fit."""

from __future__ import annotations

from pathlib import Path

import pytest

from hfkit.data.submission import Submission, kind_of
from hfkit.errors import DataError


@pytest.fixture
def fill(tmp_path: Path):
    """Predictions written into a sample of this text: the lines of the file."""

    def fill(text: str, predictions: list, names: dict[str, str] | None = None) -> list[str]:
        sample, output = tmp_path / "sample.csv", tmp_path / "out.csv"
        sample.write_text(text, encoding="utf-8")
        submission = Submission.read(sample)
        rows = [{"id": f"r{number}", **item} for number, item in enumerate(predictions)]
        submission.check_ids(row["id"] for row in rows)
        fill.said = submission.write(output, rows, names or {})
        return output.read_text(encoding="utf-8").splitlines()

    return fill


def label(said: str, **shares: float) -> dict:
    return {"prediction": said, "probabilities": shares}


def numbered(said: str, *shares: float) -> dict:
    return {"prediction": said, "probabilities": {str(number): share for number, share in enumerate(shares)}}


@pytest.mark.parametrize(
    ("cells", "kind"),
    [
        (["0", "12", "-3"], "int"), (["0.5", "1"], "float"), (["1e-3"], "float"), (["0.0", "1.0"], "float"),
        (["a", "1"], "text"), (["", ""], "open"), (["", "1"], "text"),
    ],
)  # fmt: skip
def test_kinds_of_cells(cells, kind):
    assert kind_of(cells) == kind


def test_labels_in_the_order_of_the_sample(fill):
    rows = [label("bad", bad=0.7, good=0.3), label("good", bad=0.2, good=0.8)]
    assert fill("key,label\nr1,good\nr0,good\n", rows) == ["key,label", "r1,good", "r0,bad"]


def test_numbers_of_labels(fill):
    rows = [numbered("1", 0.25, 0.75), numbered("0", 0.5, 0.5)]
    assert fill("id,target\nr0,0\nr1,0\n", rows) == ["id,target", "r0,1", "r1,0"]
    assert fill("id,target\nr0,0.5\nr1,0.5\n", rows) == ["id,target", "r0,0.75", "r1,0.5"]  # of label 1
    assert fill("id,target\nr0,0.5\n", [numbered("2", 0.1, 0.2, 0.7)]) == ["id,target", "r0,2.0"]


def test_a_column_for_each_label(fill):
    row = label("good", bad=0.25, good=0.75)
    assert fill("id,good,bad\nr0,0.5,0.5\n", [row]) == ["id,good,bad", "r0,0.75,0.25"]
    assert fill("id,good,bad\nr0,0,0\n", [row]) == ["id,good,bad", "r0,1,0"]
    assert fill("id,good\nr0,0.5\n", [row]) == ["id,good", "r0,0.75"]


def test_a_carriage_return_stays_within_its_cell(fill):
    made = fill("id,answer\nr0,x\n", [{"prediction": "old\rwet"}])
    assert made == ["id,answer", 'r0,"old', 'wet"']


def test_several_labels(fill):
    row = {"prediction": ["old", "wet"], "probabilities": {"new": 0.1, "old": 0.9, "wet": 0.6}}
    assert fill("id,new,old,wet\nr0,0,0,0\n", [row]) == ["id,new,old,wet", "r0,0,1,1"]
    assert fill("id,new,old,wet\nr0,0.5,0.5,0.5\n", [row]) == ["id,new,old,wet", "r0,0.1,0.9,0.6"]
    assert fill("id,labels\nr0,x y\n", [row]) == ["id,labels", "r0,old wet"]


def test_one_number_and_several(fill):
    assert fill("id,score\nr0,0.0\n", [{"prediction": 3.25}]) == ["id,score", "r0,3.25"]
    assert fill.said == []
    assert fill("id,score\nr0,0\n", [{"prediction": 3.25}]) == ["id,score", "r0,3"]
    assert "column 'score' holds whole numbers" in fill.said[0]
    row = {"prediction": {"depth": 1.5, "width": 2.5}}
    assert fill("id,width,depth\nr0,0.0,0.0\n", [row]) == ["id,width,depth", "r0,2.5,1.5"]


def test_texts_and_empty_samples(fill):
    assert fill("id,answer\nr0,x\n", [{"prediction": 'Ada, "the first"'}]) == ["id,answer", 'r0,"Ada, ""the first"""']
    assert fill("id,answer\nr0,\n", [{"prediction": "Ada"}]) == ["id,answer", "r0,Ada"]
    assert fill("id,label\nr0,\n", [label("good", bad=0.25, good=0.75)]) == ["id,label", "r0,good"]


def test_the_datas_own_values_of_labels(fill):
    names = {"entailment": "0", "neutral": "1", "contradiction": "2"}
    row = label("neutral", contradiction=0.2, entailment=0.3, neutral=0.5)
    assert fill("id,label\nr0,0\n", [row], names) == ["id,label", "r0,1"]
    assert fill("id,0,1,2\nr0,0.5,0.5,0.5\n", [row], names) == ["id,0,1,2", "r0,0.3,0.5,0.2"]
    assert fill("id,neutral,entailment\nr0,0.5,0.5\n", [row], names) == ["id,neutral,entailment", "r0,0.5,0.3"]
    assert fill("id,label\nr0,neutral\n", [row], names) == ["id,label", "r0,neutral"]  # a column of words keeps words


@pytest.mark.parametrize(
    ("sample", "prediction", "problem"),
    [
        ("id,label\nr0,0\n", label("good", good=1.0), "it holds numbers, the model answers 'good'"),
        ("id,label\nr0,0\n", {"prediction": ["a"], "probabilities": {"a": 1.0}}, "several labels"),
        ("id,label\nr0,x\n", {"prediction": 1.5}, "it holds text, the model predicts numbers"),
        ("id,a,b\nr0,0,0\n", label("good", good=1.0), "the model's labels are good"),
        ("id,a,b\nr0,0,0\n", {"prediction": 1.5}, "the model's labels are none"),
        ("id,height\nr0,0.1\n", {"prediction": {"depth": 1.0, "width": 2.0}}, "the model predicts depth, width"),
    ],
)
def test_what_does_not_fit_writes_nothing(fill, tmp_path, sample, prediction, problem):
    with pytest.raises(DataError, match=problem):
        fill(sample, [prediction])
    assert not (tmp_path / "out.csv").exists()


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "at least one more column"),
        ("id,label\n", "and rows"),
        ("id\nr0\n", "at least one more column"),
        ("id,label\nr0\n", r"sample\.csv:2: 1 cells under 2 columns"),
        ("id,label\n\nr0,1\nr1,1,1\n", r"sample\.csv:4: 3 cells"),
        ("id,label\nr0,1\nr0,1\n", r"ids are repeated \(r0\)"),
        ("id,a,a\nr0,1,1\n", r"columns are repeated \(a\)"),
        ('id,label\n"r0,1\n', "not a csv file"),
    ],
)
def test_samples_that_cannot_be_read(tmp_path, text, problem):
    path = tmp_path / "sample.csv"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(DataError, match=problem):
        Submission.read(path)
    with pytest.raises(DataError, match="cannot be read"):
        Submission.read(tmp_path / "nothing.csv")


def test_blank_lines_a_mark_and_quotes_are_read(tmp_path):
    path = tmp_path / "sample.csv"
    path.write_text('\ufeffid,label\n"a,b",0\n\n', encoding="utf-8")
    found = Submission.read(path)
    assert found.ids == ("a,b",) and found.columns == ("id", "label") and found.kinds == {"label": "int"}


def test_ids_that_differ_are_counted_and_named(tmp_path):
    path = tmp_path / "sample.csv"
    path.write_text("key,label\n" + "".join(f"s{n},0\n" for n in range(8)), encoding="utf-8")
    sample = Submission.read(path)
    sample.check_ids(f"s{n}" for n in range(8))
    with pytest.raises(
        DataError, match=r"7 of its 8 ids are not in the data \(s1, s2, s3, s4, s5, \.\.\.\); 1 rows .* \(x\)"
    ) as error:
        sample.check_ids(["s0", "x"])
    assert "data.columns.id=key" in str(error.value.hint)


# ---- forms


TWO = [label("bad", bad=0.75, good=0.25), label("good", bad=0.25, good=0.75)]


def zipped(path: Path, name: str, text: str) -> Path:
    import zipfile

    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(f"folder/{name}", text)
        archive.writestr("__MACOSX/._x", "left out")
    return path


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("s.tsv", "id\tlabel\nr1\tgood\nr0\tgood\n", "id\tlabel\nr1\tgood\nr0\tbad\n"),
        ("s.txt", "id\tlabel\nr0\tgood\nr1\tgood\n", "id\tlabel\nr0\tbad\nr1\tgood\n"),
        ("s.csv", "r1,good\nr0,good\n", "r1,good\nr0,bad\n"),
        ("s.csv", "label,id\ngood,r1\ngood,r0\n", "label,id\ngood,r1\nbad,r0\n"),
        ("s.csv", "good,r1\ngood,r0\n", "good,r1\nbad,r0\n"),
        ("s.jsonl", '{"id": "r1", "good": 0.5}\n{"id": "r0", "good": 0.5}\n',
         '{"id": "r1", "good": 0.75}\n{"id": "r0", "good": 0.25}\n'),
        ("s.json", '{"r1": "x", "r0": ""}', '{"r1": "good", "r0": "bad"}\n'),
        ("s.json", '[{"id": "r0", "bad": 0, "good": 0}, {"id": "r1", "bad": 0, "good": 0}]',
         '[{"id": "r0", "bad": 1, "good": 0}, {"id": "r1", "bad": 0, "good": 1}]\n'),
    ],
)  # fmt: skip
def test_every_form_is_written_as_the_sample_has_it(tmp_path, name, text, expected):
    sample, output = tmp_path / name, tmp_path / f"out{Path(name).suffix}"
    sample.write_text(text, encoding="utf-8")
    rows = [{"id": f"r{number}", **item} for number, item in enumerate(TWO)]
    Submission.read(sample, {"r0", "r1"}).write(output, rows, {})
    assert output.read_text(encoding="utf-8") == expected
    packed, again = zipped(tmp_path / "s.zip", name, text), tmp_path / "out.zip"
    Submission.read(packed, {"r0", "r1"}).write(again, rows, {})
    import zipfile

    with zipfile.ZipFile(again) as archive:
        assert archive.namelist() == [name] and archive.read(name).decode() == expected
    first = again.read_bytes()
    Submission.read(packed, {"r0", "r1"}).write(again, rows, {})
    assert again.read_bytes() == first, "equal predictions give equal bytes"


def test_ids_that_are_numbers_stay_numbers(tmp_path):
    sample = tmp_path / "s.jsonl"
    sample.write_text('{"n": 1, "tags": ["x"]}\n{"n": 0, "tags": []}\n', encoding="utf-8")
    rows = [{"id": str(n), "prediction": tags, "probabilities": {}} for n, tags in enumerate((["a"], ["a", "b"]))]
    Submission.read(sample, {"0", "1"}).write(tmp_path / "o.jsonl", rows, {})
    assert (tmp_path / "o.jsonl").read_text("utf-8") == '{"n": 1, "tags": ["a", "b"]}\n{"n": 0, "tags": ["a"]}\n'


def test_a_header_is_no_row_where_ids_are_numbers(tmp_path):
    sample = tmp_path / "s.csv"
    sample.write_text("id,0,1\n0,0.5,0.5\n1,0.5,0.5\n", encoding="utf-8")
    assert Submission.read(sample, {"0", "1"}).columns == ("id", "0", "1")


def test_the_probability_of_the_positive_label(fill):
    rows = [label("neg", pos=0.25, neg=0.75)]
    assert fill("id,target\nr0,0.5\n", rows) == ["id,target", "r0,0.25"]
    assert "the probability of label 'pos'" in fill.said[0]
    with pytest.raises(DataError, match="the model answers 'good'"):
        fill("id,target\nr0,0.5\n", [label("good", bad=0.1, good=0.9)])


def test_numbers_that_are_none_are_named_and_nothing_is_written(fill, tmp_path):
    odd = [{"prediction": float("nan") if n else 1.0} for n in range(9)]
    with pytest.raises(DataError, match=r"8 predictions for column 'x' are not finite numbers \(r1, r2") as error:
        fill("id,x\n" + "".join(f"r{n},0.5\n" for n in range(9)), odd)
    assert "not finite: r1, r2, r3, r4, r5, r6, r7, r8" in error.value.message, "all of them"
    assert not (tmp_path / "out.csv").exists()


def test_predictions_must_be_those_of_the_sample(tmp_path):
    sample = tmp_path / "s.csv"
    sample.write_text("id,x\n" + "".join(f"r{n},0.5\n" for n in range(8)), encoding="utf-8")
    found = Submission.read(sample)
    with pytest.raises(DataError, match="predictions' ids are repeated"):
        found.write(tmp_path / "o.csv", [{"id": "r0", "prediction": 1.0}] * 2, {})
    with pytest.raises(DataError, match="7 of its 8 ids") as error:
        found.write(tmp_path / "o.csv", [{"id": "r0", "prediction": 1.0}], {})
    assert "missing: r1, r2, r3, r4, r5, r6, r7" in error.value.message
    assert not (tmp_path / "o.csv").exists()


def test_a_name_that_says_another_form_is_refused(tmp_path):
    from hfkit.errors import UsageError

    sample = tmp_path / "s.jsonl"
    sample.write_text('{"id": "r0", "x": 0.5}\n', encoding="utf-8")
    rows = [{"id": "r0", "prediction": 1.0}]
    with pytest.raises(UsageError, match=r"says \.csv, the sample .* is \.jsonl"):
        Submission.read(sample).write(tmp_path / "o.csv", rows, {})
    Submission.read(sample).write(tmp_path / "o.anything", rows, {})
    assert (tmp_path / "o.anything").read_text("utf-8") == '{"id": "r0", "x": 1.0}\n'


@pytest.mark.parametrize(
    ("name", "text", "problem"),
    [
        ("s.json", "{", "s.json:1: not JSON"),
        ("s.json", "{}", "and rows"),
        ("s.jsonl", '{"id": 1, "x": 2}\n{"id": 2}\n', "entry 2 has other keys"),
        ("s.jsonl", '{"id": 1, "x": 2}\n3\n', "entry 2 is not an object"),
        ("s.json", '[{"id": 1, "x": true}]', "several kinds, or true and false"),
        ("s.zip", "x", "not a zip"),
        ("s.tsv", "a\tb\n1\n", r"s\.tsv:2: 1 cells under 2"),
    ],
)
def test_samples_of_other_forms_that_cannot_be_read(tmp_path, name, text, problem):
    (tmp_path / name).write_text(text, encoding="utf-8")
    with pytest.raises(DataError, match=problem):
        Submission.read(tmp_path / name)
    with pytest.raises(DataError, match="holds 2 files"):
        import zipfile

        with zipfile.ZipFile(tmp_path / "two.zip", "w") as archive:
            archive.writestr("a.csv", "x")
            archive.writestr("b.csv", "x")
        Submission.read(tmp_path / "two.zip")
