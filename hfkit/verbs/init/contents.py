"""What stands in a column of a data set whose task is not known yet: labels, numbers or texts."""

from __future__ import annotations

from collections.abc import Sequence

from hfkit.data.columns import cell
from hfkit.data.peek import Peek
from hfkit.tasks.labels import label_text
from hfkit.tasks.targets import number

LABELS = 100  # different values that a column of labels has at most
DISTINCT = 0.5  # share of written texts that differ from each other, at least: labels repeat


def of_one_kind(train: Peek, names: Sequence[str]) -> list[str] | None:
    """Several columns that hold numbers, as targets do; None for others."""
    for record in train.records[:200]:
        for name in names:
            try:
                float(label_text(record.get(name)))
            except ValueError:
                return None
    return list(names)


def few_values(train: Peek, taken: Sequence[str]) -> list[str]:
    """The columns that could be labels: those with few different values."""
    records = train.records[:5000]
    fitting = []
    for name in train.columns:
        values = {label_text(record.get(name)) for record in records if not isinstance(record.get(name), (list, dict))}
        if name not in taken and 2 <= len(values) <= min(LABELS, len(records) // 3):
            fitting.append(name)
    return fitting


def mean_length(train: Peek, name: str) -> float:
    values = [record.get(name) for record in train.records[:200]]
    texts = [value for value in values if isinstance(value, str)]
    return sum(map(len, texts)) / len(texts) if len(texts) > len(values) // 2 else 0.0


def written_texts(train: Peek, name: str) -> bool:
    """Whether a column holds what was written, rather than labels: no numbers, and seldom a value twice."""
    values = [cell(record, name) for record in train.records[:5000]]
    texts = [label_text(value) for value in values if value not in (None, "")]
    plain = not any(isinstance(value, (list, dict)) for value in values)
    if not texts or not plain or all(number(text) is not None for text in texts):
        return False
    return len(set(texts)) > DISTINCT * len(texts)
