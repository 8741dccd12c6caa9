"""CMRC 2018 scoring as its official script (cmrc2018_evaluate.py, version 5) does it, without nltk.

A Chinese character is one segment, other text is cut into words; F1 counts the longest run of segments that stands in
both texts without a gap. Quirks of the script that change numbers, and are kept:

- Punctuation is dropped character by character from a fixed list, so the list's two-character "……" never matches
  and "…" stays, as do "‘" and most ASCII punctuation. Text around a dropped character grows together: "a-b" is "ab".
- Exact match compares what is left with its white space: "NBA总冠军" and "nba 总冠军" do not match, while F1 is 1.
- "Chinese character" is U+4E00 to U+9FA5; rarer ones are treated as letters of a word.
- Two texts of which nothing is left are an exact match with F1 0.
"""

from collections.abc import Mapping, Sequence

import numpy as np

from hfkit.errors import DataError
from hfkit.metrics.squad import reduce_squad
from hfkit.metrics.treebank import split_words

_PUNCTUATION = frozenset("-:_*^/\\~`+=，。：？！“”；’《》·、「」（）－～『』")


def strip_punctuation(text: str) -> str:
    """Lower-case, trim, and drop the script's punctuation; inner white space stays."""
    return "".join(char for char in text.lower().strip() if char not in _PUNCTUATION)


def segments(text: str) -> list[str]:
    """The segments that F1 compares: each Chinese character, and the words of the runs between them."""
    found: list[str] = []
    run = ""
    for char in strip_punctuation(text):
        if "\u4e00" <= char <= "\u9fa5":
            found += split_words(run)
            found.append(char)
            run = ""
        else:
            run += char
    return found + split_words(run)


def exact_match(prediction: str, gold: str) -> float:
    """1.0 if both texts are equal without punctuation and case, else 0.0."""
    return float(strip_punctuation(prediction) == strip_punctuation(gold))


def f1(prediction: str, gold: str) -> float:
    """F1 (0-1) of the longest common contiguous run of segments; 0 when there is none."""
    return _run_f1(segments(prediction), segments(gold))


def pairwise_f1(texts: Sequence[str]) -> np.ndarray:
    """(texts, texts) float64: `f1` of each with each, which is the same either way round."""
    parts = [segments(text) for text in texts]
    found = np.zeros((len(parts), len(parts)))
    for number, part in enumerate(parts):
        for other in range(number + 1):
            found[number, other] = found[other, number] = _run_f1(part, parts[other])
    return found


def _run_f1(predicted: list[str], gold: list[str]) -> float:
    common = _longest_common_run(predicted, gold)
    if common == 0:
        return 0.0
    precision, recall = common / len(predicted), common / len(gold)
    return 2 * precision * recall / (precision + recall)


def measure_cmrc(prediction: str | None, golds: Sequence[str]) -> dict[str, float]:
    """`em` and `f1` (0-1) of one question, each the maximum over `golds`; None, no prediction, counts 0.

    Raises DataError when `golds` is empty.
    """
    if not golds:
        raise DataError(
            "a question without gold answers cannot be scored by cmrc",
            hint="for unanswerable questions set qa.scorer=squad2",
        )
    if prediction is None:
        return {"em": 0.0, "f1": 0.0}
    return {
        "em": max(exact_match(prediction, gold) for gold in golds),
        "f1": max(f1(prediction, gold) for gold in golds),
    }


def reduce_cmrc(columns: Mapping[str, np.ndarray]) -> dict[str, float]:
    """`exact_match`, `f1` and their mean `average`, in percent, from the columns `em` and `f1` (0-1)."""
    found = reduce_squad(columns)
    return {**found, "average": (found["exact_match"] + found["f1"]) / 2}


def _longest_common_run(left: list[str], right: list[str]) -> int:
    """Length of the longest list that is a contiguous part of both."""
    longest = 0
    previous = [0] * (len(right) + 1)
    for item in left:
        current = [0] * (len(right) + 1)
        for column, other in enumerate(right, start=1):
            if item == other:
                current[column] = previous[column - 1] + 1
                longest = max(longest, current[column])
        previous = current
    return longest
