"""One call of a model: it gets the columns its `forward` knows, never labels; losses belong to the task."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from hfkit.engine.asked import asked_only
from hfkit.engine.packing import Packed, accepted

WANTED = ("input_ids", "attention_mask", "token_type_ids", "position_ids")


def forward(model: torch.nn.Module, batch: Mapping[str, torch.Tensor]) -> Any:
    """The model's outputs for a batch. `model` may be wrapped for several processes."""
    inner = getattr(model, "module", model)
    if isinstance(inner, Packed):
        return model(dict(batch))
    names = accepted(type(inner).forward)
    given = {name: batch[name] for name in WANTED if name in names and name in batch}
    if "asked_index" in batch:
        return asked_only(inner, lambda: model(**given), batch["token_index"][batch["asked_index"]])
    return model(**given)
