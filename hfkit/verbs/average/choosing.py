"""Which models are averaged, chosen by rows with gold: the greedy soup of Wortsman et al. 2022 (recipe 1)."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hfkit.events import Event, note
from hfkit.files import remove_folder
from hfkit.models import Checkpoint, find
from hfkit.tasks.base import LOWER_IS_BETTER, Prediction, Task
from hfkit.tasks.scoring import Measured, measured, score_columns
from hfkit.verbs.answered import said_once
from hfkit.verbs.answering import answering, at_hand
from hfkit.verbs.average.mean import write_mean
from hfkit.verbs.average.members import Member
from hfkit.verbs.compare import headline
from hfkit.verbs.labels import settled
from hfkit.verbs.prepare import rows_of

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from hfkit.data.rows import Rows


@dataclass(frozen=True)
class Scored:
    """What one model said of the rows, and what that is worth. `task` is fitted to the rows."""

    task: Task
    predictions: list[Prediction] = field(repr=False)
    found: Measured = field(repr=False)
    metrics: dict[str, float]


@dataclass(frozen=True)
class Tried:
    """A member: its metrics alone; those of the mean with it, None for the best, which is where the choice begins."""

    number: int  # of the member, as named
    alone: dict[str, float]
    together: dict[str, float] | None
    kept: bool


@dataclass(frozen=True)
class Choice:
    """The members whose mean is taken, by `metric`; the best of all alone, and the mean."""

    metric: str
    tried: list[Tried]  # the best first
    best: Scored
    mean: Scored

    @property
    def kept(self) -> list[int]:
        """The numbers of the members that are averaged, in the order in which they were named."""
        return sorted(one.number for one in self.tried if one.kept)


@dataclass(frozen=True)
class Judge:
    """Scores models on the same rows."""

    task: Task
    rows: Rows
    group: str | None  # the column whose equal values belong together; None: the task's
    how: dict[str, Any]  # cpu, precision, limit
    said: set[str] = field(default_factory=set)

    def score(self, found: Checkpoint) -> Generator[Event, None, Scored]:
        """What this model is worth. Yields events that no model before it had. Raises HfkitError."""
        work = yield from said_once(
            answering(found, self.task, at_hand(self.task, self.rows), processes=1, **self.how), self.said
        )
        task, answers, _ = yield from settled(work.task, work.answers, self.rows)
        predictions = list(answers)
        counted = measured(task, predictions, rows_of(task, self.rows, work.features), group=self.group)
        return Scored(task, predictions, counted, score_columns(task, counted, intervals=False).metrics)


def chosen(
    members: Sequence[Member], tokenizer: PreTrainedTokenizerBase, judge: Judge, trial: Path
) -> Generator[Event, None, Choice]:
    """Begin with the best member alone; from the better to the worse, keep each with which the mean is not worse.

    Means are tried in the folder `trial`, which is gone afterwards. Raises HfkitError.
    """
    alone: list[dict[str, float]] = []
    best: Scored | None = None
    for member in members:
        yield note(f"{member.name} alone")
        scored = yield from judge.score(member.found)
        alone.append(scored.metrics)
        if best is None or _better(scored, best):
            best = scored
    assert best is not None  # there are two members at least
    metric = headline(best.task, best.metrics)
    order = sorted(range(len(members)), key=lambda number: alone[number][metric], reverse=metric not in LOWER_IS_BETTER)
    tried, mean = [Tried(order[0], alone[order[0]], None, kept=True)], best
    for number in order[1:]:
        numbers = sorted([*(one.number for one in tried if one.kept), number])
        yield note(f"the mean of {', '.join(members[each].name for each in numbers)}")
        write_mean([members[each] for each in numbers], tokenizer, trial)
        scored = yield from judge.score(find(str(trial)))
        remove_folder(trial)
        kept = not _better(mean, scored)
        tried.append(Tried(number, alone[number], scored.metrics, kept=kept))
        mean = scored if kept else mean
    return Choice(metric, tried, best, mean)


def _better(one: Scored, other: Scored) -> bool:
    """Whether `one` is better than `other` by the task's headline metric."""
    name = headline(one.task, one.metrics)
    mine, theirs = one.metrics[name], other.metrics[name]
    return mine < theirs if name in LOWER_IS_BETTER else mine > theirs
