"""Which rows are measured where all of them would take long."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TypeVar

import numpy as np

MEASURED = 20_000
Item = TypeVar("Item")


def some(rows: Sequence[Item], most: int = MEASURED) -> Iterator[Item]:
    """At most `most` rows in their order: a random draw, the same for equally many rows.

    Every so-many-th row would not do: in Multi30k, of 29,000 English sentences, 4.4 % have over 24 tokens, and of every
    second one 0.5 %.
    """
    numbers = np.arange(len(rows))
    if len(rows) > most:
        numbers = np.sort(np.random.default_rng(0).choice(numbers, most, replace=False))
    return (rows[number] for number in numbers.tolist())
