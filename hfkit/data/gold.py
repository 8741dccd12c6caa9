"""How often each label occurs, and labels that are too rare or in one part only. Beside validators."""

from __future__ import annotations

import difflib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from hfkit.data.findings import SHOWN, Finding
from hfkit.data.validators import first_ids

if TYPE_CHECKING:
    from hfkit.tasks.base import Row

FEW = 5  # rows; a label with fewer can hardly be learnt
COMMON = 10  # times as many rows that the median label has where a rare one is called so
MANY = 100  # different values: then they are rather numbers to predict, or texts


def label_counts(rows: Sequence[Row]) -> Counter[str]:
    """Rows by label, as text; members of lists and columns that are 1 count by their names, null as ""."""
    counts: Counter[str] = Counter()
    for row in rows:
        counts.update(_names(row.get("label")))
    return counts


def _names(value: object) -> list[str]:
    """The labels of one row, as text."""
    from hfkit.tasks.labels import label_text

    if isinstance(value, Mapping):
        return [name for name, cell in value.items() if label_text(cell) == "1"]
    return list(map(label_text, value)) if isinstance(value, (list, tuple)) else [label_text(value)]


def rare_labels(rows: Sequence[Row], counts: Counter[str]) -> Iterator[Finding]:
    """Labels with under 5 rows where others have many; one that is nearly another's name is called a slip."""
    if not 2 <= len(counts) <= MANY:
        return
    ordered = sorted(counts.values())
    if ordered[len(ordered) // 2] < COMMON * FEW:
        return
    rare = {name: times for name, times in counts.items() if times < FEW and name.strip()}
    if not rare:
        return
    common = [name for name in counts if name not in rare]
    shown = []
    for name, times in sorted(rare.items())[:8]:
        near = difflib.get_close_matches(name, common, 1, cutoff=0.8)
        shown.append(f"{name} {times}" + (f" (a slip for {near[0]}?)" if near else ""))
    places = [row["id"] for row in rows if not rare.keys().isdisjoint(_names(row.get("label")))]
    more = f", and {len(rare) - 8} more" if len(rare) > 8 else ""
    message = f"labels with fewer than {FEW} rows: {', '.join(shown)}{more} {first_ids(places, len(places))}"
    yield Finding("warning", "rare_labels", message, len(places), tuple(places[:SHOWN]))


def unseen_labels(train: Counter[str], rows: Sequence[Row]) -> Iterator[Finding]:
    """Validation rows with a label that no training row has."""
    from hfkit.tasks.labels import label_text

    strange = [(row["id"], label_text(row["label"])) for row in rows if isinstance(row.get("label"), (str, int))]
    strange = [(name, label) for name, label in strange if label and label not in train]
    if strange:
        labels = sorted({label for _, label in strange})
        ids = [name for name, _ in strange]
        more = f", and {len(labels) - 8} more" if len(labels) > 8 else ""
        message = f"validation has labels without a training row: {', '.join(labels[:8])}{more}"
        yield Finding("failure", "unseen_labels", f"{message} {first_ids(ids, len(ids))}", len(ids), tuple(ids[:SHOWN]))
