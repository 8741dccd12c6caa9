"""What eval and score say about labels: orders that were tried, how labels were read, doubts, the majority baseline."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from hfkit.errors import UsageError
from hfkit.events import Event, note, resolved, warning
from hfkit.tasks.doctor import label_doubts, label_fields, majority, settle_labels
from hfkit.tasks.nli.task import NLI

if TYPE_CHECKING:
    import numpy as np

    from hfkit.tasks.base import Prediction, Row, Task


def settled(
    task: Task, predictions: Sequence[Prediction], rows: Sequence[Row]
) -> Generator[Event, None, tuple[Task, list[Prediction], dict[str, Any]]]:
    """The task and predictions whose labels have a name, and the fields of the result that say how they were read.

    Yields the orders that were tried. Raises ModelError when none fits.
    """
    task, predictions, tested = settle_labels(task, predictions, rows)
    if tested is not None:
        yield from map(note, tested.lines())
        yield resolved("nli.model_labels", tested.best, tested.why())
    return task, predictions, label_fields(task, tested)


def doubts(task: Task, columns: Mapping[str, np.ndarray]) -> Iterator[Event]:
    """A warning where another order of the classes fits gold far better than the one that was scored."""
    yield from map(warning, label_doubts(task, columns))


def majority_baseline(
    task: Task, columns: Mapping[str, np.ndarray], name: str
) -> Generator[Event, None, dict[str, Any]]:
    """The field `baselines` of a result: always saying the most frequent class of the rows. Yields its scores."""
    said, metrics = majority(task, columns)
    yield Event(
        "scored",
        {"name": f"majority baseline on {name}: always {said}", "rows": len(columns["gold"]), "metrics": metrics},
    )
    return {"baselines": {"majority": {"prediction": said, "metrics": metrics}}}


def without_premise(task: Task) -> Task:
    """The task as `--hypothesis-only` wants it. Raises UsageError for tasks that have no premise."""
    if not isinstance(task, NLI):
        raise UsageError(f"--hypothesis-only leaves out the premise, and {task.name} has none", "leave the flag out")
    return NLI(task.settings.model_copy(update={"hypothesis_only": True}))


def check_majority(task: Task) -> None:
    """Raise UsageError where `--majority` has nothing to count, before a model is loaded."""
    if task.head != "sequence-classification" or getattr(task.settings, "target", None) in ("multi", "regression"):
        raise UsageError(
            f"--majority is for one label a row, and this {task.name} model gives something else", "leave the flag out"
        )
