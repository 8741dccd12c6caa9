"""What `find` returns: a checkpoint that was found and checked as files, with nothing of it loaded yet."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Part:
    """One model of an ensemble: its folder, its share of the average, the sha256 of its weights."""

    folder: Path
    weight: float
    sha256: str | None


@dataclass(frozen=True)
class Checkpoint:
    """A model that was found.

    `folder` is a local folder with config, weights and tokenizer (None for scratch:NAME until `build_scratch` made
    one); `saved` is the content of hfkit.json beside the weights; `run` is the run folder it came from; `notes` are
    lines that the user should see; `hub` says whether it came from the Hub. An ensemble has `parts`, no config and no
    weights of its own; its `saved` is the content of ensemble.json.
    """

    name: str
    folder: Path | None
    scratch: str | None
    config: dict[str, Any]
    saved: dict[str, Any] | None = None
    run: Path | None = None
    notes: list[str] = field(default_factory=list)
    hub: bool = False
    parts: list[Part] = field(default_factory=list)
