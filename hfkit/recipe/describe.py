"""Every key below a section as declared: type, range, default and help; for the table of keys and for near misses."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, NamedTuple, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

SIGNS = (
    ("gt", ">"),
    ("ge", ">="),
    ("lt", "<"),
    ("le", "<="),
)  # limits as pydantic keeps them, and as people write them


class Key(NamedTuple):
    """One recipe key. `default` is PydanticUndefined where a value must be given, `range` empty where all are right."""

    key: str
    type: str
    range: str
    default: Any
    help: str

    @property
    def required(self) -> bool:
        """Whether there is no default."""
        return self.default is PydanticUndefined


def describe(model: type[BaseModel], prefix: str = "") -> Iterator[Key]:
    """Every key below a section, for `hfkit recipes show NAME --keys`."""
    for name, field in model.model_fields.items():
        if name in ("settings", "name"):
            continue
        nested = field.annotation
        if isinstance(nested, type) and issubclass(nested, BaseModel):
            yield from describe(nested, f"{prefix}{name}.")
        else:
            limits = [*_limits(field.metadata), *_limits_inside(nested)]
            kind = " | ".join(_types(nested))
            yield Key(f"{prefix}{name}", kind, ", ".join(limits), field.get_default(), field.description or "")


def is_text(field: FieldInfo) -> bool:
    """Whether a key takes any text, and nothing else but null."""
    kinds = set(_types(field.annotation))
    return "str" in kinds and kinds <= {"str", "null"}


def _types(annotation: Any) -> Iterator[str]:
    """The types and words that a value may be, in their order."""
    origin = get_origin(annotation)
    if origin is Annotated:
        yield from _types(get_args(annotation)[0])
    elif origin in (Union, UnionType):
        for option in get_args(annotation):
            yield from _types(option)
    elif origin is Literal:
        yield from map(str, get_args(annotation))
    elif annotation is NoneType:
        yield "null"
    else:
        yield str(annotation) if origin else getattr(annotation, "__name__", str(annotation))


def _limits_inside(annotation: Any) -> Iterator[str]:
    """Limits that stand in the type itself: those of `PositiveInt` in `Auto | PositiveInt`."""
    if get_origin(annotation) is Annotated:
        yield from _limits(get_args(annotation)[1:])
    elif get_origin(annotation) in (Union, UnionType):
        for option in get_args(annotation):
            yield from _limits_inside(option)


def _limits(metadata: Sequence[Any]) -> Iterator[str]:
    for item in metadata:
        if isinstance(item, FieldInfo):
            yield from _limits(item.metadata)
            continue
        for name, sign in SIGNS:
            if getattr(item, name, None) is not None:
                yield f"{sign} {getattr(item, name):g}"
