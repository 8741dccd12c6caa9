"""Logits only of the tokens a task asks for: hidden states are narrowed to these before the head makes words of them.

A vocabulary of 30,000 entries costs a small model more than its layers do, and masks ask for 15 % of the tokens.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from transformers.modeling_outputs import CausalLMOutput

from hfkit.models.families import VERIFIED

HEADS = ("LMHeadModel", "ForMaskedLM")  # of verified families: they read each token by itself, see the tests


def asked_only(model: Any, call: Callable[[], Any], places: torch.Tensor) -> CausalLMOutput:
    """The outputs of `call`, which runs `model`, with logits (asked tokens, vocabulary).

    `places` (asked tokens,) are those of the tokens on the flattened grid that the model reads. Other heads than those
    proven here give all logits first.
    """
    if model.config.model_type not in VERIFIED or not type(model).__name__.endswith(HEADS):
        return CausalLMOutput(logits=call().logits.flatten(0, 1)[places])
    hook = model.base_model.register_forward_hook(partial(_narrow, places))
    try:
        return CausalLMOutput(logits=call().logits[0])
    finally:
        hook.remove()


def _narrow(places: torch.Tensor, module: Any, arguments: Any, outputs: Any) -> Any:
    """The encoder's outputs with the hidden states of these places alone, as one row."""
    hidden = outputs[0].flatten(0, 1)[places][None]
    if isinstance(outputs, tuple):
        return (hidden, *outputs[1:])
    outputs["last_hidden_state"] = hidden
    return outputs
