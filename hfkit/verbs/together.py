"""Work that the first process of a world does for all. Used by finetune, generate, eval and predict."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from typing import Any, TypeVar

from hfkit.errors import HfkitError, told
from hfkit.events import Event

T = TypeVar("T")


def together(place: Any, work: Callable[[], T]) -> T:
    """What `work` gives on the main process, for all. What it raises there is raised on all, as `told` makes it."""
    outcome: T | None = None
    failure: Exception | None = None
    if place.world.main:
        try:
            outcome = work()
        except Exception as error:
            failure = error
    outcome, heard = place.gather((outcome, failure and told(failure)))[0]
    if problem := failure or heard:
        raise problem
    return outcome


def dealt(place: Any, work: Callable[[], Sequence[T]]) -> T:
    """This process's part of what `work` gives on the main process: one part for each. Raises as `together` does."""
    parts: list[tuple[T | None, HfkitError | None]] | None = None
    failure: Exception | None = None
    if place.world.main:
        try:
            parts = [(part, None) for part in work()]
        except Exception as error:
            failure, parts = error, [(None, told(error))] * place.world.size
    part, heard = place.scatter(parts)
    if problem := failure or heard:
        raise problem
    return part


def made_for_all(
    place: Any, name: str, work: Generator[Event, None, T], part: Callable[[T], object]
) -> Generator[Event, None, T]:
    """The events of long `work`, and what it returns. `part` of that, or the error that it raises, is told to the
    others, which wait in `made_by_first`. Raises ResourceError when they cannot see its files."""
    try:
        made = yield from work
    except Exception as error:
        place.tell(name, told(error))
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
