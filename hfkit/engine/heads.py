"""Classification heads: which vector stands for a sequence, and what a family's head makes of it, once or often.

By default a head looks at the token that its family looks at, and packing.py takes it out of the row. What the recipe's
tricks ask for, another pooling or several dropout masks, passes through the same modules in the same order.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from transformers.modeling_outputs import SequenceClassifierOutput

from hfkit.errors import UsageError
from hfkit.models.families import POOLED, POOLING_KEY, own_pooling
from hfkit.tasks.base import Task

Batch = Mapping[str, torch.Tensor]


@dataclass
class Sampled(SequenceClassifierOutput):
    """Logits (features, labels) of the first dropout mask, and `samples` (masks, features, labels) of all of them."""

    samples: torch.Tensor | None = None


def chosen_pooling(config: Any) -> str | None:
    """The pooling that hfkit does in the family's place; None where the family's own is right."""
    return getattr(config, POOLING_KEY, None)


def pooling_of(config: Any) -> str:
    """How the model is pooled, by whomever."""
    return chosen_pooling(config) or own_pooling(config)


def choose_pooling(model: Any, how: str) -> None:
    """Write a pooling into the model's config, which its folder keeps; "auto" leaves what the checkpoint has.

    What the family can do by itself is written the family's way, so that transformers does the same. Raises UsageError
    for a family whose head is not known, and for a token that sees nothing.
    """
    config = model.config
    if how == "auto":
        return
    if config.model_type not in POOLED:
        raise UsageError(
            f"tricks.pooling: the head of a {config.model_type} is not known", f"it works for {', '.join(POOLED)}"
        )
    if how == "cls" and config.model_type == "gpt2":
        raise UsageError(
            "tricks.pooling=cls: the first token of a gpt2 sees no other", "take last, its own, or mean or max"
        )
    if hasattr(config, POOLING_KEY):
        delattr(config, POOLING_KEY)
    if hasattr(config, "classifier_pooling") and how in ("cls", "mean"):  # modernbert
        config.classifier_pooling = how
    elif how != own_pooling(config):
        setattr(config, POOLING_KEY, how)


def check_masks(model: Any, count: int) -> None:
    """Raise UsageError where several dropout masks would be no different, or the head is not known."""
    if count == 1:
        return
    kind = model.config.model_type
    if kind not in POOLED or kind == "gpt2":
        why = "has no dropout" if kind == "gpt2" else "is not known"
        known = ", ".join(family for family in POOLED if family != "gpt2")
        raise UsageError(f"tricks.multi_dropout: the head of a {kind} {why}", f"it works for {known}")
    if not _dropout(model).p:
        raise UsageError(
            f"tricks.multi_dropout={count}: the head's dropout is 0, so all masks are the same",
            "set dropout=0.1, or leave tricks.multi_dropout out",
        )


def pooled(grid: torch.Tensor, mask: torch.Tensor, how: str) -> torch.Tensor:
    """The vector of each feature (features, size) from hidden states (features, tokens, size), where `mask` is 1.

    cls: the first token's; last: the last real token's; mean, max: over all real tokens, special ones included.
    """
    if how == "cls":
        return grid[:, 0]
    if how == "last":
        return grid[torch.arange(len(grid), device=grid.device), mask.sum(dim=1) - 1]
    real = mask.bool()[:, :, None]
    if how == "max":
        return grid.masked_fill(~real, float("-inf")).amax(dim=1)
    return ((grid * real).sum(dim=1, dtype=torch.float32) / mask.sum(dim=1, keepdim=True)).to(grid.dtype)


def classified(model: Any, vectors: torch.Tensor, masks: int = 1) -> SequenceClassifierOutput:
    """Logits of vectors (features, size) through the family's head; with several dropout masks, of each of them."""
    if masks == 1:
        return SequenceClassifierOutput(logits=_decided(model, _transformed(model, vectors)))
    logits = _decided(model, _transformed(model, vectors).repeat(masks, 1))
    samples = logits.view(masks, len(vectors), -1)
    return Sampled(logits=samples[0], samples=samples)


def task_loss(task: Task, outputs: Any, batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
    """The task's (sum, count); with several dropout masks, the mean of their losses (Inoue 2019)."""
    samples = getattr(outputs, "samples", None)
    if samples is None:
        return task.loss(outputs, batch)
    found = [task.loss(SequenceClassifierOutput(logits=logits), batch) for logits in samples]
    return torch.stack([loss for loss, _ in found]).mean(), found[0][1]


def _transformed(model: Any, vectors: torch.Tensor) -> torch.Tensor:
    """What a head does before its last dropout, where that stands apart; (features, size) -> (features, size)."""
    base = model.base_model
    first = vectors[:, None]  # poolers take token 0 of each
    if getattr(base, "pooler", None) is not None:  # bert, ernie; albert's pooler is a bare layer
        activation = getattr(base, "pooler_activation", None)
        return base.pooler(first) if activation is None else activation(base.pooler(vectors))
    if hasattr(model, "pooler"):  # deberta
        return model.pooler(first)
    if hasattr(model, "pre_classifier"):  # distilbert
        return torch.relu(model.pre_classifier(vectors))
    if hasattr(model, "head"):  # modernbert
        return model.head(vectors)
    return vectors  # gpt2; roberta and its kin, and electra, have it all in one module


def _decided(model: Any, vectors: torch.Tensor) -> torch.Tensor:
    """Dropout and the last layer."""
    if hasattr(model, "score"):  # gpt2
        return model.score(vectors)
    for name in ("dropout", "drop"):
        if hasattr(model, name):
            return model.classifier(getattr(model, name)(vectors))
    return model.classifier(vectors[:, None])  # these heads themselves take token 0 of each


def _dropout(model: Any) -> Any:
    """The module whose masks `classified` draws several times."""
    places = ((model, "dropout"), (model, "drop"), (model.classifier, "dropout"))
    return next(getattr(owner, name) for owner, name in places if hasattr(owner, name))
