"""Which parts of the data a row belongs to by how it looks: question words, lengths, overlap, negation.

Lengths are in words; in text without spaces between words each Chinese or Japanese character counts as one.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cache, lru_cache
from itertools import pairwise
from typing import Any

from hfkit.tasks.base import Row

_ASCII = re.compile(r"[a-z0-9']+")
_ASKED = re.compile(r"\b(how (?:many|much)|who(?:se|m)?|what|when|where|which|why|how)\b", re.IGNORECASE)
_ASKED_ZH = (
    ("when", ("什么时候", "什么时间", "何时", "哪年", "哪一年", "哪天", "几年", "几月")),
    ("where", ("哪里", "哪儿", "何处", "什么地方", "位于哪", "在哪")),
    ("why", ("为什么", "为何", "什么原因")),
    ("how many", ("多少", "几")),
    ("who", ("谁", "何人")),
    ("how", ("怎么", "如何", "怎样")),
    ("which", ("哪",)),
    ("what", ("什么", "何")),
)
_NEGATIONS = frozenset(
    ("no", "not", "never", "nobody", "nothing", "none", "nowhere", "nor", "neither", "without", "cannot")
)
_NEGATIONS_ZH = frozenset("不没無无非未别")


def words(text: str) -> list[str]:
    """The words of a text in lower case, without punctuation; a Chinese or Japanese character is a word."""
    lowered = text.lower()
    return _ASCII.findall(lowered) if text.isascii() else _pieces().findall(lowered)


def qa_slices(row: Row) -> dict[str, str]:
    """By question word, words of the first answer and of the context, question words in the context, has answer."""
    answers = row.get("answers") or []
    count, inside = _context(row["context"])
    asked = set(words(row["question"]))
    return {
        "question word": question_word(row["question"]),
        "answer words": _bucket(len(words(answers[0]["text"])), (1, 2, 4, 7, 13)) if answers else "no answer",
        "context words": _bucket(count, (0, 100, 150, 200, 300)),
        "question words in context": _share(len(asked & inside), len(asked), (0, 40, 60, 80)),
        "has answer": "yes" if answers else "no",
    }


def nli_slices(row: Row) -> dict[str, str]:
    """By the share of the hypothesis' words that the premise has, negation in the hypothesis, its words; HANS' own."""
    said = words(row["hypothesis"])
    distinct = set(said)
    shared = len(distinct.intersection(words(row["premise"])))
    shortened = "n't" in row["hypothesis"].lower().replace("’", "'")
    negated = shortened or not distinct.isdisjoint(_NEGATIONS) or not distinct.isdisjoint(_NEGATIONS_ZH)
    found = {
        "hypothesis words in premise": _share(shared, len(distinct), (0, 25, 50, 75, 100)),
        "negation in hypothesis": "yes" if negated else "no",
        "hypothesis words": _bucket(len(said), (0, 5, 8, 11, 16)),
    }
    for name in ("heuristic", "subcase"):
        if isinstance(row.get(name), str):
            found[name] = row[name]
    return found


def classify_slices(row: Row) -> dict[str, str]:
    """By the gold label, where it is one word or number, and by the words of the text."""
    label = row.get("label")
    found = {"words": _bucket(len(words(str(row["text"]))), (0, 8, 16, 32, 64, 128, 256))}
    if isinstance(label, (str, int)):
        found["label"] = str(label)
    return found


def text_slices(row: Row) -> dict[str, str]:
    """By the words of the source, and of the target where there is one."""
    edges = (0, 8, 16, 32, 64, 128, 256)
    found = {"source words": _bucket(len(words(row["source"])), edges)}
    if isinstance(row.get("target"), str):
        found["target words"] = _bucket(len(words(row["target"])), edges)
    return found


def of_columns(row: Row, names: Sequence[str]) -> dict[str, str]:
    """The row's values of columns that the user named; "" where it has none."""
    return {name: _text(row.get(name)) for name in names}


def question_word(question: str) -> str:
    """The first question word, English or Chinese: who, what, when, where, which, why, how, how many, other."""
    found = _ASKED.search(question)
    if found:
        word = found[1].lower()
        return "how many" if word in ("how many", "how much") else "who" if word.startswith("who") else word
    if not question.isascii():
        for word, marks in _ASKED_ZH:
            if any(mark in question for mark in marks):
                return word
    return "other"


@cache
def _pieces() -> re.Pattern[str]:
    """A character of Chinese or Japanese, or a run of other letters and digits; compiled when first needed."""
    return re.compile(r"[\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff]|[^\W\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff]+")


@lru_cache(maxsize=64)
def _context(text: str) -> tuple[int, frozenset[str]]:
    """How many words a context has, and which; questions on one context follow each other."""
    found = words(text)
    return len(found), frozenset(found)


@lru_cache(maxsize=4096)
def _bucket(count: int, edges: tuple[int, ...]) -> str:
    """The range that holds a count: edges (1, 2, 4) make "1", "2-3" and "4+"."""
    for low, high in pairwise(edges):
        if count < high:
            return str(high - 1) if low == high - 1 else f"{low}-{high - 1}"
    return f"{edges[-1]}+"


@lru_cache(maxsize=4096)
def _share(part: int, whole: int, edges: tuple[int, ...]) -> str:
    """The range that holds the share part / whole, in percent."""
    percent = 100 * part // max(whole, 1)
    for low, high in pairwise(edges):
        if percent < high:
            return f"{low}-{high - 1} %"
    return f"{edges[-1]} %" if edges[-1] == 100 else f"{edges[-1]}-100 %"


def _text(value: Any) -> str:
    return "" if value is None else str(value)
