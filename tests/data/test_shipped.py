"""Facts of the data inside the package: counts, answer offsets, uniqueness, nothing shared with the held-out part."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

SHIPPED = Path(__file__).resolve().parents[2] / "hfkit" / "data" / "shipped"
SPLITS = ("train", "validation")


def text_of(name: str) -> str:
    return (SHIPPED / name).read_bytes().decode("utf-8")


def passages(split: str) -> list[dict[str, Any]]:
    document = json.loads(text_of(f"quickstart-{split}.json"))
    assert document["version"] == "1.1"
    return [passage for article in document["data"] for passage in article["paragraphs"]]


def titles(split: str) -> list[str]:
    return [article["title"] for article in json.loads(text_of(f"quickstart-{split}.json"))["data"]]


def poems(split: str) -> list[str]:
    return text_of(f"tang-{split}.txt").removesuffix("\n").split("\n\n")


def test_quickstart_has_the_passages_it_promises() -> None:
    assert len(passages("train")) >= 40
    assert len(passages("validation")) == 10


@pytest.mark.parametrize("split", SPLITS)
def test_every_passage_has_six_questions_and_a_moderate_length(split: str) -> None:
    for passage in passages(split):
        assert len(passage["qas"]) == 6, passage["context"][:40]
        assert 90 <= len(passage["context"].split()) <= 150, passage["context"][:40]


@pytest.mark.parametrize("split", SPLITS)
def test_every_answer_is_a_short_whole_word_span_that_occurs_once(split: str) -> None:
    for passage in passages(split):
        context = passage["context"]
        for question in passage["qas"]:
            (answer,) = question["answers"]
            start, end = answer["answer_start"], answer["answer_start"] + len(answer["text"])
            assert context[start:end] == answer["text"], question["id"]
            assert context.count(answer["text"]) == 1, question["id"]
            assert not context[start - 1 : start].isalnum() and not context[end : end + 1].isalnum(), question["id"]
            assert 1 <= len(answer["text"].split()) <= 8, question["id"]


@pytest.mark.parametrize("split", SPLITS)
def test_answers_are_spread_over_the_passages(split: str) -> None:
    places = [
        question["answers"][0]["answer_start"] / len(passage["context"])
        for passage in passages(split)
        for question in passage["qas"]
    ]
    for low in (0.0, 0.25, 0.5, 0.75):
        assert sum(low <= place < low + 0.25 for place in places) >= 0.15 * len(places)


def test_ids_titles_contexts_and_questions_are_unique_over_both_parts() -> None:
    both = passages("train") + passages("validation")
    questions = [question for passage in both for question in passage["qas"]]
    for values in (
        titles("train") + titles("validation"),
        [passage["context"] for passage in both],
        [question["id"] for question in questions],
        [question["question"].casefold() for question in questions],
    ):
        assert len(set(values)) == len(values)
    assert all(re.fullmatch(r"[a-z-]+-[1-6]", question["id"]) for question in questions)
    assert all(question["question"].endswith("?") for question in questions)


def test_held_out_passages_share_no_sentence_with_training() -> None:
    def sentences(split: str) -> set[str]:
        return {s.strip() for passage in passages(split) for s in re.split(r"[.:;?]", passage["context"]) if s.strip()}

    assert not sentences("train") & sentences("validation")


def test_tang_has_the_poems_it_promises() -> None:
    assert len(poems("train")) >= 120
    assert len(poems("validation")) >= 12


@pytest.mark.parametrize("split", SPLITS)
def test_every_poem_is_a_title_line_and_punctuated_lines(split: str) -> None:
    raw = text_of(f"tang-{split}.txt")
    assert "\r" not in raw and "\n\n\n" not in raw and raw.endswith("。\n") and not raw.startswith("\ufeff")
    for poem in poems(split):
        title, *lines = poem.split("\n")
        assert re.fullmatch(r"《[^《》]+》 \S+", title), title
        assert len(lines) >= 2, title
        assert all(re.fullmatch(r"[\u4e00-\u9fff]{3,7}，[\u4e00-\u9fff]{5,7}。", line) for line in lines), title


def test_no_poem_title_or_line_appears_twice() -> None:
    both = poems("train") + poems("validation")
    heads = [poem.split("\n")[0] for poem in both]
    lines = [line for poem in both for line in poem.split("\n")[1:]]
    assert len(set(heads)) == len(heads)
    assert len(set(lines)) == len(lines)


def test_the_readme_states_the_counts() -> None:
    readme = text_of("README.md")
    for split in SPLITS:
        found = passages(split)
        asked = sum(len(passage["qas"]) for passage in found)
        expected = f"{split} {len(found)} passages {asked} questions {len(poems(split))} poems"
        assert expected in readme
