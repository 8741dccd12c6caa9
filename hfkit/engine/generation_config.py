"""What of a checkpoint's generation config is not followed by the decoding loop. Used by the verbs, which say it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from transformers import PreTrainedModel

USUAL = {  # what asks for nothing, beside null
    "min_length": 0,
    "min_new_tokens": 0,
    "no_repeat_ngram_size": 0,
    "repetition_penalty": 1.0,
    "suppress_tokens": [],
}


def left_out(model: PreTrainedModel, num_beams: int = 1) -> list[str]:
    """A line when the generation config asks for what greedy decoding and sampling here do not do.

    Beam search is transformers' own (see beams.py), and does it all.
    """
    if num_beams > 1:
        return []
    config: Any = model.generation_config
    asked = {name: getattr(config, name, None) for name in USUAL}
    lines = [f"{name}={value}" for name, value in asked.items() if value is not None and value != USUAL[name]]
    if not lines:
        return []
    return [f"the checkpoint's generation config asks for {', '.join(lines)}, which is not done here"]
