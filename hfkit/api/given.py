"""What the functions of this package are given, as the verbs take it; what verbs yield, as the functions return it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from hfkit.events import Event


def shown(command: str, events: Iterator[Event], *, quiet: bool) -> dict[str, Any]:
    """The fields of a verb's result; what it yields before goes to stderr."""
    from hfkit.report import show

    return dict(show(events, command=command, mode="quiet" if quiet else None, data=False))


def split(options: Mapping[str, Any]) -> dict[str, Any]:
    """Options by name as they are; recipe keys (with a dot, or how a model is found) as overrides."""
    from hfkit.recipe.keys import MODEL_KEYS

    keys = {name: value for name, value in options.items() if "." in name or name in MODEL_KEYS}
    rest = {name: value for name, value in options.items() if name not in keys}
    return {**rest, "overrides": [*rest.get("overrides", ()), *key_words(keys)]}


def key_words(keys: Mapping[str, Any]) -> list[str]:
    """KEY=VALUE words; JSON is read back as YAML to the same value."""
    return [f"{key}={json.dumps(value, ensure_ascii=False, default=plain)}" for key, value in keys.items()]


def plain(value: Any) -> Any:
    """numpy numbers as Python's, paths as text."""
    return value.item() if hasattr(value, "item") else str(value)


def alone() -> int | None:
    """1: this process answers alone, however many GPUs there are, unless a launcher started it with others."""
    from hfkit.engine.processes.world import launched

    return None if launched() else 1


def named(data: Any) -> Any:
    """Data as the verbs take it: a path as its text."""
    return str(data) if isinstance(data, Path) else data


def path_of(value: str | Path | None) -> Path | None:
    """A path that may be left out."""
    return None if value is None else Path(value)


def name_of(value: Any) -> str:
    """Runs by their paths, seeds joined by commas, names as they are."""
    if isinstance(value, (list, tuple)):
        return ",".join(map(name_of, value))
    path = getattr(value, "path", None)  # of a FinetunedRun
    return str(value if path is None else path)


def kept(data: Any) -> Any:
    """Names and paths as they are; rows in memory become a file in the cache, named by their content."""
    from hfkit.data.source import is_memory, locate

    if data is None:
        return None
    if not is_memory(data):
        return [str(part) for part in data] if isinstance(data, (list, tuple)) else str(data)
    from hfkit.data.cache import entry
    from hfkit.run import digest

    records = [record for place in locate(data) for record in place.records or ()]
    text = "".join(json.dumps(dict(record), ensure_ascii=False, default=plain) + "\n" for record in records)

    def write(folder: Path) -> None:
        (folder / "rows.jsonl").write_text(text, encoding="utf-8", newline="\n")

    return str(entry("given", digest(text), write) / "rows.jsonl")
