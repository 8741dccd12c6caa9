"""From a gold answer to labels, to logits, to a prediction and back: random Unicode rows and what must come of them."""

import random
import unicodedata
from typing import Any

import numpy as np
from qa_helpers import byte_level, predictions, qa, row, spaced_words, wordpiece

from hfkit.data.validators import locate_answer
from hfkit.tasks.graphemes import whole
from hfkit.tasks.qa.answers import trimmed

PIECES = [
    *"abcdefgxyz0189", *"éÉñüßİ", "e\u0301", "a\u0308\u0323", *"中国北京𠮷", *"😀🎉", "👩\u200d👩\u200d👧", "👍🏽",
    "\r\n", "\n", "\t", *" " * 12, "\u00a0", "\u200b", "\u00ad", "\ufeff", ". ", ", ", "-", "(", ")", "'",
    "\x0b", "\x1f", "\x85", "\u2028", "🇩🇪🇫🇷", "ﬁ", "ด้วย", "हिन्दी", "السلام", "the ", " cat",
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


def check(kind: str, count: int, seed: int) -> tuple[int, int, list[str]]:
    """Every prediction is a part of its context, and every answer that a window shows whole comes back.

    Returns how many answers were compared, how many of them begin and end with a token, and what is wrong, by row.
    """
    tokenizer = TOKENIZERS[kind]()
    task = qa(max_length=48, stride=12)
    rows = random_rows(count, seed=seed)
    features = list(task.encode(rows, tokenizer))
    found = predictions(task, rows, features)
    of_row: list[list[dict[str, Any]]] = [[] for _ in rows]
    for feature in features:
        of_row[feature["row"]].append(feature)
    checked = aligned = 0
    wrong = []
    for windows, one, prediction in zip(of_row, rows, found, strict=True):
        offsets = tokenizer(one["context"], add_special_tokens=False, return_offsets_mapping=True)["offset_mapping"]
        problem, compared, exact = _compared(windows, one, prediction, offsets)
        checked, aligned = checked + compared, aligned + exact
        problem = problem or _misplaced(one["context"], one["answers"][0])
        if problem:
            wrong.append(f"{kind}: {problem}: {one!r} {prediction!r}")
    return checked, aligned, wrong


def _compared(
    windows: list[dict[str, Any]], one: dict[str, Any], prediction: dict[str, Any], offsets: list[tuple[int, int]]
) -> tuple[str, bool, bool]:
    """(what is wrong or "", whether a window shows the answer whole, whether it begins and ends with a token)."""
    context, given = one["context"], one["answers"][0]
    start, end = prediction["start"], prediction["end"]
    if context[start:end] != prediction["prediction"] or not 0 <= start <= end <= len(context):
        return "not a part of the context", False, False
    gold = trimmed(context, given["start"], given["start"] + len(given["text"]))
    run = smallest_run(with_marks(offsets, context), gold) if gold[0] < gold[1] else None
    shown = run is not None and any(sees(feature, run) for feature in windows)
    held = any(feature["start_position"] not in (-100, feature["null_index"]) for feature in windows)
    if held != shown:
        return "labelled where it is not seen, or the reverse", False, False
    if run is None or not shown:
        return "", False, False
    place = trimmed(context, *run)
    if (start, end) != whole(context, *place):
        return "another answer came back", True, False
    exact = place == gold == whole(context, *gold)
    return ("" if not exact or prediction["prediction"] == given["text"].strip() else "not the text"), True, exact


def _misplaced(context: str, given: dict[str, Any]) -> str:
    """Offsets counted in UTF-16 units or bytes are found again, where they mean no other place as code points."""
    before, text = context[: given["start"]], given["text"]
    for name, units in (("utf-16", len(before.encode("utf-16-le")) // 2), ("bytes", len(before.encode()))):
        kind, place = locate_answer(context, text, units)
        if place is not None and not context.startswith(text, place):
            return f"{name}: not there"
        certain = kind == name or (kind == "offset" and units == given["start"])
        if certain and place != given["start"] and name == "utf-16":
            return f"{name}: another place"
    return ""


def sees(feature: dict[str, Any], run: tuple[int, int]) -> bool:
    inside = np.flatnonzero(feature["context"])
    return (
        bool(len(inside)) and feature["char_start"][inside[0]] <= run[0] and feature["char_end"][inside[-1]] >= run[1]
    )
