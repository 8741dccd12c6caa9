"""What the decoding loop asks of a batch inside a model, and which kind of batch a model gets. Used by decode.py."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

import numpy as np

from hfkit.engine.decoding.cached import Cached
from hfkit.engine.decoding.encoder_decoder import EncoderDecoder
from hfkit.engine.decoding.gpt2 import fits, weights_of
from hfkit.engine.decoding.graphs import recorder
from hfkit.engine.decoding.sampling import Chosen
from hfkit.engine.decoding.slots import Slots
from hfkit.errors import UsageError
from hfkit.recipe.keys import Generate

if TYPE_CHECKING:
    from transformers import PreTrainedModel


class State(Protocol):
    """Rows on their way through a model: prompts are added, then `next` and `feed` take turns."""

    refills: bool  # whether prompts can be added while other rows are on their way

    def add(self, prompts: Sequence[Sequence[int]]) -> None:
        """Take more rows, behind those that are there."""

    def next(self, settings: Generate, uniform: np.ndarray | None) -> Chosen:
        """The next token of each row; `uniform` (rows,) as in `choose`."""

    def feed(self, tokens: Sequence[int], keep: Sequence[int]) -> None:
        """The next inputs are `tokens`, one for each row in `keep` (ascending places); the other rows are dropped."""


def state_of(model: PreTrainedModel, pad_id: int, settings: Generate, *, rows: int, positions: int) -> State:
    """An empty batch for this model, of up to `rows` rows of up to `positions` tokens. Raises UsageError for int8."""
    int8 = settings.dtype == "int8"
    if fits(model) and not (int8 and model.device.type != "cpu"):
        return Slots(weights_of(model, int8=int8), rows, positions, recorder(model.device))
    if int8:
        kind = f"models of type {model.config.model_type} on {model.device.type}"
        raise UsageError(
            f"generate.dtype=int8 is made for GPT-2 on CPUs, not for {kind}", "take generate.dtype=bfloat16"
        )
    if getattr(model.config, "is_encoder_decoder", False):
        return EncoderDecoder(model, pad_id)
    return Cached(model, pad_id)
