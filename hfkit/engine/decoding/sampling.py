"""The next token of each row from its logits: greedy, or drawn after temperature, top_k and top_p; for decode.py."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np
import torch

from hfkit.errors import ModelError
from hfkit.recipe.keys import Generate

NO_TOKEN = -1  # where the model's output is not a number


def noise(seed: int, row_id: str, count: int, sample: int = 0) -> np.ndarray:
    """`count` numbers from [0, 1) by seed, row, sample of the row and position alone: no batch can change them.

    Philox is a counter-based generator (Salmon et al. 2011); its key is a hash of seed, sample and row.
    """
    stream = f"{seed}/{sample}" if sample else str(seed)
    key = int.from_bytes(hashlib.blake2b(f"{stream} {row_id}".encode(), digest_size=16).digest())
    return np.random.Generator(np.random.Philox(key=key)).random(count)


@dataclass(frozen=True, slots=True)
class Chosen:
    """One token for each row, and on request the log-probability of each under the model's own softmax."""

    tokens: list[int]
    logprobs: list[float] | None = None


def pick(logits: torch.Tensor, settings: Generate, uniform: np.ndarray | None) -> Chosen:
    """`choose`, and log-probabilities where `settings.logprobs` asks: before temperature, top_k and top_p.

    Raises ModelError when a logit is not a number.
    """
    tokens = choose(logits, settings, uniform)
    found = tokens.tolist()
    if NO_TOKEN in found:
        raise ModelError("the model's output is not a number", "try generate.dtype=float32, or other weights")
    if not settings.logprobs:
        return Chosen(found)
    taken = logits.gather(-1, tokens[:, None]).squeeze(-1) - logits.logsumexp(dim=-1)
    return Chosen(found, taken.tolist())


def choose(logits: torch.Tensor, settings: Generate, uniform: np.ndarray | None) -> torch.Tensor:
    """Token ids (rows,) from float32 logits (rows, vocabulary).

    `uniform` (rows,) holds one number from [0, 1) for each row; None is greedy. The order is transformers':
    temperature, top_k, top_p; then the distribution function, over tokens from likely to unlikely, is inverted there.
    A row gets NO_TOKEN where a logit is not a number: to ask here would be to wait for the device once more.
    """
    largest, tokens = logits.max(dim=-1)  # which is not a number where any is not
    if uniform is not None:
        tokens = _drawn(logits, settings, uniform)
    return tokens.masked_fill(largest.isnan(), NO_TOKEN)


def _drawn(logits: torch.Tensor, settings: Generate, uniform: np.ndarray) -> torch.Tensor:
    top_k, top_p, size = int(settings.top_k), float(settings.top_p), logits.shape[-1]
    scores = logits / float(settings.temperature)
    ids: torch.Tensor | None = None
    if 0 < top_k < size:
        scores, ids = scores.topk(top_k, dim=-1)
    elif top_p < 1:
        scores, ids = scores.sort(dim=-1, descending=True, stable=True)
    shares = scores.to(torch.float32 if scores.device.type == "mps" else torch.float64).softmax(dim=-1)
    if top_p < 1:
        before = shares.cumsum(dim=-1) - shares
        shares = shares.masked_fill(before >= top_p, 0.0)
    sums = shares.cumsum(dim=-1)
    wanted = torch.from_numpy(uniform).to(sums)[:, None] * sums[:, -1:]
    places = (sums <= wanted).sum(dim=-1, keepdim=True).clamp(max=sums.shape[-1] - 1)
    return (places if ids is None else ids.gather(-1, places)).squeeze(-1)
