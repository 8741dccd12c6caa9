"""What of a checkpoint's generation config is not followed by the decoding loop. Used by the verbs, which say it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from transformers import PreTrainedModel

USUAL = {  # what asks for nothing, beside null
    "bad_words_ids": [],
    "begin_suppress_tokens": [],
    "encoder_no_repeat_ngram_size": 0,
    "encoder_repetition_penalty": 1.0,
    "guidance_scale": 1.0,
    "min_length": 0,
    "min_new_tokens": 0,
    "no_repeat_ngram_size": 0,
    "repetition_penalty": 1.0,
    "sequence_bias": {},
    "suppress_tokens": [],
}
USUAL_SAMPLING = {"epsilon_cutoff": 0.0, "eta_cutoff": 0.0, "min_p": 0.0, "typical_p": 1.0}
FORCED = ("forced_bos_token_id", "forced_eos_token_id")  # which encoder-decoders follow


def left_out(model: PreTrainedModel, num_beams: int = 1, *, samples: bool = False) -> list[str]:
    """A line when the generation config asks for what greedy decoding, or sampling (`samples`), here does not do.

    Beam search is transformers' own (see beams.py), and does it all.
    """
    if num_beams > 1:
        return []
    config: Any = model.generation_config
    reads_source = getattr(model.config, "is_encoder_decoder", False)
    usual: dict[str, Any] = {**USUAL, **(USUAL_SAMPLING if samples else {}), "num_beams": 1}
    if not reads_source:
        usual |= dict.fromkeys(FORCED)
    asked = {name: getattr(config, name, None) for name in usual}
    if reads_source:  # encoder-decoders never write single forbidden tokens
        asked["bad_words_ids"] = [words for words in asked["bad_words_ids"] or () if len(words) > 1]
    lines = [f"{name}={value}" for name, value in asked.items() if value is not None and value != usual[name]]
    if not lines:
        return []
    beams = "; generate.num_beams searches with beams" if (asked["num_beams"] or 1) > 1 else ""
    return [f"the checkpoint's generation config asks for {', '.join(lines)}, which is not done here{beams}"]
