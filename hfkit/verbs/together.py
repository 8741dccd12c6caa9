"""Work that the first process of a world does for all. Used by finetune, generate, eval and predict."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from typing import Any, TypeVar

from hfkit.errors import HfkitError
from hfkit.events import Event

T = TypeVar("T")


def together(place: Any, work: Callable[[], T]) -> T:
    """What `work` gives on the main process, told to all. Raises on all what it raises there."""
    outcome: T | None = None
    failure: HfkitError | None = None
    if place.world.main:
        try:
            outcome = work()
        except HfkitError as error:
            failure = error
    outcome, failure = place.gather((outcome, failure))[0]
    if failure is not None:
        raise failure
    return outcome


def dealt(place: Any, work: Callable[[], Sequence[T]]) -> T:
    """This process's part of what `work` gives on the main process: one part for each. Raises on all what it raises."""
    parts: list[tuple[T | None, HfkitError | None]] | None = None
    if place.world.main:
        try:
            parts = [(part, None) for part in work()]
        except HfkitError as error:
            parts = [(None, error)] * place.world.size
    part, failure = place.scatter(parts)
    if failure is not None:
        raise failure
    return part


def made_for_all(
    place: Any, name: str, work: Generator[Event, None, T], part: Callable[[T], object]
) -> Generator[Event, None, T]:
    """The events of long `work`, and what it returns. `part` of that, or the error that it raises, is told to the
    others, which wait in `made_by_first`. Raises ResourceError when they cannot see its files."""
    try:
        made = yield from work
    except HfkitError as error:
        place.tell(name, error)
        raise
    place.tell(name, part(made))
    return made


def made_by_first(place: Any, name: str) -> Any:
    """What the first process made under this name. Raises the error that it met, and ResourceError when it is gone, or
    its files are not to be seen here."""
    made = place.hear(name)
    if isinstance(made, HfkitError):
        raise made
    return made
