"""Features -> one batch of tensors: lists with a number per token are padded on the right, the rest is stacked."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from hfkit.tasks.base import Feature

UNSCORED = -100  # where there is no target; cross-entropy passes over it


def collate(features: Sequence[Feature], pad_id: int) -> dict[str, torch.Tensor]:
    """Stack features of any lengths.

    Per-token lists become (features, tokens) int64, `input_ids` padded with `pad_id` and the rest with 0; numbers
    become (features,) int64 or float32; columns named `labels*` become (features, k); `target_ids`, of lengths of its
    own, becomes (features, longest target) padded with UNSCORED. Adds `attention_mask`
    (features, tokens) and what packing needs: `token_index` (real tokens,), their places on the flattened grid, and
    `cu_seq_lens` (features + 1,) int32, how many tokens stand before each feature. Where features say which tokens are
    asked for, `asked_index` (asked tokens,) are their places among the real tokens.
    """
    counts = np.array([len(f["input_ids"]) for f in features])
    width = int(counts.max())
    mask = np.arange(width)[None, :] < counts[:, None]
    batch: dict[str, torch.Tensor] = {
        "attention_mask": torch.from_numpy(mask.astype(np.int64)),
        "token_index": torch.from_numpy(np.flatnonzero(mask)),
        "cu_seq_lens": torch.from_numpy(np.concatenate([[0], np.cumsum(counts)]).astype(np.int32)),
    }
    for name, value in features[0].items():
        if name == "target_ids":
            batch[name] = _targets([np.asarray(f[name], dtype=np.int64) for f in features])
        elif name.startswith("labels") or not isinstance(value, (list, np.ndarray)):
            stacked = np.asarray([f[name] for f in features])
            batch[name] = torch.from_numpy(stacked.astype(np.float32 if stacked.dtype.kind == "f" else np.int64))
        else:
            padded = np.full((len(features), width), pad_id if name == "input_ids" else 0, dtype=np.int64)
            padded[mask] = np.concatenate([np.asarray(f[name], dtype=np.int64) for f in features])
            batch[name] = torch.from_numpy(padded)
    if "asked" in batch:
        batch["asked_index"] = torch.from_numpy(np.flatnonzero(np.concatenate([f["asked"] for f in features])))
    return batch


def _targets(targets: Sequence[np.ndarray]) -> torch.Tensor:
    padded = np.full((len(targets), max(1, *map(len, targets))), UNSCORED, dtype=np.int64)
    for row, ids in zip(padded, targets, strict=True):
        row[: len(ids)] = ids
    return torch.from_numpy(padded)
