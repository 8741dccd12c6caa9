"""The label doctor: what eval and score ask about the labels of data and model before they believe a number.

Stands beside scoring: it finds out what labels without a name mean, says how labels were read, calls out an accuracy
that another order of the classes would mend, and gives the score of always saying one class.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from hfkit.errors import UsageError
from hfkit.metrics.classification import confusion, permutation_accuracies
from hfkit.tasks import labels as names
from hfkit.tasks.base import Prediction, Row, Task
from hfkit.tasks.classify.task import Classify
from hfkit.tasks.nli.measures import two_way
from hfkit.tasks.nli.orders import Tested, labels_said, renamed, try_orders
from hfkit.tasks.nli.task import NLI

FEW = 20  # rows that say nothing about an order
GAIN = 10.0  # percent points of accuracy that another order must bring to be called out
CERTAIN = 4.0  # standard errors that it must be ahead (McNemar's statistic)
MOST_ORDERS = 6  # classes up to which all orders are tried; above, the likeliest one

Order = tuple[int, ...]  # Order[predicted class] = the class that it is read as


def settle_labels(
    task: Task, predictions: Sequence[Prediction], rows: Sequence[Row]
) -> tuple[Task, list[Prediction], Tested | None]:
    """The task and predictions with classes in place of labels that `nli.model_labels=auto` asks to find out.

    Raises ModelError when no order of the labels fits the rows certainly better than the others.
    """
    if not isinstance(task, NLI):
        return task, list(predictions), None
    labels = labels_said(task, predictions)
    if task.settings.model_labels != "auto" or all(map(names.meaning, labels)):
        return task.saying(labels), list(predictions), None
    tested = try_orders(task, labels, predictions, rows)
    return task.saying(labels, tested.best), [renamed(item, tested.best) for item in predictions], tested


def label_fields(task: Task, tested: Tested | None = None) -> dict[str, Any]:
    """`labels` of a result object: how those of data and model were read; the orders that were tried."""
    if not isinstance(task, NLI):
        return {}
    orders = [{"labels": order, "accuracy": accuracy} for order, accuracy in tested.orders] if tested else None
    return {"labels": {**task.label_map, **({"tried": orders} if orders else {})}}


def label_doubts(task: Task, columns: Mapping[str, np.ndarray]) -> list[str]:
    """A line where another order of the classes fits gold far better than the one that was scored."""
    classes = _classes(task, columns)
    if classes is None or len(columns["gold"]) < FEW:
        return []
    gold, said = (np.asarray(columns[name]).astype(np.int64) for name in ("gold", "predicted"))
    given, orders = _orders(task, columns, gold, said, len(classes))
    if isinstance(task, NLI) and two_way(columns):
        gold = (gold > 0).astype(np.int64)
    best = max(orders, key=lambda order: orders[order])
    own, other = np.asarray(given)[said] == gold, np.asarray(best)[said] == gold
    ahead, behind = int((other & ~own).sum()), int((own & ~other).sum())
    constant = 100 * np.bincount(gold).max() / len(gold)
    now, then = 100 * float(own.mean()), 100 * float(other.mean())
    if then - now < GAIN or then <= constant or ahead - behind <= CERTAIN * np.sqrt(ahead + behind):
        return []
    target = names.TWO_WAY if isinstance(task, NLI) and two_way(columns) else classes
    seen = [place for place in range(len(best)) if (said == place).any() and best[place] != given[place]]
    moved = ", ".join(f"{classes[place]} as {target[best[place]]}" for place in seen[:8])
    chance = 100 / len(set(given))
    below = f", below chance ({chance:.1f})" if now < chance else ""
    keys = "nli.labels and nli.model_labels say" if isinstance(task, NLI) else "classify.labels says"
    return [
        f"accuracy is {now:.1f}{below}, and would be {then:.1f} if the predictions were read in another order "
        f"({moved}): the labels of data or model are probably not what they are taken for; {keys} how they are read"
    ]


def majority(task: Task, columns: Mapping[str, np.ndarray]) -> tuple[str, dict[str, float]]:
    """(class, metrics) of always saying the most frequent gold class of these rows. Raises UsageError."""
    classes = _classes(task, columns)
    if classes is None:
        raise UsageError(
            f"the majority baseline is for one label a row, which {task.name} does not have here", "leave it out"
        )
    gold = np.asarray(columns["gold"]).astype(np.int64)
    most = int(np.bincount(gold).argmax())
    constant = {name: values for name, values in columns.items() if not name.startswith("p_")}
    constant["predicted"] = np.full(len(gold), most, dtype=np.float64)
    return classes[most], task.reduce(constant)


def _classes(task: Task, columns: Mapping[str, np.ndarray]) -> Sequence[str] | None:
    """The names of the places in `gold` and `predicted`, None for what has not one label a row."""
    if "gold" not in columns or "predicted" not in columns:
        return None
    if isinstance(task, NLI):
        return names.CLASSES
    count = int(columns["classes"][0]) if "classes" in columns else int(columns["gold"].max()) + 1
    known: list[str] = task.label_order if isinstance(task, Classify) else []
    return known if len(known) == count else [f"class {place}" for place in range(count)]


def _orders(
    task: Task, columns: Mapping[str, np.ndarray], gold: np.ndarray, said: np.ndarray, count: int
) -> tuple[Order, dict[Order, float]]:
    """(the order that was scored, orders to compare with it and their accuracy)."""
    if isinstance(task, NLI) and two_way(columns):  # each class that a three-way model says may be the entailment
        given = (0, *[1] * (count - 1))
        each = [tuple(0 if place == first else 1 for place in range(count)) for first in range(count)]
        return given, {order: float(np.mean(np.asarray(order)[said] == (gold > 0))) for order in each}
    count = len(names.THREE_WAY) if isinstance(task, NLI) else count
    given = tuple(range(count))
    if count <= MOST_ORDERS:
        return given, permutation_accuracies(gold, said, count)
    likely = _likeliest(confusion(gold, said, count))
    return given, {likely: float(np.mean(np.asarray(likely)[said] == gold))}


def _likeliest(table: np.ndarray) -> Order:
    """An order that fits a table [gold, predicted] of many classes well: the fullest cells first, each class once."""
    order, taken = dict[int, int](), set[int]()
    for cell in np.argsort(-table, axis=None, kind="stable"):
        gold, said = divmod(int(cell), len(table))
        if said not in order and gold not in taken:
            order[said] = gold
            taken.add(gold)
    return tuple(order[place] for place in range(len(table)))
