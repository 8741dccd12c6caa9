"""What fits a model, and what ends a text: looked at before decode.py begins, and by `generate` while it plans."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from hfkit.errors import UsageError
from hfkit.models.families import has_fixed_positions, max_positions

if TYPE_CHECKING:
    from transformers import PretrainedConfig, PreTrainedModel, PreTrainedTokenizerBase


def check_fits(model: PreTrainedModel, lengths: Sequence[int], names: Sequence[str]) -> None:
    """Every prompt, or source, must fit the model. Raises UsageError with counts."""
    if getattr(model.config, "is_encoder_decoder", False):
        check_sources(lengths, names, model.config)
    else:
        check_room(lengths, names, max_positions(model.config))


def check_room(lengths: Sequence[int], ids: Sequence[str], limit: int, *, otherwise: str = "") -> None:
    """Every prompt must leave room for a token in a context of `limit` tokens. Raises UsageError with counts.

    `otherwise` ends the hint: what else the command that asks can do.
    """
    beyond = [number for number, length in enumerate(lengths) if length >= limit]
    if beyond:
        first = beyond[0]
        more = f", and {len(beyond) - 1:,} more prompts are too long" if len(beyond) > 1 else ""
        raise UsageError(
            f"prompt {ids[first]}: {lengths[first]:,} tokens, but the model's context is {limit:,} tokens, "
            f"the new ones included{more}",
            f"shorten it to {limit - 1:,} tokens or fewer, or use a model with a longer context{otherwise}",
        )


def check_sources(lengths: Sequence[int], ids: Sequence[str], config: PretrainedConfig) -> None:
    """An encoder reads at most as many tokens as it has positions. Raises UsageError with counts."""
    limit = max_positions(config)
    beyond = [number for number, length in enumerate(lengths) if length > limit] if has_fixed_positions(config) else []
    if beyond:
        more = f", and {len(beyond) - 1:,} more are too long" if len(beyond) > 1 else ""
        raise UsageError(
            f"source {ids[beyond[0]]}: {lengths[beyond[0]]:,} tokens, but the model reads at most {limit:,}{more}",
            f"shorten it to {limit:,} tokens or fewer, or use a model with more positions",
        )


def end_tokens(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> frozenset[int]:
    """The ids that end a text, as the generation config, the config or the tokenizer says."""
    for source in (getattr(model, "generation_config", None), model.config, tokenizer):
        found = getattr(source, "eos_token_id", None)
        if found is not None:
            return frozenset([found] if isinstance(found, int) else found)
    return frozenset()
