"""What the verbs call for rows: one data set, or training and validation rows together; `Loading` does the reading."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from hfkit.data import folds
from hfkit.data import split as splitting
from hfkit.data.loading import PAIR, Loading
from hfkit.data.place import Place
from hfkit.data.rows import Rows
from hfkit.data.source import locate, own_validation
from hfkit.data.validators import overlap, rows_text
from hfkit.errors import DataError, UsageError
from hfkit.recipe.keys import Data
from hfkit.tasks.base import Column


def load(
    spec: Any,
    *,
    columns: tuple[Column, ...],
    settings: Data,
    split: str | None = None,
    need_gold: bool,
    limit: int | None = None,
    offline: bool = False,
) -> Rows:
    """The rows of a data set with the task's columns.

    `spec` is a file, a folder, shipped:NAME, a Hub name owner/name[@config][:split], "a.en,a.de", a list of those, a
    list of mappings, or a DataFrame. `split` matters only where a set has several. Without `need_gold` gold columns may
    be absent. Raises DataError, NetworkError, UsageError.
    """
    if isinstance(spec, Rows):
        return splitting.limited(spec, limit)
    places = locate(spec, split)
    return splitting.limited(Loading(places, _name(spec, places), columns, settings, need_gold, offline).rows(), limit)


def load_training(
    settings: Data, *, columns: tuple[Column, ...], group: str | None, offline: bool = False
) -> tuple[Rows, Rows, list[str]]:
    """Training rows, validation rows, and lines to show.

    Validation is data.validation, else the set's own (of several sets, those of all), else a share of train (grouped,
    by a fixed salt; the contiguous tail for running text); data.folds and data.fold hold out a fold of train.
    data.limit draws from each of both, with folds from train before it is divided.
    """
    if settings.train is None:
        raise UsageError("no training data: data.train is not set", "give --train, or data.train in the recipe")
    folds.check_folds(settings)
    train = load(settings.train, columns=columns, settings=settings, split="train", need_gold=True, offline=offline)
    lines = describe(train)
    if folds.asks_for_folds(settings):
        train, validation, line = folds.fold(splitting.limited(train, settings.limit), settings, group, columns=columns)
        lines += [line, *_idle(settings, ("validation_share",), "a fold is held out")]
        if settings.fold_column is not None:
            lines += _idle(settings, ("group",), "data.fold_column says what is held out")
    else:
        places = None
        if settings.validation is None:
            places = own_validation(settings.train, offline=offline, say=lines.append)
        if settings.validation is not None or places:
            places = places or locate(settings.validation, "validation")
            name = _name(settings.validation, places) if settings.validation is not None else _places_name(places)
            validation = Loading(places, name, columns, settings, True, offline).rows()
            said = any(line.endswith(PAIR) for line in lines)  # the key is one, whatever is read by it
            lines += [f"validation {line}" for line in describe(validation) if not (said and line.endswith(PAIR))]
            lines += _idle(settings, ("validation_share", "group"), "validation data is there")
        else:
            train, validation, line = splitting.share(train, settings, group, columns=columns)
            lines.append(line)
    lines += _overlap(train, validation, columns, settings.max_overlap)
    return splitting.limited(train, settings.limit), splitting.limited(validation, settings.limit), lines


def _idle(settings: Data, keys: Sequence[str], why: str) -> list[str]:
    """A line for each key that is set and changes nothing here."""
    given = [key for key in keys if getattr(settings, key) != Data.model_fields[key].default]
    return [f"data.{key} has no effect: {why}" for key in given]


def _overlap(train: Rows, validation: Rows, columns: tuple[Column, ...], most: float | None) -> list[str]:
    """A line on validation rows that stand in train too. Raises DataError beyond data.max_overlap."""
    if train.stream or validation.stream:
        return []
    names = [
        column.name for column in columns if column.name in train.mapping and column.name != "id" and not column.gold
    ]
    findings = list(overlap(train, validation, names))
    for finding in findings:
        if most is not None and finding.count > most * len(validation):
            raise DataError(f"{finding.message}: more than data.max_overlap={most:g}", "take them out of one")
    return [finding.message for finding in findings]


def describe(rows: Rows) -> list[str]:
    """Lines on how a set was read: its rows and columns, what was noted, what was skipped."""
    mapped = ", ".join(f"{name}={source}" for name, source in rows.mapping.items())
    return [f"data {rows.name}: {rows_text(len(rows))}, columns {mapped}", *rows.notes]


def _name(spec: Any, places: Sequence[Place]) -> str:
    if isinstance(spec, str) and len(places) > 1:
        return spec
    return _places_name(places)


def _places_name(places: Sequence[Place]) -> str:
    names = [place.name for place in places]
    return ", ".join(names[:4]) + (f" and {len(names) - 4} more" if len(names) > 4 else "")
