"""Where rows come from, as values: a file, a Hub data set, records; and what the parts of a data set are called."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

SPLITS = {
    "train": ("train", "training"),
    "validation": ("validation", "valid", "val", "dev", "eval"),
    "test": ("test",),
}


@dataclass(frozen=True, slots=True)
class HubName:
    """A data set on the Hub: owner/name[@config][:split]."""

    repo: str
    config: str | None
    split: str | None


@dataclass(frozen=True, slots=True)
class Place:
    """One place that rows come from: a file, a pair of files, a Hub data set, or records in memory."""

    name: str
    files: tuple[Path, ...] = ()  # one, or two line-aligned ones
    hub: HubName | None = None
    records: Sequence[Mapping[str, Any]] | None = None
