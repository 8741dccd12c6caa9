"""Windows, offsets and labels of QA features."""

import math
import random
import time

import numpy as np
import pytest
from qa_helpers import byte_level, qa, row, spaced_words, wordpiece

from hfkit.errors import ModelError, UsageError
from hfkit.tasks.qa.encode import cut_questions

LETTERS = "abcdefghijklmnopqrstuvwxyz"


def words(count: int) -> str:
    """`count` words of one token each."""
    return " ".join(LETTERS[i % 26] for i in range(count))


def token_ranges(features: list[dict]) -> list[tuple[int, int]]:
    """First and last context token of each window, counted in tokens of the whole context of one-letter words."""
    found = []
    for feature in features:
        inside = np.flatnonzero(feature["context"])
        found.append((feature["char_start"][inside[0]] // 2, feature["char_start"][inside[-1]] // 2))
    return found


@pytest.mark.parametrize(
    ("tokens", "expected"),
    [
        (370, [(0, 369)]),
        (371, [(0, 369), (242, 370)]),
        (500, [(0, 369), (242, 499)]),
        (900, [(0, 369), (242, 611), (484, 853), (726, 899)]),
    ],
)
def test_windows_of_the_reference_table(tokens: int, expected: list[tuple[int, int]]) -> None:
    task = qa(max_length=384, stride=128, max_question_length=64)
    features = list(task.encode([row(words(tokens), question=words(11))], wordpiece()))
    assert token_ranges(features) == expected


def test_number_of_windows_is_the_closed_form() -> None:
    random.seed(1)
    tokenizer = wordpiece()
    for _ in range(60):
        asked, length = random.randint(1, 12), random.randint(30, 80)
        room = length - asked - 3
        stride, tokens = random.randint(0, (length - 3) // 2 - 1), random.randint(1, 300)
        task = qa(max_length=length, stride=stride, max_question_length=12)
        features = list(task.encode([row(words(tokens), question=words(asked))], tokenizer))
        assert len(features) == 1 + max(0, math.ceil((tokens - room) / (room - stride)))
        assert token_ranges(features)[-1][1] == tokens - 1


@pytest.mark.parametrize("stride", [29, 30, 37, 40, 4000])
def test_a_stride_without_room_is_refused_with_its_limit(stride: int) -> None:
    with pytest.raises(UsageError, match="must be below 27"):
        list(qa(max_length=40, stride=stride, max_question_length=10).encode([row(words(300))], wordpiece()))


def test_the_largest_allowed_stride_works() -> None:
    task = qa(max_length=40, stride=26, max_question_length=10)
    features = list(task.encode([row(words(100), question=words(50))], wordpiece()))
    assert token_ranges(features)[-1][1] == 99
    assert all(len(feature["input_ids"]) <= 40 for feature in features)


def test_a_window_too_small_for_anything_is_refused() -> None:
    with pytest.raises(UsageError, match="no room"):
        list(qa(max_length=4, stride=0).encode([row("a")], wordpiece()))


def test_long_questions_are_cut_first_and_short_ones_stay() -> None:
    tokenizer = wordpiece()
    assert cut_questions(["  a b c", words(30), ""], tokenizer, 10) == ["a b c", words(10), ""]
    features = list(qa().encode([row("dog", question="   " + words(200)), row("dog", question="\n cat")], tokenizer))
    assert [sum(feature["context"]) for feature in features] == [1, 1]
    assert len(features[0]["input_ids"]) == 10 + 1 + 3


def test_a_cut_never_leaves_half_a_character() -> None:
    tokenizer = byte_level()
    (cut,) = cut_questions(["😀" * 20], tokenizer, 10)  # four tokens each
    assert cut == "😀😀"


def test_answer_at_the_last_token_of_a_window_is_labelled_there() -> None:
    """The reference scripts put the start of such a label on the padding."""
    tokenizer = wordpiece()
    context = words(60)
    features = list(qa(max_length=40, stride=8).encode([row(context)], tokenizer))
    first, last = token_ranges(features)[0]
    features = list(qa(max_length=40, stride=8).encode([row(context, (context[last * 2], last * 2))], tokenizer))
    at_end = len(features[0]["input_ids"]) - 2
    assert (features[0]["start_position"], features[0]["end_position"]) == (at_end, at_end)
    assert first == 0


def test_answer_across_a_windows_end_is_null_there_and_real_in_the_next() -> None:
    context = words(60)
    features = list(qa(max_length=40, stride=8).encode([row(context)], wordpiece()))
    last = token_ranges(features)[0][1]
    text = context[last * 2 - 4 : last * 2 + 3]
    one = row(context, (text, last * 2 - 4))
    features = list(qa(max_length=40, stride=8).encode([one], wordpiece()))
    assert features[0]["start_position"] == features[0]["end_position"] == features[0]["null_index"] == 0
    start, end = features[1]["start_position"], features[1]["end_position"]
    assert context[features[1]["char_start"][start] : features[1]["char_end"][end]] == text


def test_the_label_is_the_smallest_run_of_tokens_that_holds_the_answer() -> None:
    (feature,) = qa().encode([row("(1895-1943).", ("1895", 1))], wordpiece())
    inside = slice(feature["start_position"], feature["end_position"] + 1)
    assert (feature["char_start"][inside][0], feature["char_end"][inside][-1]) == (1, 5)


def test_answer_at_the_first_character_and_white_space_around_the_gold() -> None:
    features = list(qa().encode([row("cat dog", ("cat", 0)), row("the cat dog", (" cat ", 3))], wordpiece()))
    assert [f["char_start"][f["start_position"]] for f in features] == [0, 4]
    assert [f["char_end"][f["end_position"]] for f in features] == [3, 7]


def test_unanswerable_absent_and_lost_answers() -> None:
    bare = {"id": "x", "question": "a", "context": "cat dog"}
    rows = [
        row("cat dog"),
        bare,
        row("cat dog", ("bird", 0)),
        row("cat dog cat", ("cat", 4)),
        row("cat dog", ("dog", 0)),
    ]
    features = list(qa().encode(rows, wordpiece()))
    labels = [(f["start_position"], f["end_position"]) for f in features]
    assert labels[:4] == [(0, 0), (-100, -100), (-100, -100), (-100, -100)]
    moved = features[4]
    assert moved["char_start"][moved["start_position"]] == 4  # found once, so its offset does not matter


def test_the_first_answer_is_the_label_unless_it_cannot_be_located() -> None:
    rows = [row("cat dog", ("dog", 4), ("cat", 0)), row("cat dog", ("bird", 4), ("cat", 0))]
    features = list(qa().encode(rows, wordpiece()))
    assert [f["char_start"][f["start_position"]] for f in features] == [4, 0]


@pytest.mark.parametrize(
    ("context", "start"),
    [("😀 cat cat", 3), ("é cat 中 cat", 11)],
    ids=["utf-16 units", "utf-8 bytes"],
)
def test_offsets_in_other_units_are_understood(context: str, start: int) -> None:
    (feature,) = qa().encode([row(context, ("cat", start))], wordpiece())
    expected = context.index("cat") if "😀" in context else context.rindex("cat")
    assert feature["char_start"][feature["start_position"]] == expected


def test_line_ends_and_decomposed_accents_keep_their_characters() -> None:
    context = "one\r\ntwo cafe\u0301\r\nthree"
    (feature,) = qa().encode([row(context, ("cafe\u0301", 9))], wordpiece())
    assert (
        context[feature["char_start"][feature["start_position"]] : feature["char_end"][feature["end_position"]]]
        == "cafe\u0301"
    )


@pytest.mark.parametrize("context", ["", "  \n "])
def test_an_empty_context_is_one_feature_without_tokens(context: str) -> None:
    (feature,) = qa().encode([row(context)], wordpiece())
    assert sum(feature["context"]) == 0


def test_token_types_follow_the_tokenizer() -> None:
    (with_types,) = qa().encode([row("cat dog")], wordpiece())
    (without,) = qa().encode([row("cat dog")], wordpiece(types=False))
    assert with_types["token_type_ids"] == [0] * 5 + [1] * 3
    assert "token_type_ids" not in without
    assert without["input_ids"] == with_types["input_ids"]


def test_all_columns_are_per_token_or_numbers_and_rows_are_numbered() -> None:
    rows = [row(words(80)), row(""), row("cat", ("cat", 0))]
    features = list(qa().encode(rows, wordpiece()))
    assert sorted({feature["row"] for feature in features}) == [0, 1, 2]
    for feature in features:
        assert list(feature) == list(features[0])
        for value in feature.values():
            assert isinstance(value, int) or len(value) == len(feature["input_ids"])


def test_the_null_position_of_each_layout() -> None:
    bert, xlnet, gpt2 = wordpiece(), wordpiece(layout="xlnet"), byte_level()
    (feature,) = qa().encode([row("cat")], bert)
    assert feature["null_index"] == 0
    (feature,) = qa().encode([row("cat")], xlnet)
    assert feature["null_index"] == len(feature["input_ids"]) - 1
    (feature,) = qa().encode([row("cat")], gpt2)
    assert feature["null_index"] == len(feature["input_ids"]) - 1
    assert feature["input_ids"][-1] == gpt2.eos_token_id


def test_a_decoder_without_a_pair_template_gets_its_end_token_inside_the_window() -> None:
    tokenizer = byte_level(template=False)
    features = list(qa(max_length=40).encode([row(words(60), question="the")], tokenizer))
    assert len(features) > 1
    assert all(feature["input_ids"][-1] == tokenizer.eos_token_id for feature in features)
    assert max(len(feature["input_ids"]) for feature in features) == 40
    tokenizer.eos_token = None
    with pytest.raises(ModelError, match="no token can stand for"):
        list(qa().encode([row("cat")], tokenizer))


def test_the_tokenizer_is_left_without_truncation() -> None:
    tokenizer = wordpiece()
    list(qa().encode([row(words(100))], tokenizer))
    assert tokenizer.backend_tokenizer.truncation is None


def test_a_context_of_seventy_thousand_characters_takes_time_in_proportion() -> None:
    tokenizer = wordpiece()

    def seconds(characters: int) -> float:
        one = row(words(characters // 2), ("a b c", 0))
        begin = time.perf_counter()
        features = list(qa(max_length=384, stride=128).encode([one], tokenizer))
        assert token_ranges(features)[-1][1] == characters // 2 - 1
        return time.perf_counter() - begin

    seconds(7000)
    assert seconds(70_000) < 40 * seconds(7000) + 1


def test_offsets_that_hold_the_space_before_a_word() -> None:
    context = "one two  three"
    (feature,) = qa().encode([row(context, ("two", 4))], spaced_words())
    assert feature["start_position"] == feature["end_position"]
    assert feature["char_start"][feature["start_position"]] == 3  # the space is the token's; predictions leave it out
