"""`help`: the guides inside the package, one Markdown file a topic."""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from pathlib import Path

from hfkit.errors import UsageError
from hfkit.events import Event

FOLDER = Path(__file__).resolve().parent.parent / "guide"


def topics() -> dict[str, Path]:
    """The file of each guide by its topic."""
    return {path.stem: path for path in sorted(FOLDER.glob("*.md"))}


def list_guides() -> Iterator[Event]:
    """What guides there are, each with its title."""
    found = [{"topic": topic, "about": title(path)} for topic, path in topics().items()]
    yield Event("result", {"topics": found})


def show_guide(topic: str) -> Iterator[Event]:
    """The text of one guide. Raises UsageError."""
    found = topics()
    if topic not in found:
        near = difflib.get_close_matches(topic, found, n=1)
        meant = f"did you mean `hfkit help {near[0]}`? " if near else ""
        raise UsageError(f"no guide named '{topic}'", f"{meant}`hfkit help` lists the guides")
    yield Event("result", {"topic": topic, "text": found[topic].read_text(encoding="utf-8")})


def title(path: Path) -> str:
    """The first heading of a guide, without its mark."""
    for line in path.read_text(encoding="utf-8").splitlines():
        if line.strip():
            return line.lstrip("# ").strip()
    return path.stem
