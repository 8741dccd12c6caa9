"""Which models are averaged, chosen by rows with gold: the greedy soup of Wortsman et al. 2022 (recipe 1)."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hfkit.events import Event, note
from hfkit.files import remove_folder
from hfkit.models import Checkpoint
from hfkit.recipe.keys import Data
from hfkit.tasks.base import LOWER_IS_BETTER, Prediction, Task
from hfkit.tasks.scoring import Measured, measured, score_columns
from hfkit.verbs.answered import said_once
from hfkit.verbs.answering import answering, at_hand
from hfkit.verbs.average.mean import write_mean
from hfkit.verbs.average.members import Member
from hfkit.verbs.compare import headline
from hfkit.verbs.labels import settled
from hfkit.verbs.prepare import rows_of
from hfkit.verbs.trained import find_trained, with_shots

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

    def rank(self) -> float:
        """The headline metric, turned so that more is better; what is no number is worst of all."""
        name = headline(self.task, self.metrics)
        value = -self.metrics[name] if name in LOWER_IS_BETTER else self.metrics[name]
        return value if value == value else float("-inf")


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
    """Scores models on the same rows, each by the settings that it was saved with and those of the command line."""

    rows: Rows
    settings: Data  # how the rows are read
    overrides: Sequence[str]
    offline: bool
    how: dict[str, Any]  # cpu, precision, limit
    said: set[str] = field(default_factory=set)

    def score(self, found: Checkpoint, task: Task) -> Generator[Event, None, Scored]:
        """What this model is worth. Yields events that no model before it had. Raises HfkitError."""
        task = with_shots(task, self.settings, offline=self.offline)
        work = answering(found, task, at_hand(task, self.rows), processes=1, **self.how)
        made = yield from said_once(work, self.said)
        task, answers, _ = yield from settled(made.task, made.answers, self.rows)
        predictions = list(answers)
        counted = measured(task, predictions, rows_of(task, self.rows, made.features), group=self.settings.group)
        return Scored(task, predictions, counted, score_columns(task, counted, intervals=False).metrics)

    def score_folder(self, folder: Path) -> Generator[Event, None, Scored]:
        """The same of the model in a folder."""
        keys = [text for text in self.overrides if not text.startswith("data.")]  # which say how the rows were read
        found, _, task, _ = find_trained(str(folder), None, keys, offline=self.offline)
        return (yield from self.score(found, task))


def chosen(
    members: Sequence[Member], tokenizer: PreTrainedTokenizerBase, judge: Judge, trial: Path
) -> Generator[Event, None, Choice]:
    """Begin with the best member alone; from the better to the worse, keep each with which the mean is not worse.

    Means are tried in the folder `trial`, which is gone afterwards. Raises HfkitError.
    """
    alone: list[dict[str, float]] = []
    ranks: list[float] = []
    best: Scored | None = None
    for member in members:
        yield note(f"{member.name} alone")
        scored = yield from judge.score(member.found, member.task)
        alone.append(scored.metrics)
        ranks.append(scored.rank())
        if best is None or scored.rank() > best.rank():
            best = scored
    assert best is not None  # there are two members at least
    order = sorted(range(len(members)), key=lambda number: -ranks[number])
    tried, mean = [Tried(order[0], alone[order[0]], None, kept=True)], best
    for number in order[1:]:
        numbers = sorted([*(one.number for one in tried if one.kept), number])
        yield note(f"the mean of {', '.join(members[each].name for each in numbers)}")
        write_mean([members[each] for each in numbers], tokenizer, trial)
        scored = yield from judge.score_folder(trial)
        remove_folder(trial)
        kept = scored.rank() >= mean.rank() > float("-inf")
        tried.append(Tried(number, alone[number], scored.metrics, kept=kept))
        mean = scored if kept else mean
    return Choice(headline(best.task, best.metrics), tried, best, mean)
