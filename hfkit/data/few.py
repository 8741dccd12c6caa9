"""Features of a few rows, kept in memory: what is asked once needs neither a cache on disk nor Arrow."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from hfkit.tasks.base import TOKENS, Feature

FEW_ROWS = 100


class FewFeatures:
    """As `hfkit.data.features.Features`.

    `lengths` (features,) int32 counts tokens (targets too), `rows` (features,) int64 is the row each came from.
    """

    def __init__(self, features: Iterable[Feature]) -> None:
        self._features = [{name: _array(value) for name, value in feature.items()} for feature in features]
        self.rows = np.asarray([feature["row"] for feature in self._features], dtype=np.int64)
        sizes = [sum(len(feature.get(name, ())) for name in TOKENS) for feature in self._features]
        self.lengths = np.asarray(sizes, dtype=np.int32)

    def __len__(self) -> int:
        return len(self._features)

    def take(self, indices: Sequence[int]) -> list[Feature]:
        """The features with these numbers, in this order; per-token columns are numpy arrays, numbers are plain."""
        return [self._features[int(index)] for index in indices]


def _array(value: Any) -> Any:
    """Lists as arrays of int32 or float64, as they come back from disk."""
    if not isinstance(value, list):
        return value
    array = np.asarray(value)
    return array.astype(np.float64 if array.dtype.kind == "f" else np.int32)
