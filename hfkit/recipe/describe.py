"""Every key below a section with its type, default and help, as declared; for the table of keys and for near misses."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, get_args

from pydantic import BaseModel


def describe(model: type[BaseModel], prefix: str = "") -> Iterator[tuple[str, str, Any, str]]:
    """(key, type, default, help) of every key below a section, for `hfkit recipes show NAME --keys`."""
    for name, field in model.model_fields.items():
        if name in ("settings", "name"):
            continue
        nested = field.annotation
        if isinstance(nested, type) and issubclass(nested, BaseModel):
            yield from describe(nested, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", _type_name(nested), field.get_default(), field.description or ""


def _type_name(annotation: Any) -> str:
    options = get_args(annotation)
    if options and all(isinstance(o, str) for o in options):
        return " | ".join(options)
    if options and getattr(annotation, "__origin__", None) is None:
        return " | ".join("null" if o is type(None) else _type_name(o) for o in options)
    if options and getattr(annotation, "__origin__", None) not in (list, dict):
        return _type_name(options[0])
    return str(annotation) if options else getattr(annotation, "__name__", str(annotation))
