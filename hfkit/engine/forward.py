"""One call of a model: it gets the columns its `forward` knows, never labels; losses belong to the task."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from hfkit.engine.asked import asked_only
from hfkit.engine.collate import UNSCORED
from hfkit.engine.packing import Headed, Packed, accepted

WANTED = ("input_ids", "attention_mask", "token_type_ids", "position_ids", "decoder_input_ids")


def forward(model: torch.nn.Module, batch: Mapping[str, torch.Tensor]) -> Any:
    """The model's outputs for a batch. `model` may be wrapped for several processes."""
    inner = getattr(model, "module", model)
    if isinstance(inner, (Packed, Headed)):
        return model(dict(batch))
    if "target_ids" in batch:
        batch = {**batch, "decoder_input_ids": shifted(batch["target_ids"], inner.config)}
    names = accepted(type(inner).forward)
    given = {name: batch[name] for name in WANTED if name in names and name in batch}
    if "asked_index" in batch:
        return asked_only(inner, lambda: model(**given), batch["token_index"][batch["asked_index"]])
    return model(**given)


def shifted(targets: torch.Tensor, config: Any) -> torch.Tensor:
    """What the decoder reads to write `targets` (features, tokens): the start token, then all targets but the last.

    mBART's start is each target's own last token, which names the language in its older form.
    """
    pad = int(config.pad_token_id)
    padded = targets.masked_fill(targets == UNSCORED, pad)
    if config.model_type == "mbart":
        last = (targets != UNSCORED).sum(dim=1, keepdim=True).clamp(min=1) - 1
        start = padded.gather(1, last)
    else:
        start = torch.full_like(padded[:, :1], int(config.decoder_start_token_id))
    return torch.cat([start, padded[:, :-1]], dim=1)
