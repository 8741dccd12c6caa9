"""Data sets: a name, a path or rows in memory -> rows with the task's columns -> features. Imports stay light."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from hfkit.data.findings import Finding, raise_failures
from hfkit.data.load import describe, load, load_training
from hfkit.data.rows import Rows
from hfkit.files import cache_folder

if TYPE_CHECKING:
    from hfkit.data.features import Features


def encoded(
    rows: Rows, task: Any, tokenizer: Any, *, on_progress: Callable[[int, int], None] | None = None
) -> Features:
    """The features of all rows, from the cache when it holds them; see `hfkit.data.features.encoded`."""
    from hfkit.data import features

    return features.encoded(rows, task, tokenizer, on_progress=on_progress)


__all__ = ["Finding", "Rows", "cache_folder", "describe", "encoded", "load", "load_training", "raise_failures"]
