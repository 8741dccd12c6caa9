"""Pseudo-labelled rows of a recipe: keys checked early, then rows and labels read, encoded and put beside the gold."""

from __future__ import annotations

import json
import shlex
from collections.abc import Generator
from pathlib import Path
from typing import Any

from hfkit.data import describe
from hfkit.data.findings import named, raise_failures
from hfkit.data.pseudo import WithPseudo, targets_of
from hfkit.data.rows import Rows
from hfkit.data.validators import duplicate_ids
from hfkit.errors import UsageError
from hfkit.events import Event, note, warning
from hfkit.files import sha256_of
from hfkit.recipe import Recipe
from hfkit.recipe.keys import Data
from hfkit.recipe.overrides import READING
from hfkit.tasks.base import Task
from hfkit.tasks.labels import label_text
from hfkit.verbs.prepare import features_of
from hfkit.verbs.trained import read_rows


def check_pseudo(recipe: Recipe, task: Task) -> None:
    """Refuse keys that do not go together, and tasks without one class a row. Raises UsageError."""
    data = recipe.data
    if data.pseudo is None:
        if data.pseudo_labels is not None:
            raise UsageError("data.pseudo_labels is set without data.pseudo", "name the rows too: data.pseudo=FILE")
        return
    refuse_task(task)
    if data.pseudo_labels is None:
        raise UsageError(
            "data.pseudo is set without data.pseudo_labels",
            f"make them: `hfkit predict MODEL --data {shlex.quote(data.pseudo)} -o pseudo.jsonl`, with a model that "
            "has not seen the validation rows",
        )


def refuse_task(task: Task) -> None:
    """Raise UsageError for a task whose rows have no single class."""
    if task.head != "sequence-classification" or getattr(task.settings, "target", "single") not in ("auto", "single"):
        raise UsageError(
            "data.pseudo: pseudo-labels are made for classify with one label a row, and for nli", "leave it out"
        )


def without_gold(data: Data, task: Task) -> Data:
    """How the unlabelled rows are read: all of them, and no column looked for that they do not have."""
    gold = {column.name for column in task.columns if column.gold}
    columns = {name: source for name, source in data.columns.items() if name not in gold}
    return data.model_copy(update={"columns": columns, "limit": None})


def reading_keys(data: Data, task: Task) -> list[str]:
    """The KEY=VALUE words that make `hfkit predict` read the unlabelled rows as training does."""
    given = {key: getattr(without_gold(data, task), key) for key in READING}
    return [
        f"data.{key}={json.dumps(value, ensure_ascii=False)}"
        for key, value in given.items()
        if value != Data.model_fields[key].default
    ]


def unlabelled(data: Data, task: Task, *, offline: bool) -> Generator[Event, None, Rows]:
    """The rows of data.pseudo, all of them, without gold columns. Raises DataError when ids repeat."""
    rows = read_rows(task, data.pseudo, without_gold(data, task), gold=False, limit=None, offline=offline)
    yield from (note(f"unlabelled {line}") for line in describe(rows))
    with named(rows):
        raise_failures(duplicate_ids(rows, "failure"))
        yield from map(warning, task.check(rows, training=False))
    return rows


def with_pseudo(
    features: Any, recipe: Recipe, task: Task, tokenizer: Any, *, offline: bool
) -> Generator[Event, None, tuple[Any, dict[str, Any] | None]]:
    """The features of training with pseudo-labelled ones after them, and the facts of these for run.json, or None.

    `task` is resolved; gold columns of the unlabelled rows are not looked at. Raises DataError and UsageError.
    """
    data = recipe.data
    if data.pseudo is None or data.pseudo_labels is None:
        return features, None
    if task.model_config().get("problem_type") != "single_label_classification":
        raise UsageError("data.pseudo: the rows have more than one label, or numbers", "leave it out")
    rows = yield from unlabelled(data, task, offline=offline)
    path = Path(data.pseudo_labels)
    places = {name: place for place, name in task.model_config()["id2label"].items()}
    targets = targets_of(rows, path, places, getattr(task, "class_said", label_text))
    encoded = yield from features_of(rows, task, tokenizer, "encoding pseudo-labelled rows")
    facts = {"name": rows.name, "rows": len(rows), "files": [*rows.files, str(path)]}
    facts |= {"fingerprint": f"{rows.fingerprint[:32]}{sha256_of(path)[:32]}", "columns": rows.mapping}
    return WithPseudo(features, encoded, targets, data.pseudo_weight), facts
