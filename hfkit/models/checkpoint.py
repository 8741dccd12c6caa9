"""What `find` returns: a checkpoint that was found and checked as files, with nothing of it loaded yet."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Checkpoint:
    """A model that was found.

    `folder` is a local folder with config, weights and tokenizer (None for scratch:NAME until `build_scratch` made
    one); `saved` is the content of hfkit.json beside the weights; `run` is the run folder it came from; `notes` are
    lines that the user should see; `hub` says whether it came from the Hub.
    """

    name: str
    folder: Path | None
    scratch: str | None
    config: dict[str, Any]
    saved: dict[str, Any] | None = None
    run: Path | None = None
    notes: list[str] = field(default_factory=list)
    hub: bool = False
