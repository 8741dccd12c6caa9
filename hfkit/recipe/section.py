"""The base of every recipe section: frozen, strict, each key with a default, a type, a range and one line of help."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field

Auto = Literal["auto"]


class Section(BaseModel):
    """A group of recipe keys. Unknown keys are errors; values are checked once, when the recipe is read."""

    # keys that ask for more to be written this once: a saved model does not carry them on
    on_request: ClassVar[frozenset[str]] = frozenset()
    # of a task: the keys that act where answers which were given before are scored; None: any may
    of_scoring: ClassVar[frozenset[str] | None] = None

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        validate_default=True,
        protected_namespaces=(),
        allow_inf_nan=False,
        defer_build=True,  # a command uses few of the sections
    )


def key(default: Any, help: str, **limits: Any) -> Any:
    """A recipe key: its default, its one line of help, and pydantic limits such as `ge=1`.

    A key that may be "auto" carries its limit in the type (`Auto | PositiveInt`): a limit would be put to the word.
    """
    return Field(default=default, description=help, **limits)
