"""Rows without their premise, for the baseline of what the hypothesis alone gives away (Gururangan et al. 2018).

The premise is emptied, not dropped: the hypothesis keeps the place in the pair that the model knows it in.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from hfkit.tasks.base import Row


class HypothesisOnly(Sequence[Row]):
    """Rows whose premise is empty, made as they are asked for."""

    def __init__(self, rows: Sequence[Row]) -> None:
        self._rows = rows

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, index: Any) -> Any:
        return without_premise(self._rows[index])


def without_premise(row: Row) -> Row:
    """The row with an empty premise."""
    return {**row, "premise": ""}
