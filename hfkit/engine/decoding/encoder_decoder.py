"""A batch inside an encoder-decoder of transformers: sources read once, targets written. One of state.py's kinds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from hfkit.engine.decoding.cached import cache_of
from hfkit.engine.decoding.sampling import Chosen, pick
from hfkit.errors import ModelError
from hfkit.recipe.keys import Generate

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


class EncoderDecoder:
    """Sources as the encoder left them, the next inputs of the decoder, keys and values of both attentions.

    All rows of a batch begin together, so the decoder's inputs need no padding. Like transformers' `generate`, the
    first token is the config's forced one, the last that fits is the forced end, and single bad words are never
    written.
    """

    refills = False

    def __init__(self, model: PreTrainedModel, pad_id: int) -> None:
        self.model, self.pad_id = model, pad_id
        self.start = decoder_start(model)
        self.first, self.last = (_setting(model, f"forced_{end}_token_id") for end in ("bos", "eos"))
        self.never = [words[0] for words in _setting(model, "bad_words_ids") or [] if len(words) == 1]
        self.step = 0
        self.cache: Any = None

    @torch.inference_mode()
    def add(self, prompts: Sequence[Sequence[int]]) -> None:
        """The rows of a batch that is empty. Sources that are the same are read once."""
        sources = list(dict.fromkeys(map(tuple, prompts)))
        places = {source: place for place, source in enumerate(sources)}
        width = max(map(len, sources))
        device = self.model.device
        ids = torch.tensor([[*source, *[self.pad_id] * (width - len(source))] for source in sources], device=device)
        mask = torch.tensor([[1] * len(source) + [0] * (width - len(source)) for source in sources], device=device)
        encoder: Any = self.model.get_encoder()
        hidden = encoder(input_ids=ids, attention_mask=mask)[0]
        rows = torch.tensor([places[tuple(prompt)] for prompt in prompts], device=device)
        self.hidden, self.mask = hidden[rows], mask[rows]
        self.ids = torch.full((len(prompts), 1), self.start, device=device)
        self.cache, self.step = None, 0

    @torch.inference_mode()
    def next(self, settings: Generate, uniform: np.ndarray | None) -> Chosen:
        """Read the inputs and choose each row's next token. Raises ModelError for a model that has no such cache."""
        from transformers.modeling_outputs import BaseModelOutput

        # The class's own forward: training wraps the object's in autocast, which would cast every weight at every step.
        outputs = type(self.model).forward(
            self.model,
            encoder_outputs=BaseModelOutput(last_hidden_state=self.hidden),
            attention_mask=self.mask,
            decoder_input_ids=self.ids,
            past_key_values=self.cache,
            use_cache=True,
        )
        self.cache = cache_of(outputs, self.model)
        logits = self._allowed(outputs.logits[:, -1].float(), settings.max_new_tokens)
        self.step += 1
        return pick(logits, settings, uniform)

    @torch.inference_mode()
    def feed(self, tokens: Sequence[int], keep: Sequence[int]) -> None:
        """The inputs become `tokens`, one for each row that is kept; the other rows are dropped."""
        if not keep:
            self.cache = None
            return
        if len(keep) < len(self.mask):
            rows = torch.tensor(keep, device=self.mask.device)
            self.hidden, self.mask = self.hidden[rows], self.mask[rows]
            self.cache.batch_select_indices(rows)
        self.ids = torch.tensor(tokens, device=self.mask.device)[:, None]

    def _allowed(self, logits: torch.Tensor, most: int) -> torch.Tensor:
        """Logits (rows, vocabulary) with -inf where a token must not be written."""
        if self.never:
            logits[:, self.never] = float("-inf")
        forced = self.first if self.step == 0 else self.last if self.step == most - 1 else None
        if forced is None:
            return logits
        only = torch.full_like(logits, float("-inf"))
        only[:, forced] = 0.0
        return only


def decoder_start(model: PreTrainedModel) -> int:
    """The token that a target begins with, which is never written itself. Raises ModelError where none is named."""
    for name in ("decoder_start_token_id", "bos_token_id"):
        found = _setting(model, name)
        if isinstance(found, int):
            return found
    raise ModelError(f"{model.config.model_type}: the config names no decoder_start_token_id", "add it to config.json")


def forces_end(model: PreTrainedModel) -> bool:
    """Whether the last token that fits is made an end token, as BART's config has it."""
    return _setting(model, "forced_eos_token_id") is not None


def write_in(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, settings: Any) -> None:
    """Put the language to write, and how long, into the model's generation config, which is saved with it.

    `settings` are those of a task that is decoded. A target that begins with its language (mBART-50, M2M100, NLLB) has
    it forced; one that ends with it (mBART) begins from it.
    """
    from hfkit.tasks.seq2seq.encode import target_tokens
    from hfkit.tasks.seq2seq.languages import language_id, with_languages

    config: Any = model.generation_config
    config.max_length = int(settings.max_target_length)
    language = language_id(tokenizer, getattr(settings, "target_language", None))
    if language is None:
        return
    (ids,) = target_tokens([""], with_languages(tokenizer, settings))
    if ids[0] == language:
        config.forced_bos_token_id = language
    else:
        config.decoder_start_token_id = language


def _setting(model: PreTrainedModel, name: str) -> Any:
    """What the generation config says, else the config."""
    for source in (getattr(model, "generation_config", None), model.config):
        if (found := getattr(source, name, None)) is not None:
            return found
    return None
