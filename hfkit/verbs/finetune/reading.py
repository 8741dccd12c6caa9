"""Of several processes the first reads, checks and encodes; the others wait, and open what it made."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import replace
from typing import Any

from hfkit.errors import HfkitError
from hfkit.events import Event
from hfkit.models import find
from hfkit.recipe import Recipe
from hfkit.verbs.finetune.ready import Ready

KEY = "hfkit/ready"


def told_to_others(place: Any, work: Generator[Event, None, Ready]) -> Generator[Event, None, Ready]:
    """The events of `work`; what it returns, or the error it raises, is told to those that wait in `told`."""
    try:
        ready = yield from work
    except HfkitError as error:
        place.tell(KEY, error, last=True)
        raise
    place.tell(KEY, replace(ready, place=None, train_rows=ready.train_rows.without_rows()))
    return ready


def told(place: Any, recipe: Recipe, *, offline: bool) -> Ready:
    """What the first process made ready; data is mapped from its files, and nothing is read through.

    The model is looked up anew, since machines may keep it in different places. Raises the error that the first process
    met, and ResourceError when its files are not to be seen here.
    """
    ready = place.hear(KEY)
    if isinstance(ready, HfkitError):
        raise ready
    found = ready.found
    if not found.scratch:
        found = find(recipe.model, revision=recipe.model_revision, convert=recipe.convert, offline=offline)
    return replace(ready, place=place, found=found)
