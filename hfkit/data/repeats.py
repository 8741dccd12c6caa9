"""Rows that say the same again or contradict each other; texts that training and validation share."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from hfkit.data.findings import SHOWN, Finding
from hfkit.data.validators import first_ids, repeated, rows_text

if TYPE_CHECKING:
    import numpy as np

    from hfkit.tasks.base import Row

NO_GOLD = frozenset({"", "-", "-1", "null"})  # golds that contradict nothing


def repeats(rows: Sequence[Row], texts: Sequence[str], gold: str | None) -> Iterator[Finding]:
    """Rows whose `texts` stood in a row before: with the same gold, or with one that contradicts it.

    Labels contradict each other when they differ; answers when one row has some and another says that there is none, or
    when they have no word in common. Texts are compared character by character. `count` is in rows: those beyond the
    first of each, or all that contradict each other.
    """
    again, against = equal_rows(rows, texts, gold)
    by = ", ".join([*texts, *([gold] if gold else [])])
    if again:
        message = f"{rows_text(len(again))} repeat{'s' if len(again) == 1 else ''} another, by {by}"
        yield _of_places(rows, again, "repeated_rows", message)
    if against:
        verb = "contradicts" if len(against) == 1 else "contradict"
        message = f"{rows_text(len(against))} {verb} another with the same {' and '.join(texts)}, by {gold}"
        yield _of_places(rows, against, "contradictory_rows", message)


def equal_rows(rows: Sequence[Row], texts: Sequence[str], gold: str | None) -> tuple[list[int], list[int]]:
    """(numbers of rows that repeat an earlier one, numbers of rows that contradict each other), each ascending."""
    again: list[int] = []
    against: set[int] = set()
    for places in _same_texts(rows, texts):
        golds = [gold_text(rows[place].get(gold)) if gold else "" for place in places]
        seen: set[str] = set()
        for place, value in zip(places, golds, strict=True):
            if value in seen:
                again.append(place)
            seen.add(value)
        if gold and len(seen - NO_GOLD) > 1:
            values = [rows[place].get(gold) for place in places]
            pairs = ((i, j) for i in range(len(places)) for j in range(i) if disagree(values[i], values[j]))
            against.update(places[k] for pair in pairs for k in pair)
    return sorted(again), sorted(against)


def disagree(one: Any, other: Any) -> bool:
    """Whether two golds of the same texts cannot both be right; see `repeats`."""
    texts = gold_text(one), gold_text(other)
    if texts[0] == texts[1] or not NO_GOLD.isdisjoint(texts):
        return False
    if _is_answers(one) and _is_answers(other):
        words = [{word.casefold() for answer in value for word in _words(answer["text"])} for value in (one, other)]
        return not one or not other or words[0].isdisjoint(words[1])
    return True


def gold_text(value: Any) -> str:
    """One spelling of a label, or of the texts of a row's answers, to compare by."""
    if isinstance(value, str):
        return value.strip()
    if _is_answers(value):
        value = sorted({answer["text"] for answer in value})
    elif isinstance(value, float) and value.is_integer():
        value = int(value)
    return json.dumps(value, ensure_ascii=False, sort_keys=True, default=str)


def shared_groups(train: Sequence[Row], validation: Sequence[Row], column: str) -> Iterator[Finding]:
    """Validation rows whose `column` (context, premise) stands in some training row; `count` is in validation rows."""
    import numpy as np

    known = _hashes(train, [column])
    shared = np.flatnonzero(np.isin(_hashes(validation, [column]), known[known != 0]))
    if len(shared):
        share = 100 * len(shared) / len(validation)
        words = f"{len(shared):,} of {len(validation):,} validation rows ({share:.1f} %) have a {column}"
        message = f"{words} that stands in the training data too"
        yield _of_places(validation, shared.tolist(), "shared_groups", message)


def _of_places(rows: Sequence[Row], places: Sequence[int], code: str, message: str) -> Finding:
    ids = tuple(str(rows[place]["id"]) for place in places[:SHOWN])
    return Finding("warning", code, f"{message} {first_ids(ids, len(places))}", len(places), ids)


def _same_texts(rows: Sequence[Row], texts: Sequence[str]) -> Iterator[list[int]]:
    """Numbers of rows with equal texts, two or more at a time; rows that lack a text are left out.

    Memory is 8 bytes a row: hashes are compared first, then the texts of the suspects.
    """
    import numpy as np

    hashes = _hashes(rows, texts)
    suspects = repeated(hashes)
    groups: dict[tuple[Any, ...], list[int]] = {}
    for place in np.flatnonzero(np.isin(hashes, suspects[suspects != 0])).tolist():
        groups.setdefault(tuple(rows[place].get(name) for name in texts), []).append(place)
    yield from (places for places in groups.values() if len(places) > 1)


def _hashes(rows: Sequence[Row], texts: Sequence[str]) -> np.ndarray:
    """A hash of each row's texts, 0 where one of them is no text or blank."""
    import numpy as np

    def key(row: Row) -> int:
        values = tuple(row.get(name) for name in texts)
        if not all(value is None or isinstance(value, str) for value in values) or not (values[0] or "").strip():
            return 0
        return hash(values) or 1

    return np.fromiter(map(key, rows), dtype=np.int64, count=len(rows))


def _is_answers(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(part, Mapping) and "text" in part for part in value)


def _words(text: str) -> list[str]:
    """Words of a text; of one without blanks, as in Chinese, its characters."""
    parts = "".join(char if char.isalnum() else " " for char in text).split()
    return [piece for part in parts for piece in ([part] if part.isascii() else part)]
