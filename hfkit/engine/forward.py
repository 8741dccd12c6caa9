"""One call of a model: it gets the columns its `forward` knows, never labels; losses belong to the task."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any

import torch

WANTED = ("input_ids", "attention_mask", "token_type_ids", "position_ids")


def forward(model: torch.nn.Module, batch: Mapping[str, torch.Tensor]) -> Any:
    """The model's outputs for a batch. `model` may be wrapped for several processes."""
    names = _accepted(type(getattr(model, "module", model)).forward)
    return model(**{name: batch[name] for name in names if name in batch})


@lru_cache(maxsize=64)
def _accepted(call: Callable[..., Any]) -> tuple[str, ...]:
    parameters = inspect.signature(call).parameters
    return tuple(name for name in WANTED if name in parameters)
