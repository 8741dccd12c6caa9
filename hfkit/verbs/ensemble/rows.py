"""The rows that weights are fitted on, with what every member says of them: out of fold, or answered now."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from typing import TYPE_CHECKING, Any

from hfkit.data import describe, load
from hfkit.data.findings import named, raise_failures
from hfkit.data.predictions import read_predictions
from hfkit.data.split import limited
from hfkit.data.validators import duplicate_ids
from hfkit.errors import DataError, UsageError
from hfkit.events import Event, note, warning
from hfkit.recipe.keys import Data
from hfkit.recipe.load import load as load_recipe
from hfkit.tasks.base import Prediction, Task
from hfkit.tasks.blend import blend_of
from hfkit.verbs.answered import parts_answered
from hfkit.verbs.cv.oof import NAME
from hfkit.verbs.ensemble.members import Member, facts_of
from hfkit.verbs.evaluate import refuse_without_gold
from hfkit.verbs.trained import read_rows

if TYPE_CHECKING:
    from hfkit.data.rows import Rows

# the task fitted to the rows, the rows, what each member says of them, the column that groups them if not the task's
Found = Generator[Event, None, tuple["Task", "Rows", list[list[Prediction]], str | None]]


def out_of_fold(members: Sequence[Member], *, offline: bool) -> Found:
    """The task, the training rows, and each cross-validation's oof.jsonl in their order. Raises DataError."""
    plain = [member.name for member in members if member.folds is None]
    if plain:
        raise UsageError(
            f"{', '.join(plain[:3])}: no out-of-fold predictions to fit weights on",
            "give rows with gold that no member was trained on: --data D; or weigh all alike: --equal",
        )
    task, folders = members[0].task, [member.folds for member in members if member.folds is not None]
    recipe = load_recipe(str(folders[0] / "recipe.yaml"))
    rows = load(
        recipe.data.train, columns=task.columns, settings=recipe.data, split="train", need_gold=True,
        offline=offline,
    )  # fmt: skip
    yield from map(note, describe(rows))
    rows = limited(rows, recipe.data.limit)
    said = [read_predictions(folder / NAME) for folder in folders]
    by_id = [{item["id"]: item for item in one} for one in said]
    rows = rows.subset([number for number, row in enumerate(rows) if row["id"] in by_id[0]])
    for folder, found in zip(folders, by_id, strict=True):
        if len(found) != len(rows) or any(row["id"] not in found for row in rows):
            raise DataError(
                f"{folder / NAME}: {len(found):,} ids, not those of {folders[0] / NAME} and {rows.name}",
                "cross-validate on the same rows, or give --data D",
            )
        if facts_of(folder).get("data_fingerprint") != rows.fingerprint:
            raise DataError(
                f"{rows.name} is not what {folder} was trained on", "put the data back, or give --data D"
            )
    bound, _ = task.adopt(rows, None)
    return bound, rows, [[found[row["id"]] for row in rows] for found in by_id], recipe.data.group


def answered_now(
    members: Sequence[Member],
    data: Any,
    settings: Data,
    *,
    limit: int | None,
    overrides: Sequence[str],
    offline: bool,
    **how: Any,
) -> Found:
    """The task, the rows of `data`, and what each member says of them: the mean of its models."""
    task = members[0].task
    rows = read_rows(task, data, settings, gold=True, limit=limit, offline=offline)
    yield from map(note, describe(rows))
    with named(rows):
        raise_failures(duplicate_ids(rows, "failure"))
        yield from map(warning, task.check(rows, training=False))
    refuse_without_gold(task, rows)
    bound, _ = task.adopt(rows, None)
    keeping = blend_of(blend_of(bound).keeping())
    said = []
    for member in members:
        yield note(f"member {member.name}")
        made = yield from parts_answered(member.parts, bound, rows, overrides=overrides, offline=offline, **how)
        weights = [part.weight for part in member.parts]
        answers = zip(rows, *(one.answers for one in made), strict=True)
        said.append([keeping.blend(row, each, weights) for row, *each in answers])
    return bound, rows, said, settings.group


