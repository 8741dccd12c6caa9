"""Beam search, by transformers' own `generate`: whole sequences of tokens for decode.py to make completions of."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch

from hfkit.engine.decoding.sampling import Chosen
from hfkit.models.quiet import quiet
from hfkit.recipe.keys import Generate

if TYPE_CHECKING:
    from transformers import PreTrainedModel


@torch.inference_mode()
def search(
    model: PreTrainedModel,
    prompts: Sequence[Sequence[int]],
    most: int,
    settings: Generate,
    *,
    pad_id: int,
    ends: frozenset[int],
) -> list[Chosen]:
    """The best beam of each prompt: up to `most` new tokens, the end token included, with their log-probabilities.

    Prompts are padded on the left, where the text goes on from them; sources of an encoder-decoder on the right.
    """
    reads_source = bool(getattr(model.config, "is_encoder_decoder", False))
    width = max(map(len, prompts))
    ids, mask = [], []
    for prompt in prompts:
        pads, ones = width - len(prompt), [1] * len(prompt)
        ids.append([*prompt, *[pad_id] * pads] if reads_source else [*[pad_id] * pads, *prompt])
        mask.append([*ones, *[0] * pads] if reads_source else [*[0] * pads, *ones])
    with quiet():  # it warns that max_new_tokens goes before the max_length of the checkpoint, which is meant
        out = model.generate(
            torch.tensor(ids, device=model.device),
            attention_mask=torch.tensor(mask, device=model.device),
            num_beams=settings.num_beams,
            do_sample=False,
            max_new_tokens=most,
            eos_token_id=sorted(ends) or None,
            pad_token_id=pad_id,
            return_dict_in_generate=True,
            output_scores=settings.logprobs,
        )
    sequences = out.sequences[:, 1 if reads_source else width :].tolist()
    scores = None
    if settings.logprobs:
        scores = model.compute_transition_scores(out.sequences, out.scores, out.beam_indices).tolist()
    found = []
    for row, tokens in enumerate(sequences):
        end = next((place for place, token in enumerate(tokens, 1) if token in ends), len(tokens))
        found.append(Chosen(tokens[:end], scores[row][:end] if scores else None))
    return found
