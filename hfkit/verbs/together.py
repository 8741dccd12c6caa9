"""Work that the first process of a world does for all. Used by finetune and generate."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from hfkit.errors import HfkitError

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
