"""Logits only of the tokens a task asks for: hidden states are narrowed to these before the head makes words of them.

A vocabulary of 30,000 entries costs a small model more than its layers do, and masks ask for 15 % of the tokens.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import torch
from transformers.modeling_outputs import CausalLMOutput

from hfkit.models.families import VERIFIED

HEADS = ("LMHeadModel", "ForMaskedLM")  # of verified families: they read each token by itself, see the tests
_lock = threading.Lock()
_asked = threading.local()  # `places` while a call that asks for them runs in this thread


def asked_only(model: Any, call: Callable[[], Any], places: torch.Tensor) -> CausalLMOutput:
    """The outputs of `call`, which runs `model`, with logits (asked tokens, vocabulary).

    `places` (asked tokens,) are those of the tokens on the flattened grid that the model reads. Other heads than those
    proven here give all logits first.
    """
    if model.config.model_type not in VERIFIED or not type(model).__name__.endswith(HEADS):
        return CausalLMOutput(logits=call().logits.flatten(0, 1)[places])
    _narrowing(model.base_model)
    _asked.places = places
    try:
        return CausalLMOutput(logits=call().logits[0])
    finally:
        _asked.places = None


def _narrowing(encoder: Any) -> None:
    """Hook `encoder` once, for all threads: hooks must not come and go while another thread runs the same model."""
    with _lock:
        if not getattr(encoder, "narrows_to_asked", False):  # an attribute, which copies of the model have too
            encoder.register_forward_hook(_narrow)
            encoder.narrows_to_asked = True


def _narrow(module: Any, arguments: Any, outputs: Any) -> Any:
    """The encoder's outputs with the hidden states of the places asked for in this thread alone, as one row."""
    places = getattr(_asked, "places", None)
    if places is None:
        return outputs
    hidden = outputs[0].flatten(0, 1)[places][None]
    if isinstance(outputs, tuple):
        return (hidden, *outputs[1:])
    outputs["last_hidden_state"] = hidden
    return outputs
