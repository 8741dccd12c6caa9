"""Of several processes the first reads, checks and encodes; the others wait, and open what it made."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import replace
from typing import Any

from hfkit.events import Event
from hfkit.models import find
from hfkit.recipe import Recipe
from hfkit.verbs.finetune.ready import Ready
from hfkit.verbs.together import made_by_first, made_for_all

KEY = "hfkit/ready"


def told_to_others(place: Any, work: Generator[Event, None, Ready]) -> Generator[Event, None, Ready]:
    """The events of `work`; what it returns, or the error it raises, is told to those that wait in `told`."""

    def needed(ready: Ready) -> Ready:
        return replace(ready, place=None, train_rows=ready.train_rows.without_rows())

    return (yield from made_for_all(place, KEY, work, needed))


def told(place: Any, recipe: Recipe, *, offline: bool) -> Ready:
    """What the first process made ready; data is mapped from its files, and nothing is read through.

    The model is looked up anew, since machines may keep it in different places. Raises what `made_by_first` does.
    """
    ready: Ready = made_by_first(place, KEY)
    found = ready.found
    if not found.scratch:
        found = find(recipe.model, revision=recipe.model_revision, convert=recipe.convert, offline=offline)
    return replace(ready, place=place, found=found)
