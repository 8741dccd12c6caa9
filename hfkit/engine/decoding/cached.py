"""A batch inside any causal model of transformers: padded rows and the library's own cache. One of state.py's kinds."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from hfkit.engine.decoding.sampling import Chosen, pick
from hfkit.errors import ModelError
from hfkit.recipe.keys import Generate

if TYPE_CHECKING:
    from transformers import PreTrainedModel


class Cached:
    """Inputs to read next, mask and positions of all tokens, keys and values of those read.

    Prompts are padded on the left, so that the last column is the last token of every row; positions count from the
    first real token, which models do not do by themselves outside of `generate`.
    """

    refills = False

    def __init__(self, model: PreTrainedModel, pad_id: int) -> None:
        self.model, self.pad_id = model, pad_id
        accepted = inspect.signature(model.forward).parameters
        self.by_position = "position_ids" in accepted
        self.last_only = {"logits_to_keep": 1} if "logits_to_keep" in accepted else {}
        self.cache: Any = None
        self.spread: torch.Tensor | None = None  # of prompts that were read once: each row's place among them

    def add(self, prompts: Sequence[Sequence[int]]) -> None:
        """The rows of a batch that is empty. Prompts that are the same are read once."""
        rows, prompts = prompts, [list(prompt) for prompt in dict.fromkeys(map(tuple, prompts))]
        places = {tuple(prompt): place for place, prompt in enumerate(prompts)}
        spread = [places[tuple(row)] for row in rows]
        self.spread = torch.tensor(spread, device=self.model.device) if len(prompts) < len(rows) else None
        width = max(map(len, prompts))
        ids = [[self.pad_id] * (width - len(prompt)) + list(prompt) for prompt in prompts]
        mask = [[0] * (width - len(prompt)) + [1] * len(prompt) for prompt in prompts]
        self.ids = torch.tensor(ids, device=self.model.device)
        self.mask = torch.tensor(mask, device=self.model.device)
        self.positions = (self.mask.cumsum(dim=-1) - 1).clamp(min=0)
        self.cache = None

    @torch.inference_mode()
    def next(self, settings: Generate, uniform: np.ndarray | None) -> Chosen:
        """Read the inputs and choose each row's next token. Raises ModelError for a model that has no such cache."""
        inputs = {"input_ids": self.ids, "attention_mask": self.mask, **self.last_only}
        if self.by_position:
            inputs["position_ids"] = self.positions
        outputs = self.model(**inputs, past_key_values=self.cache, use_cache=True)
        self.cache = cache_of(outputs, self.model)
        logits = outputs.logits[:, -1]
        if self.spread is not None:
            logits = logits[self.spread]
            self._select(self.spread)
            self.spread = None
        return pick(logits.float(), settings, uniform)

    @torch.inference_mode()
    def feed(self, tokens: Sequence[int], keep: Sequence[int]) -> None:
        """The inputs become `tokens`, one for each row that is kept; the other rows are dropped."""
        if not keep:
            self.cache = None
            return
        if len(keep) < len(self.mask):
            self._select(torch.tensor(keep, device=self.mask.device))
        self.ids = torch.tensor(tokens, device=self.mask.device)[:, None]
        self.mask = torch.cat([self.mask, self.mask.new_ones(len(self.mask), 1)], dim=-1)
        self.positions = self.positions[:, -1:] + 1

    def _select(self, rows: torch.Tensor) -> None:
        self.mask, self.positions = self.mask[rows], self.positions[rows]
        self.cache.batch_select_indices(rows)


def cache_of(outputs: Any, model: PreTrainedModel) -> Any:
    """The library's cache in a model's outputs, whose rows can be chosen. Raises ModelError where there is none."""
    cache = getattr(outputs, "past_key_values", None)
    if cache is None or not hasattr(cache, "batch_select_indices"):
        kind = model.config.model_type
        raise ModelError(f"models of type {kind} keep no cache of keys and values", "choose another model")
    return cache
