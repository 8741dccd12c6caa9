"""Members averaged: weights fitted on rows that none of them saw, the test rows by the same weights."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from hfkit.tasks.base import Prediction, Row
from hfkit.tasks.blend import blend_of
from hfkit.verbs.compete.judge import Judge
from hfkit.verbs.compete.members import Member, held_out, of_test
from hfkit.verbs.compete.standing import Contender
from hfkit.verbs.ensemble.fitting import fitted

if TYPE_CHECKING:
    from hfkit.data.rows import Rows

LEAST_ROWS = 20  # that weights are fitted on


def together(members: Sequence[Member]) -> list[Member]:
    """The members to average: those known on all rows where there are two, else all, on the rows that they share."""
    whole = [member for member in members if member.whole]
    return whole if len(whole) > 1 else list(members)


def blended(name: str, members: Sequence[Member], judge: Judge, test: Rows, folder: Path) -> Contender | None:
    """The average of members; None where they share too few rows, or only one of them helps.

    What it says of held-out rows comes from weights that were fitted on the other half of these rows.
    """
    said = [held_out(member.finished(folder)) for member in members]
    shared = set.intersection(*(set(one) for one in said))
    places = [place for place, row_id in enumerate(judge.ids) if row_id in shared]
    if len(places) < LEAST_ROWS:
        return None
    rows = judge.rows.subset(places)
    ids = [judge.ids[place] for place in places]
    found = fitted(judge.task, rows, [[one[row_id] for row_id in ids] for one in said], judge.group)
    weights = {
        member.name: weight for member, weight in zip(members, found.mix.weights.tolist(), strict=True) if weight > 0
    }
    if len(weights) < 2:
        return None
    used = [member for member in members if member.name in weights]
    averaged = answers_of(used, list(weights.values()), judge, test, folder)
    return Contender(name, dict(zip(ids, found.predictions, strict=True)), averaged, weights)


def answers_of(
    members: Sequence[Member], shares: Sequence[float], judge: Judge, test: Rows, folder: Path
) -> list[Prediction]:
    """The weighted mean of what members say of the test rows; of a single one what it says."""
    rows: list[Row] = list(test)
    blend = blend_of(judge.task)
    answers = [of_test(member.finished(folder), blend, rows) for member in members]
    if len(answers) == 1:
        return answers[0]
    return [blend.blend(row, each, shares) for row, *each in zip(rows, *answers, strict=True)]
