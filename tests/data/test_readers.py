"""Every form of file, and what is said of damaged ones: file, line, column, and what to try."""

import gzip
import json
import random
import re
from pathlib import Path
from typing import Any

import pytest

from hfkit.data import Rows, load
from hfkit.errors import DataError
from hfkit.recipe.keys import Data
from hfkit.tasks.base import Column

CLASSIFY = (Column("id", False), Column("text", True, ("sentence",)), Column("label", False, ("category",), gold=True))
QA = (
    Column("id", False),
    Column("question", True),
    Column("context", True),
    Column("answers", True, ("answer_text",), gold=True),
)
LM = (Column("text", True),)
ROWS = [{"id": "a", "text": "one, two", "label": "x"}, {"id": "b", "text": "三 “four”", "label": "y"}]


def read(path: Path | str, columns: tuple[Column, ...] = CLASSIFY, *, need_gold: bool = True, **settings: Any) -> Rows:
    return load(str(path), columns=columns, settings=Data(**settings), need_gold=need_gold)


def refusal(path: Path | str, columns: tuple[Column, ...] = CLASSIFY, **settings: Any) -> str:
    """The error's message and hint; checked to be short."""
    with pytest.raises(DataError) as caught:
        read(path, columns, **settings)
    text = f"{caught.value.message}\n{caught.value.hint or ''}"
    assert len(text.splitlines()) <= 15
    return text


def written(path: Path, content: str | bytes) -> Path:
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def jsonl(rows: list[Any]) -> str:
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


FORMS = {
    "rows.jsonl": jsonl(ROWS),
    "rows.ndjson": jsonl(ROWS),
    "rows.json": json.dumps(ROWS, indent=1),
    "wrapped.json": json.dumps({"version": 1, "data": ROWS}),
    "rows.csv": 'id,text,label\r\na,"one, two",x\r\nb,三 “four”,y\r\n',
    "rows.tsv": "id\ttext\tlabel\na\tone, two\tx\nb\t三 “four”\ty\n",
    "array.jsonl": json.dumps(ROWS, indent=1),
    "lines.json": jsonl(ROWS),
}


@pytest.mark.parametrize("name", FORMS)
@pytest.mark.parametrize("packed", [False, True])
def test_every_form_gives_the_same_rows(tmp_path: Path, name: str, packed: bool) -> None:
    content = FORMS[name].encode()
    path = written(tmp_path / (name + ".gz" * packed), gzip.compress(content) if packed else content)
    rows = read(path)
    assert list(rows) == ROWS
    assert rows.files == [str(path)]
    assert rows.mapping == {"id": "id", "text": "text", "label": "label"}


def test_a_form_other_than_its_name_is_said(tmp_path: Path) -> None:
    assert "read as .json" in read(written(tmp_path / "a.jsonl", FORMS["array.jsonl"])).notes[0]
    assert "read as .jsonl" in read(written(tmp_path / "a.json", FORMS["lines.json"])).notes[0]


def test_parquet(tmp_path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    pq.write_table(pa.Table.from_pylist(ROWS), tmp_path / "rows.parquet")
    assert list(read(tmp_path / "rows.parquet")) == ROWS
    assert "not a readable parquet file" in refusal(written(tmp_path / "bad.parquet", "hello"))


def test_bom_is_no_text(tmp_path: Path) -> None:
    for name in ("rows.jsonl", "rows.json", "rows.csv", "rows.tsv"):
        assert list(read(written(tmp_path / name, b"\xef\xbb\xbf" + FORMS[name].encode()))) == ROWS


def test_csv_keeps_words_that_others_take_for_null(tmp_path: Path) -> None:
    rows = read(written(tmp_path / "a.csv", "id,text,label\n007,NA,null\n" + "9" * 30 + ",,None\n"))
    assert list(rows) == [
        {"id": "007", "text": "NA", "label": "null"},
        {"id": "9" * 30, "text": "", "label": "None"},
    ]


def test_csv_fields_hold_newlines_and_lines_still_count(tmp_path: Path) -> None:
    path = written(tmp_path / "a.csv", 'text,label\n"two\nlines ""quoted""",x\nshort\n')
    assert read(path, on_bad_row="skip")[0]["text"] == 'two\nlines "quoted"'
    assert "a.csv:4: 1 fields where the header has 2" in refusal(path)
    assert "b.csv:2: a quote is opened and never closed" in refusal(
        written(tmp_path / "b.csv", 'text,label\n"open,x\n')
    )


def test_tsv_quotes_are_text(tmp_path: Path) -> None:
    rows = read(written(tmp_path / "a.tsv", 'text\tlabel\n" a bare quote\t0\nand "two"\t1\n'))
    assert [row["text"] for row in rows] == ['" a bare quote', 'and "two"']


def test_names_of_a_headerless_file(tmp_path: Path) -> None:
    path = written(tmp_path / "a.csv", "good,1\nbad,0\n")
    assert [dict(row) for row in read(path, names=["text", "label"])] == [
        {"id": "0", "text": "good", "label": "1"},
        {"id": "1", "text": "bad", "label": "0"},
    ]
    assert "data.names" in refusal(path)


@pytest.mark.parametrize(
    ("content", "names"),
    [
        ("text,label\ngood,1\n", ["text", "label"]),
        ("Text,Label\ngood,1\n", ["text", "label"]),
        ("id,text,label\na,good,1\n", ["text", "label"]),
        ("Sentence,category\ngood,1\n", ["text", "label"]),
        ("tweet,sentence,label\n7,good,1\n", ["id", "text", "label"]),
    ],
)
def test_names_for_a_file_with_a_header_are_refused(tmp_path: Path, content: str, names: list[str]) -> None:
    said = refusal(written(tmp_path / "a.csv", content), names=names)
    assert f"a.csv:1: data.names is for files without a header, and this row looks like one: {content[:4]}" in said
    assert "leave data.names out" in said
    tabs = written(tmp_path / "a.tsv", content.replace(",", "\t"))
    assert "a.tsv:1: data.names is for" in refusal(tabs, names=names, on_bad_row="skip")


def test_a_wrong_number_of_names_is_not_put_to_a_header(tmp_path: Path) -> None:
    said = refusal(written(tmp_path / "a.csv", "7,good,1\n"), names=["text", "label"])
    assert "a.csv:1: 3 fields where data.names has 2: 7,good,1" in said


def test_running_text_is_read_exactly(tmp_path: Path) -> None:
    text = " a\r\n\n b\tc\u2028\x0c end without newline"
    rows = read(written(tmp_path / "a.txt", text), LM)
    assert rows.stream
    assert list(rows) == [{"id": "0", "text": text}]


def test_text_for_other_tasks_is_a_row_a_line(tmp_path: Path) -> None:
    rows = read(written(tmp_path / "a.txt", "one\r\n\ntwo"), CLASSIFY, need_gold=False)
    assert not rows.stream
    assert [row["text"] for row in rows] == ["one", "", "two"]


def test_squad_is_flattened(tmp_path: Path) -> None:
    questions = [
        {"id": 7, "question": "who?", "answers": [{"text": "Ann", "answer_start": 0}], "is_impossible": False},
        {"id": "8", "question": "why?", "answers": [], "is_impossible": True},
    ]
    data = {"version": "2", "data": [{"title": "T", "paragraphs": [{"context": "Ann ran.", "qas": questions}]}]}
    rows = read(written(tmp_path / "a.json", json.dumps(data)), QA)
    assert rows[0] == {
        "id": "7",
        "question": "who?",
        "context": "Ann ran.",
        "answers": [{"text": "Ann", "start": 0}],
        "title": "T",
        "is_impossible": False,
    }
    assert rows[1]["answers"] == []


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ({"text": ["a", "b"], "answer_start": [1, 2]}, [{"text": "a", "start": 1}, {"text": "b", "start": 2}]),
        ({"text": [], "answer_start": []}, []),
        ([{"text": "a", "answer_start": -1}], [{"text": "a", "start": -1}]),
        ([{"text": "a", "start": 3}], [{"text": "a", "start": 3}]),
        (["a", "b"], [{"text": "a", "start": None}, {"text": "b", "start": None}]),
        ("a", [{"text": "a", "start": None}]),
        ('{"text": ["a"], "answer_start": [4]}', [{"text": "a", "start": 4}]),
        ("", []),
    ],
)
def test_answers_in_every_published_form(value: Any, expected: Any) -> None:
    rows = load([{"question": "q", "context": "c", "answers": value}], columns=QA, settings=Data(), need_gold=True)
    assert rows[0]["answers"] == expected


def test_answers_that_fit_no_form(tmp_path: Path) -> None:
    row = {"question": "q", "context": "c", "answers": {"text": ["a", "b"], "answer_start": [1]}}
    assert "a.jsonl:1: answers need as many answer_start as text" in refusal(
        written(tmp_path / "a.jsonl", jsonl([row])), QA
    )


def test_answer_text_with_its_start_in_a_column_of_its_own(tmp_path: Path) -> None:
    path = written(tmp_path / "a.csv", "question,context,answer_text,answer_start\nq,abc,b,1\n")
    assert read(path, QA)[0]["answers"] == [{"text": "b", "start": 1}]


def test_without_answers_there_is_no_key(tmp_path: Path) -> None:
    path = written(tmp_path / "a.jsonl", jsonl([{"question": "q", "context": "c"}]))
    assert "answers" not in read(path, QA, need_gold=False)[0]
    assert "no column for answers" in refusal(path, QA)


GOOD = '{"text": "a", "label": 0}\n'
BROKEN = {
    "empty": ("a.jsonl", "", r"a\.jsonl is empty \(0 bytes\)"),
    "only blank lines": ("a.jsonl", "\n\n", r"a\.jsonl: 0 rows"),
    "header only": ("a.csv", "text,label\n", r"a\.csv: 0 rows"),
    "broken line": ("a.jsonl", GOOD + '{"text" "a"}\n' + GOOD, r"a\.jsonl:2:9: not JSON .*\{\"text\" \"a\"\}"),
    "cut last line": ("a.jsonl", GOOD + '{"text": "a", "lab', r"a\.jsonl:2.*cut short"),
    "cut after a comma": ("a.jsonl", GOOD + '{"text": "a",', r"a\.jsonl:2.*cut short"),
    "cut json": ("a.json", '[{"text": "a", "label": 0},\n {"te', r"a\.json:2:\d+: file is cut short"),
    "broken json": ("a.json", '[{"text": "a"\n "label": 0}]', r"a\.json:2:2: not JSON"),
    "single quotes": ("a.jsonl", "{'text': 'a', 'label': 0}\n", r"a\.jsonl:1.*single quotes"),
    "web page": ("a.jsonl", "<html><body>404</body></html>", r"starts with <html"),
    "web page as json": ("a.json", "\n<!DOCTYPE html>", r"starts with <!DOCTYPE"),
    "scalar": ("a.jsonl", GOOD + "3\n", r"a\.jsonl:2: row is not an object but a number"),
    "list": ("a.jsonl", GOOD + '["a", 0]\n', r"a\.jsonl:2: row is not an object but a list"),
    "scalars in an array": ("a.json", "[1, 2]", r"a\.json: row 1: row is not an object"),
    "json of a text": ("a.json", '"hello"', r"holds a text, not rows"),
    "key twice": (
        "a.jsonl",
        GOOD + '{"text": "a", "text": "b", "label": 0}\n',
        r"a\.jsonl:2: the key 'text' stands twice",
    ),
    "key twice in json": ("a.json", '[{"text": "a", "text": "b"}]', r"the key 'text' stands twice"),
    "half a surrogate pair": ("a.jsonl", GOOD + '{"text": "\\ud83d", "label": 0}\n', r"a\.jsonl:2: .*surrogate"),
    "half a pair in json": ("a.json", '[{"text": "\\ud83d", "label": 0}]', r"row 1: .*surrogate"),
    "header twice": ("a.csv", "text,text\na,b\n", r"a\.csv:1: the header names 'text' twice"),
    "too many fields": ("a.tsv", "text\tlabel\na\tb\tc\n", r"a\.tsv:2: 3 fields where the header has 2"),
    "deep": ("a.jsonl", "[" * 200_000, r"nested too deeply|not JSON|cut short"),
    "long number": ("a.jsonl", GOOD + '{"text": ' + "9" * 5000 + "}\n", r"a\.jsonl:2: "),
    "null id": ("a.jsonl", '{"id": null, "text": "a", "label": 0}\n', r"column 'id' is null in 1 row \(.*a\.jsonl:1\)"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_broken_files_name_the_place(tmp_path: Path, case: str) -> None:
    name, content, expected = BROKEN[case]
    text = refusal(written(tmp_path / name, content))
    assert re.search(expected, text), text
    assert max(map(len, text.splitlines())) < 260


def test_a_surrogate_pair_is_a_character(tmp_path: Path) -> None:
    rows = read(written(tmp_path / "a.jsonl", '{"text": "\\ud83d\\ude00", "label": 0}\n'))
    assert rows[0]["text"] == "\U0001f600"


def test_shown_lines_are_cut(tmp_path: Path) -> None:
    text = refusal(written(tmp_path / "a.jsonl", GOOD + "x" * 500 + "\n"))
    assert "x" * 77 + "..." in text
    assert "x" * 78 not in text


@pytest.mark.parametrize(
    ("encoding", "title"),
    [
        ("utf-16", "UTF-16"),
        ("utf-16-le", "UTF-16"),
        ("utf-16-be", "UTF-16"),
        ("utf-32", "UTF-32"),
        ("gb18030", "GB18030"),
        ("big5", "Big5"),
    ],
)
def test_other_encodings_are_named_and_can_be_asked_for(tmp_path: Path, encoding: str, title: str) -> None:
    plain = "今天天气很好我们去公园" if encoding == "gb18030" else "今天天氣很好我們去公園"
    text = "text,label\n" + f"{plain},好\n" * 3
    path = written(tmp_path / "a.csv", text.encode(encoding))
    said = refusal(path)
    assert f"looks like {title}" in said
    hinted = re.search(r"data\.encoding=(\S+)", said)
    assert hinted
    assert read(path, encoding=hinted[1])[2]["text"] == plain


def test_simplified_chinese_in_gb18030(tmp_path: Path) -> None:
    path = written(tmp_path / "a.jsonl", '{"text": "这家餐馆的服务很好。", "label": 1}\n'.encode("gb18030"))
    assert "a.jsonl:1: byte 0x" in refusal(path)
    assert "data.encoding=gb18030" in refusal(path)


def test_latin_1_is_named_with_line_and_byte(tmp_path: Path) -> None:
    path = written(tmp_path / "a.csv", "text,label\nplain,0\ncafé élan naïve ,1\n".encode("latin-1"))
    said = refusal(path)
    assert "a.csv:3: byte 0xe9 is not utf-8; the file looks like Latin-1" in said
    assert read(path, encoding="cp1252")[1]["text"] == "café élan naïve "


def test_damaged_utf8_is_not_taken_for_another_encoding(tmp_path: Path) -> None:
    content = "text,label\n" + "今天天气很好,1\n" * 20
    path = written(tmp_path / "a.csv", content.encode() + b"\xe4\xbb,1\n")
    assert "a.csv:22: byte 0xe4 is not utf-8; the file is damaged" in refusal(path)


def test_unknown_encoding(tmp_path: Path) -> None:
    assert "unknown encoding 'utf-99'" in refusal(written(tmp_path / "a.csv", "text,label\na,b\n"), encoding="utf-99")


def test_damaged_gzip(tmp_path: Path) -> None:
    packed = gzip.compress(FORMS["rows.jsonl"].encode() * 50)
    assert "damaged gzip" in refusal(written(tmp_path / "a.jsonl.gz", packed[: len(packed) // 2]))
    assert "damaged gzip" in refusal(written(tmp_path / "b.jsonl.gz", b"hello"))


def test_bad_rows_are_skipped_and_counted_on_request(tmp_path: Path) -> None:
    path = written(tmp_path / "a.jsonl", GOOD + "oops\n" + "[1]\n" + '{"label": 1}\n' + GOOD)
    rows = read(path, on_bad_row="skip")
    assert [row["id"] for row in rows] == ["0", "1"]
    assert rows.skipped == 3
    assert "3 rows could not be read and were skipped" in rows.notes[-1]
    assert "a.jsonl:2" in rows.notes[-1]


def test_all_rows_skipped_is_an_error(tmp_path: Path) -> None:
    path = written(tmp_path / "a.jsonl", '{"text": 1, "label": 2}\n'.replace("text", "te\\u0078t") + "oops\n" * 3)
    assert read(path, on_bad_row="skip").skipped == 3
    assert "all 3 rows were skipped" in refusal(written(path, "x\n" * 3), on_bad_row="skip")


def test_columns_missing_in_some_rows_are_counted_with_places(tmp_path: Path) -> None:
    rows = [{"text": "a", "label": 0}] * 3 + [{"text": "a"}] * 7
    said = refusal(written(tmp_path / "a.jsonl", jsonl(rows)))
    assert "column 'label' is missing in 7 rows" in said
    assert "a.jsonl:4" in said
    assert len(read(tmp_path / "a.jsonl", need_gold=False)) == 10


def test_mutated_files_are_read_or_refused(tmp_path: Path) -> None:
    """Cuts, splices and flipped bytes give rows or a short DataError, nothing else."""
    rng = random.Random(0)
    for number in range(600):
        name = rng.choice(list(FORMS))
        content = bytearray(FORMS[name].encode())
        for _ in range(rng.randint(1, 3)):
            place = rng.randrange(len(content))
            match rng.randrange(3):
                case 0:
                    content[place] = rng.choice(b"{}[]\",:\\\n\t\x00\xe9'<")
                case 1:
                    content = content[: place + 1]
                case _:
                    content[place:place] = content[rng.randrange(len(content)) :][:30]
        path = written(tmp_path / name, bytes(content))
        try:
            assert len(read(path, on_bad_row="skip" if number % 2 else "error")) > 0
        except DataError as error:
            assert len(f"{error.message}\n{error.hint}".splitlines()) <= 15
