"""Scores of predictions of training rows that were held out, and of two on the same rows: one judge of all stages."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from hfkit.metrics.statistics import bootstrap_ci, paired_bootstrap
from hfkit.tasks.base import LOWER_IS_BETTER, Prediction, Task
from hfkit.tasks.scoring import Measured, light_columns, measured

if TYPE_CHECKING:
    from hfkit.data.rows import Rows
    from hfkit.data.submission import Submission

RESAMPLES = 1000
RESAMPLES_OF_MANY = 200  # where each resample draws a column for every label

Said = Mapping[str, Prediction]  # by id


@dataclass(frozen=True)
class Score:
    """A metric on some rows, with its 95 % interval where there is one; None where these rows leave it undefined, as a
    correlation with what is the same for all."""

    value: float | None
    ci95: list[float] | None
    rows: int

    def entry(self) -> dict[str, Any]:
        return {"score": self.value, "ci95": self.ci95, "rows": self.rows}


@dataclass(frozen=True)
class Gain:
    """What one has more than another on the same rows, in the metric's own direction turned so that more is better.

    `metric` names another than the competition's, by which two are compared where that is not defined for both.
    """

    value: float
    ci95: list[float] | None
    rows: int
    against: str
    metric: str | None = None

    @property
    def pays(self) -> bool:
        """Whether it is more than the choice of rows explains."""
        return self.ci95 is not None and self.ci95[0] > 0

    def entry(self) -> dict[str, Any]:
        said = {"difference": self.value, "ci95": self.ci95, "rows": self.rows, "against": self.against}
        return said if self.metric is None else {**said, "metric": self.metric}


@dataclass(frozen=True)
class Judge:
    """The task fitted to the training rows, those rows, the metric, the column whose equal values go together, and the
    sample: numbers are judged as it has them, rounded where it holds whole ones."""

    task: Task
    rows: Rows
    metric: str
    group: str | None
    sample: Submission

    @property
    def sign(self) -> float:
        return sign_of(self.metric)

    @cached_property
    def ids(self) -> list[str]:
        return [row["id"] for row in self.rows]

    def measured(self, said: Said, among: Collection[str] | None = None) -> Measured:
        """What is measured of the training rows that were answered, or of those `among` them."""
        kept = [n for n, name in enumerate(self.ids) if name in said and (among is None or name in among)]
        asked = (self.sample.numbers_as_asked(said[self.ids[n]]) for n in kept)
        return measured(self.task, asked, self.rows.subset(kept), group=self.group)

    def score(self, said: Said, among: Collection[str] | None = None) -> Score:
        """The metric of predictions, on the rows they are about."""
        found = self.measured(said, among)
        columns, resamples = self._columns(found)
        value = self.task.reduce(columns).get(self.metric)
        drawn = bootstrap_ci(columns, self.task.reduce, groups=found.groups, resamples=resamples, keys=[self.metric])
        return Score(value, drawn.get(self.metric), len(found))

    def gain(self, after: Said, before: Said, name: str) -> Gain:
        """What `after` has more than `before`, called `name`, on the rows that both answer.

        Where the metric is not defined for one of them, the task's own headline, or else the first that is, decides:
        the likely answer is the same for all rows, and yet a model has to be compared with it.
        """
        among = after.keys() & before.keys()
        pair = [self.measured(said, among) for said in (before, after)]
        (one, resamples), (other, _) = map(self._columns, pair)
        shared = [key for key in one if key in other]  # a sentence has no score, a span has
        tables = [{key: table[key] for key in shared} for table in (one, other)]
        drawn = paired_bootstrap(tables[:1], tables[1:], self.task.reduce, groups=pair[0].groups, resamples=resamples)
        metric = next(each for each in (self.metric, self.task.headline[0], *drawn) if each in drawn)
        found, sign = drawn[metric], sign_of(metric)
        bounds = sorted(sign * end for end in found["ci95"])  # type: ignore[union-attr]
        instead = None if metric == self.metric else metric
        return Gain(sign * float(found["difference"]), bounds, len(pair[0]), name, instead)  # type: ignore[arg-type]

    def _columns(self, found: Measured) -> tuple[dict[str, np.ndarray], int]:
        """The statistics that the metric needs, without those that are a column for every label if it can be, and how
        often rows are drawn from them."""
        light = light_columns(found.columns)
        if self.metric in self.task.reduce(light):
            return light, RESAMPLES
        return found.columns, RESAMPLES_OF_MANY


def sign_of(metric: str) -> float:
    """-1 where lower is better."""
    return -1.0 if metric in LOWER_IS_BETTER else 1.0
