"""From a classification head's logits to a loss and to probabilities; the arithmetic that nli and classify share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from hfkit.errors import ModelError

if TYPE_CHECKING:
    import torch

    from hfkit.tasks.base import Batch, Read

NO_LABEL = -100  # a class number that says "no gold"; lists of numbers say it with NaN


def cross_entropy(outputs: Any, batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
    """(sum of -ln p(label) in nats, rows with a label): logits (rows, classes) in float32, label (rows,) or -100.

    Where rows have `labels_soft` (rows, classes), which add up to a row's weight, that is their target.
    """
    from torch.nn.functional import cross_entropy as negative_log

    if "labels_soft" in batch:
        target = batch["labels_soft"].float()
        return -(target * outputs.logits.float().log_softmax(dim=-1)).sum(), (target.sum(dim=1) > 0).sum()
    label = batch["label"]
    total = negative_log(outputs.logits.float(), label, ignore_index=NO_LABEL, reduction="sum")
    return total, (label != NO_LABEL).sum()


def binary_cross_entropy(outputs: Any, batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
    """(sum over rows of the mean over labels, rows with gold): labels (rows, k) of 0 or 1, NaN in rows without gold."""
    from torch.nn.functional import binary_cross_entropy_with_logits as negative_log

    gold, present = _gold(batch)
    each = negative_log(outputs.logits.float(), gold, reduction="none").mean(dim=1)
    return (each * present).sum(), present.sum()


def squared_error(outputs: Any, batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
    """(sum over rows of the mean over targets, rows with gold): labels (rows, k), NaN in rows without gold."""
    gold, present = _gold(batch)
    each = (outputs.logits.float() - gold).square().mean(dim=1)
    return (each * present).sum(), present.sum()


def class_divergence(first: Any, second: Any, batch: Batch) -> torch.Tensor:
    """Sum of `half_symmetric` of the classes' probabilities over the rows of `cross_entropy`, by their weight."""
    each = half_symmetric(first.logits.float(), second.logits.float())
    if "labels_soft" in batch:
        return (each * batch["labels_soft"].float().sum(dim=1)).sum()
    return (each * (batch["label"] != NO_LABEL)).sum()


def label_divergence(first: Any, second: Any, batch: Batch) -> torch.Tensor:
    """The same where each label is there or not: the mean over labels, over the rows that count."""
    _, present = _gold(batch)
    one, other = first.logits.float(), second.logits.float()
    each = 0.5 * (one.sigmoid() - other.sigmoid()) * (one - other)  # half of KL both ways, of two Bernoulli variables
    return (each.mean(dim=1) * present).sum()


def half_symmetric(first: torch.Tensor, second: torch.Tensor, hidden: torch.Tensor | None = None) -> torch.Tensor:
    """(KL(p || q) + KL(q || p)) / 2 in nats, p and q the softmax of logits (..., classes) without the `hidden` ones."""
    if hidden is not None:
        first, second = (logits.masked_fill(hidden, float("-inf")) for logits in (first, second))
    p, q = first.log_softmax(dim=-1), second.log_softmax(dim=-1)
    if hidden is not None:  # infinity minus infinity is no number
        p, q = p.masked_fill(hidden, 0.0), q.masked_fill(hidden, 0.0)
    return 0.5 * ((p.exp() - q.exp()) * (p - q)).sum(dim=-1)


def asked_places(batch: Batch) -> torch.Tensor:
    """(asked tokens,) places on the flattened (features, tokens) grid whose logits the model gave, in their order."""
    return batch["token_index"][batch["asked_index"]]


def finite(values: np.ndarray, row_id: Any) -> np.ndarray:
    """`values` as float64. Raises ModelError when one is not finite."""
    if not np.isfinite(values).all():
        raise ModelError(
            f"the model's output for row {row_id!r} is not finite",
            "the weights are damaged or diverged; try precision float32",
        )
    return values.astype(np.float64)


def class_probabilities(reads: Sequence[Read], row_id: Any) -> np.ndarray:
    """Probabilities (classes,) of one row that add up to 1 in float64. Raises ModelError when one is not finite."""
    values = finite(np.asarray(reads[0]["probabilities"]), row_id)
    return values / values.sum()


def _gold(batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
    """Labels with 0 in place of NaN, since NaN times 0 is NaN in the gradient too; and which rows have gold."""
    labels = batch["labels"].float()
    missing = labels.isnan()
    return labels.masked_fill(missing, 0.0), ~missing.any(dim=1)
