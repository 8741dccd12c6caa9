"""What only tokens show: unknown ones, answers that no window holds, texts too long, padding. Beside validators."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from hfkit.data.findings import SHOWN, Finding
from hfkit.data.validators import first_ids

if TYPE_CHECKING:
    import numpy as np

    from hfkit.tasks.base import Feature, Row

UNKNOWN_SHARE = 0.2  # of a row's tokens
BATCH = 16  # rows that a naive run pads to the longest of them


@dataclass(frozen=True, slots=True)
class Tokens:
    """What was counted of all features: arrays with one value a feature (window, row or block)."""

    rows: np.ndarray  # number of the row, from 0
    lengths: np.ndarray  # tokens
    unknown: np.ndarray  # tokens that the vocabulary lacks
    labelled: np.ndarray  # bool: the row has an answer that could be located, or a label
    held: np.ndarray  # bool: this window holds all of the answer


def count_tokens(features: Iterable[Feature], unknown_id: int | None) -> Tokens:
    """One pass over features as `Task.encode` makes them; columns other than those of qa's windows may lack."""
    import numpy as np

    found: list[tuple[int, int, int, bool, bool]] = []
    for feature in features:
        ids = feature["input_ids"]
        start, null = feature.get("start_position"), feature.get("null_index")
        labelled = start is not None and start >= 0
        unknown = ids.count(unknown_id) if unknown_id is not None else 0
        found.append((feature["row"], len(ids), unknown, labelled, labelled and start != null))
    table = np.asarray(found, dtype=np.int64).reshape(-1, 5).T
    return Tokens(table[0], table[1], table[2], table[3].astype(bool), table[4].astype(bool))


def unknown_rows(rows: Sequence[Row], tokens: Tokens) -> Iterator[Finding]:
    """Rows of whose tokens more than a fifth are unknown."""
    import numpy as np

    length = np.bincount(tokens.rows, tokens.lengths, minlength=len(rows))
    unknown = np.bincount(tokens.rows, tokens.unknown, minlength=len(rows))
    places = np.flatnonzero(unknown > UNKNOWN_SHARE * length).tolist()
    words = f"{len(places):,} rows have over {UNKNOWN_SHARE:.0%} tokens that the model does not know"
    yield from _rows_finding(rows, places, "unknown_tokens", words)


def answers_cut(rows: Sequence[Row], tokens: Tokens) -> Iterator[Finding]:
    """Answerable rows of whose windows none holds all of the answer: lost to training by length and stride."""
    import numpy as np

    asked = np.bincount(tokens.rows, tokens.labelled, minlength=len(rows)) > 0
    held = np.bincount(tokens.rows, tokens.held, minlength=len(rows)) > 0
    places = [place for place in np.flatnonzero(asked & ~held).tolist() if rows[place].get("answers")]
    words = f"the answers of {len(places):,} rows fit into no window"
    hint = "give neighbouring windows more in common (qa.stride), or longer windows (qa.max_length)"
    yield from _rows_finding(rows, places, "answers_cut", words, hint)


def too_long(rows: Sequence[Row], tokens: Tokens, positions: int) -> Iterator[Finding]:
    """Rows with more tokens than the model has positions; the features are those of whole texts."""
    places = tokens.rows[tokens.lengths > positions].tolist()
    share = 100 * len(places) / max(1, len(rows))
    words = f"{len(places):,} rows ({share:.1f} %) are longer than the model's {positions} positions and are cut"
    yield from _rows_finding(rows, places, "too_long", words)


def special_text(rows: Sequence[Row], columns: Sequence[str], special: Sequence[str]) -> Iterator[Finding]:
    """Texts that spell a special token of the model, such as [SEP]; hfkit reads them as text, other tools may not."""
    texts = [text for text in special if len(text) > 1]
    places = [
        place
        for place, row in enumerate(rows)
        if any(text in row[name] for name in columns if isinstance(row.get(name), str) for text in texts)
    ]
    if places:
        ids = [rows[place]["id"] for place in places[:SHOWN]]
        words = f"{len(places):,} rows spell a special token of the model, which is read as text"
        yield Finding("note", "special_text", f"{words} {first_ids(ids, len(places))}", len(places), tuple(ids))


def padding_waste(tokens: Tokens, max_length: int) -> dict[str, float]:
    """Shares (0-1) of padding: all padded to `max_length`, as the example scripts do, and to the longest of 16.

    The batches of 16 are drawn by a fixed seed; hfkit groups features of like length instead.
    """
    import numpy as np

    lengths = np.minimum(tokens.lengths, max_length)
    if not len(lengths):
        return {}
    drawn = np.random.default_rng(0).permutation(lengths)
    longest = np.maximum.reduceat(drawn, np.arange(0, len(drawn), BATCH))
    sizes = np.minimum(BATCH, len(drawn) - np.arange(0, len(drawn), BATCH))
    real = float(lengths.sum())
    return {
        "to_max_length": 1 - real / (max_length * len(lengths)),
        "to_longest_of_16": 1 - real / float((longest * sizes).sum()),
    }


def percentiles(tokens: Tokens) -> dict[str, int]:
    """Tokens of a feature: median, 95th and 99th percentile, the most."""
    import numpy as np

    if not len(tokens.lengths):
        return {}
    names = {"median": 50, "p95": 95, "p99": 99, "most": 100}
    return {name: int(np.percentile(tokens.lengths, share, method="higher")) for name, share in names.items()}


def _rows_finding(
    rows: Sequence[Row], places: Sequence[int], code: str, words: str, hint: str | None = None
) -> Iterator[Finding]:
    if places:
        ids: list[Any] = [rows[place]["id"] for place in places[:SHOWN]]
        yield Finding("warning", code, f"{words} {first_ids(ids, len(places))}", len(places), tuple(ids), hint)
