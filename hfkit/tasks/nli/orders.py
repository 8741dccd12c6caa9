"""Labels without a name (LABEL_k, bare numbers) get one by trying every order on rows with gold: `model_labels: auto`.

A trained model fits one order far better than any other, so the best one is taken where it is certain, and refused
where it is not. For three classes the accuracies of the three cyclic orders add up to 100, and so do those of the
three swaps: 90.6 in one order leaves 4.3 or so for the others.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from hfkit.errors import ModelError
from hfkit.metrics.classification import permutation_accuracies
from hfkit.tasks import labels as names
from hfkit.tasks.base import Prediction, Row
from hfkit.tasks.nli.task import NLI

CERTAIN = 4.0  # standard errors that the best order must be ahead of the second (McNemar's statistic)


@dataclass(frozen=True)
class Tested:
    """Every order of the labels with its accuracy in percent, best first, and the rows they were tried on."""

    orders: list[tuple[dict[str, str], float]]
    rows: int

    @property
    def best(self) -> dict[str, str]:
        return self.orders[0][0]

    def lines(self) -> list[str]:
        """One line an order: `accuracy 90.6: LABEL_0 = contradiction, LABEL_1 = entailment, LABEL_2 = neutral`."""
        return [
            f"accuracy {accuracy:.1f}: {', '.join(f'{label} = {name}' for label, name in order.items())}"
            for order, accuracy in self.orders
        ]

    def why(self) -> str:
        """What speaks for the best order."""
        (_, first), (_, second) = self.orders[:2]
        return f"best of {len(self.orders)} orders on {self.rows:,} rows: accuracy {first:.1f}, the next {second:.1f}"


def labels_said(task: NLI, predictions: Sequence[Prediction]) -> list[str]:
    """The labels that predictions are made of: the head's, else those that the predictions name."""
    if task.head_labels:
        return task.head_labels
    found = {names.label_text(prediction.get("prediction")) for prediction in predictions}
    found.update(names.label_text(name) for item in predictions for name in item.get("probabilities") or {})
    return names.in_order(found)


def try_orders(task: NLI, labels: Sequence[str], predictions: Sequence[Prediction], rows: Sequence[Row]) -> Tested:
    """All orders of `labels` on the rows with gold.

    Raises ModelError when the labels or the gold do not allow it, or when no order is certainly better than the others.
    """
    classes = list(names.TWO_WAY if len(labels) == len(names.TWO_WAY) else names.THREE_WAY)
    if len(labels) != len(classes):
        raise ModelError(
            f"nli.model_labels=auto tries the orders of two or three labels; here are {', '.join(labels)}",
            "say what they mean, such as "
            + names.settings_line("nli.model_labels", dict(zip(labels, names.THREE_WAY, strict=False))),
        )
    gold, said = [], []
    for prediction, row in zip(predictions, rows, strict=True):
        name = task.gold(row)
        if name is None:
            continue
        name = names.OTHER if len(classes) == len(names.TWO_WAY) and name != names.ENTAILMENT else name
        if name not in classes:
            raise ModelError(
                "nli.model_labels=auto needs rows of three classes to tell neutral from contradiction; "
                f"row {row['id']!r} is {name}",
                "test on three-way rows first, then give the key that is printed",
            )
        gold.append(classes.index(name))
        said.append(list(labels).index(names.label_text(prediction["prediction"])))
    tested = _ranked(labels, classes, np.asarray(gold), np.asarray(said))
    _refuse_uncertain(tested, classes, np.asarray(gold), np.asarray(said))
    return tested


def renamed(prediction: Prediction, classes: Mapping[str, str]) -> Prediction:
    """The prediction with classes in place of labels."""
    shares = prediction.get("probabilities")
    named = {"prediction": classes[names.label_text(prediction["prediction"])]}
    if shares is None:
        return {**prediction, **named}
    return {**prediction, **named, "probabilities": {classes[names.label_text(k)]: v for k, v in shares.items()}}


def _ranked(labels: Sequence[str], classes: Sequence[str], gold: np.ndarray, said: np.ndarray) -> Tested:
    found = permutation_accuracies(gold, said, len(classes))
    orders = [
        (dict(zip(labels, (classes[place] for place in order), strict=True)), accuracy)
        for order, accuracy in sorted(found.items(), key=lambda item: (-item[1], item[0]))
    ]
    return Tested(orders, len(gold))


def _refuse_uncertain(tested: Tested, classes: list[str], gold: np.ndarray, said: np.ndarray) -> None:
    """Raise ModelError unless the best order is certainly better than the second, and than one class for all rows."""
    first, second = (
        np.asarray([classes.index(name) for name in order.values()])[said] for order, _ in tested.orders[:2]
    )
    ahead, behind = int(((first == gold) & (second != gold)).sum()), int(((second == gold) & (first != gold)).sum())
    certain = ahead - behind > CERTAIN * np.sqrt(ahead + behind)
    constant = 100 * np.bincount(gold).max() / len(gold)
    if certain and tested.orders[0][1] > constant:
        return
    tried = "\n".join(tested.lines())
    raise ModelError(
        f"no order of the labels fits {tested.rows:,} rows certainly better than the others "
        f"(one class for all rows: {constant:.1f}):\n{tried}",
        f"give more rows, or the order by the model's card, such as "
        f"{names.settings_line('nli.model_labels', tested.best)}",
    )
