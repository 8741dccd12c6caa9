"""The CMRC 2018 scorer and the word rules it needs, against the official script's and nltk's recorded results."""

import json
from pathlib import Path

import numpy as np
import pytest

from hfkit.errors import DataError
from hfkit.metrics.cmrc import exact_match, f1, measure_cmrc, reduce_cmrc, segments
from hfkit.metrics.treebank import split_words


@pytest.mark.parametrize(
    ("prediction", "gold", "expected_f1", "expected_em"),
    [
        ("2019年世界杯冠军", "世界杯", 0.6, 0.0),
        ("北京市", "北京", 0.8, 0.0),
        ("NBA总冠军", "nba 总冠军", 1.0, 0.0),
        ("《红楼梦》", "红楼梦", 1.0, 1.0),
        ("abc def", "abc xyz def", 0.4, 0.0),
        ("……好", "好", 2 / 3, 0.0),
        ("", "。", 0.0, 1.0),
        ("好", "坏", 0.0, 0.0),
    ],
)
def test_known_scores(prediction: str, gold: str, expected_f1: float, expected_em: float) -> None:
    assert f1(prediction, gold) == pytest.approx(expected_f1, abs=1e-12)
    assert f1(gold, prediction) == pytest.approx(expected_f1, abs=1e-12)
    assert exact_match(prediction, gold) == expected_em


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("光荣和ω-Force开发", ["光", "荣", "和", "ωforce", "开", "发"]),
        ("  1.5亿，（约10,000元）", ["1.5", "亿", "约", "10,000", "元"]),
        ("“Don't Stop”的歌", ["do", "n't", "stop", "的", "歌"]),
        ("12:30", ["1230"]),
        ("䶮龥鿿", ["䶮", "龥", "鿿"]),  # the outer two are outside the script's range: words, not characters
        ("㐀䶵", ["㐀䶵"]),
        ("", []),
    ],
)
def test_segments(text: str, expected: list[str]) -> None:
    assert segments(text) == expected


def test_the_best_gold_counts_and_missing_predictions_are_zero() -> None:
    assert measure_cmrc("北京", ["北京市", "北京"]) == {"em": 1.0, "f1": 1.0}
    assert measure_cmrc(None, ["北京"]) == {"em": 0.0, "f1": 0.0}
    metrics = reduce_cmrc({"em": np.array([1.0, 0.0]), "f1": np.array([1.0, 0.8])})
    assert metrics == pytest.approx({"exact_match": 50.0, "f1": 90.0, "average": 70.0})


def test_nothing_to_score_is_an_error() -> None:
    with pytest.raises(DataError):
        measure_cmrc("北京", [])
    with pytest.raises(DataError):
        reduce_cmrc({"em": np.array([]), "f1": np.array([])})


@pytest.mark.shared_data
def test_gold_answers_score_100_on_the_dev_set(shared: Path) -> None:
    data = json.loads((shared / "cmrc2018" / "dev.json").read_text(encoding="utf-8"))["data"]
    golds = [
        [answer["text"] for answer in question["answers"]]
        for article in data
        for paragraph in article["paragraphs"]
        for question in paragraph["qas"]
    ]
    assert len(golds) == 3219
    measured = [measure_cmrc(texts[0], texts) for texts in golds]
    columns = {name: np.array([row[name] for row in measured]) for name in ("em", "f1")}
    assert reduce_cmrc(columns) == {"exact_match": 100.0, "f1": 100.0, "average": 100.0}


# What nltk 3.10's NLTKWordTokenizer gives for these runs.
@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("world cup 2019", ["world", "cup", "2019"]),
        ("10,000", ["10,000"]),
        ("1,2,a", ["1,2", ",", "a"]),
        ("a,,b", ["a", ",", ",b"]),
        ("3.14", ["3.14"]),
        ("u.s.", ["u.s", "."]),
        ("u.s. ", ["u.s", "."]),
        ("end.", ["end", "."]),
        ("end.)", ["end", ".", ")"]),
        ("wait...", ["wait", "..."]),
        ("what?!", ["what", "?", "!"]),
        ("(nba)", ["(", "nba", ")"]),
        ("[a]{b}<c>", ["[", "a", "]", "{", "b", "}", "<", "c", ">"]),
        ("rock'n'roll", ["rock'n'roll"]),
        ("it's", ["it", "'s"]),
        ("it's ok", ["it", "'s", "ok"]),
        ("don't", ["do", "n't"]),
        ("o'neil", ["o'neil"]),
        ("'hello'", ["'", "hello", "'"]),
        ("'90s", ["'", "90s"]),
        ("the boys' ", ["the", "boys", "'"]),
        ('"ok"', ["``", "ok", "''"]),
        ('say "hi" now', ["say", "``", "hi", "''", "now"]),
        ("''x''", ["''", "x", "''"]),
        ("«oui»", ["«", "oui", "»"]),
        ("‘a", ["‘", "a"]),
        ("cannot", ["can", "not"]),
        ("gonna", ["gon", "na"]),
        ("wanna", ["wan", "na"]),
        ("wanna go", ["wan", "na", "go"]),
        ("i'd've", ["i'd", "'ve"]),
        ("'tis so", ["'", "tis", "so"]),
        ("more'n", ["more", "'n"]),
        ("$3.88", ["$", "3.88"]),
        ("50%", ["50", "%"]),
        ("a&b", ["a", "&", "b"]),
        ("c#", ["c", "#"]),
        ("@me", ["@", "me"]),
        ("x;y", ["x", ";", "y"]),
        ("2012–2013", ["2012", "–", "2013"]),
        ("—", ["—"]),
        ("…", ["…"]),
        ("……", ["……"]),
        ("ωforce", ["ωforce"]),
        ("a\u3000b", ["a", "b"]),
        ("", []),
        ("  ", []),
        ("we'll go", ["we", "'ll", "go"]),
        ("they're", ["they", "'re"]),
        ("d'ye", ["d", "'ye"]),
        ("no.1", ["no.1"]),
        ("mr. x", ["mr.", "x"]),
    ],
)
def test_words_are_those_of_nltk(text: str, words: list[str]) -> None:
    assert split_words(text) == words
