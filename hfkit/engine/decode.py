"""Prompts -> completions: the decoding loop. Serves `generate`, evaluation by generated text, and a server."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch

from hfkit.engine.new_text import NewText
from hfkit.engine.sampling import choose, noise
from hfkit.errors import ModelError, UsageError
from hfkit.models.families import max_positions
from hfkit.recipe.keys import Generate
from hfkit.tasks.base import Resolution

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

BATCH_SIZE = {"cpu": 32, "cuda": 128}  # rows at once, if their tokens allow
BATCH_TOKENS = {"cpu": 1 << 14, "cuda": 1 << 17}  # tokens held in the cache at once: about 1.2 GB for GPT-2 small
TEMPERATURE, TOP_K, TOP_P = 0.8, 50, 1.0  # where neither recipe nor checkpoint says


@dataclass(frozen=True, slots=True)
class Completion:
    """The new text alone, nothing trimmed, cut before a stop string; `ids`: all new tokens, an end token too."""

    text: str
    ids: tuple[int, ...]
    finish_reason: Literal["eos", "stop", "length"]


@dataclass(frozen=True, slots=True)
class Piece:
    """More text of the prompt with number `row`; the last piece of a row has its completion."""

    row: int
    text: str
    completion: Completion | None = None


def decode(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    prompts: Sequence[Sequence[int]],
    settings: Generate,
    *,
    ids: Sequence[str] | None = None,
    on_token: Callable[[int, str], None] | None = None,
) -> list[Completion]:
    """The completion of every prompt, in input order; `on_token` gets (prompt number, text) as text comes.

    See `pieces`, which yields what this collects.
    """
    found: dict[int, Completion] = {}
    for piece in pieces(model, tokenizer, prompts, settings, ids=ids):
        if on_token and piece.text:
            on_token(piece.row, piece.text)
        if piece.completion:
            found[piece.row] = piece.completion
    return [found[row] for row in range(len(prompts))]


def pieces(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    prompts: Sequence[Sequence[int]],
    settings: Generate,
    *,
    ids: Sequence[str] | None = None,
) -> Iterator[Piece]:
    """Text of all prompts as it comes, prompts of similar length together, longest first.

    `settings` hold no auto (see `resolve`). Temperature 0 is greedy and equals transformers' `generate`. What is
    sampled depends on the seed, the row's id (`ids`, else its number) and the position; in float32 not on the batch.
    A row ends with "eos" at an end token, "stop" at a stop string, "length" at max_new_tokens or the context's end.
    Raises UsageError when a prompt leaves no room in the context.
    """
    limit = max_positions(model.config)
    names = list(ids) if ids is not None else [str(number) for number in range(len(prompts))]
    check_room([len(prompt) for prompt in prompts], names, limit)
    ends = end_tokens(model, tokenizer)
    order = sorted(range(len(prompts)), key=lambda number: -len(prompts[number]))
    size = int(settings.batch_size)
    training = model.training
    model.eval()
    try:
        for start in range(0, len(order), size):
            rows = [
                _Row(number, names[number], prompts[number], tokenizer, settings, limit, ends)
                for number in order[start : start + size]
            ]
            yield from _decode_batch(model, tokenizer.pad_token_id or 0, rows, settings)
    finally:
        model.train(training)


def resolve(
    settings: Generate, generation_config: Mapping[str, Any], device: torch.device, longest: int
) -> tuple[Generate, list[Resolution]]:
    """Settings without auto, dtype apart: from the checkpoint's generation_config.json, else 0.8, top_k 50, top_p 1.

    `longest` is the number of tokens of the longest prompt and its completion.
    """
    update: dict[str, Any] = {}
    lines: list[Resolution] = []
    for name, default in (("temperature", TEMPERATURE), ("top_k", TOP_K), ("top_p", TOP_P)):
        if getattr(settings, name) != "auto":
            continue
        stored = generation_config.get(name)
        told = isinstance(stored, (int, float)) and not isinstance(stored, bool)
        update[name] = stored if told else default
        why = "the checkpoint's generation config" if told else "the default"
        if name == "temperature" or (update.get("temperature") or settings.temperature):
            lines.append(Resolution(f"generate.{name}", update[name], why))
    if settings.batch_size == "auto":
        kind = device.type if device.type in BATCH_SIZE else "cpu"
        update["batch_size"] = max(1, min(BATCH_SIZE[kind], BATCH_TOKENS[kind] // max(1, longest)))
        lines.append(Resolution("generate.batch_size", update["batch_size"], f"{kind}, up to {longest:,} tokens a row"))
    return Generate(**{**settings.model_dump(), **update}), lines  # checked again: a stored value may be out of range


def check_room(lengths: Sequence[int], ids: Sequence[str], limit: int) -> None:
    """Every prompt must leave room for a token in a context of `limit` tokens. Raises UsageError with counts."""
    beyond = [number for number, length in enumerate(lengths) if length >= limit]
    if beyond:
        first = beyond[0]
        more = f", and {len(beyond) - 1:,} more prompts are too long" if len(beyond) > 1 else ""
        raise UsageError(
            f"prompt {ids[first]}: {lengths[first]:,} tokens, but the model's context is {limit:,} tokens, "
            f"the new ones included{more}",
            f"shorten it to {limit - 1:,} tokens or fewer, or use a model with a longer context",
        )


def end_tokens(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> frozenset[int]:
    """The ids that end a text, as the generation config, the config or the tokenizer says."""
    for source in (getattr(model, "generation_config", None), model.config, tokenizer):
        found = getattr(source, "eos_token_id", None)
        if found is not None:
            return frozenset([found] if isinstance(found, int) else found)
    return frozenset()


class _Row:
    """One prompt on its way: its new tokens, its text, its share of the sampling noise."""

    def __init__(
        self,
        number: int,
        name: str,
        prompt: Sequence[int],
        tokenizer: PreTrainedTokenizerBase,
        settings: Generate,
        limit: int,
        ends: frozenset[int],
    ) -> None:
        self.number, self.prompt, self.ends = number, list(prompt), ends
        self.most = min(settings.max_new_tokens, limit - len(self.prompt))
        self.uniform = noise(settings.seed, name, self.most) if settings.temperature else None
        self.text = NewText(tokenizer, self.prompt, settings.stop)
        self.ids: list[int] = []

    def add(self, token: int) -> Piece:
        """Take the next token; the piece has a completion when the row is finished."""
        self.ids.append(token)
        ended = token in self.ends
        if not ended:
            self.text.add(token)
        full = len(self.ids) >= self.most
        if ended or full or self.text.stopped:
            self.text.end()
            reason: Literal["eos", "stop", "length"] = "stop" if self.text.stopped else "eos" if ended else "length"
            piece = self.text.fresh(final=True)
            return Piece(self.number, piece, Completion(self.text.text, tuple(self.ids), reason))
        return Piece(self.number, self.text.fresh())


def _decode_batch(model: PreTrainedModel, pad_id: int, rows: list[_Row], settings: Generate) -> Iterator[Piece]:
    """Decode rows together until the last is finished; finished rows leave the batch."""
    state = _Cached(model, [row.prompt for row in rows], pad_id)
    while rows:
        drawn = [row.uniform[len(row.ids)] for row in rows if row.uniform is not None]
        tokens = state.next(settings, np.asarray(drawn) if drawn else None)
        found = [row.add(token) for row, token in zip(rows, tokens, strict=True)]
        yield from (piece for piece in found if piece.text or piece.completion)
        keep = [place for place, piece in enumerate(found) if piece.completion is None]
        rows = [rows[place] for place in keep]
        if rows:
            state.feed([tokens[place] for place in keep], keep)


class _Cached:
    """A batch inside the model: inputs to read next, mask and positions of all tokens, keys and values of those read.

    Prompts are padded on the left, so that the last column is the last token of every row; positions count from the
    first real token, which models do not do by themselves outside of `generate`.
    """

    def __init__(self, model: PreTrainedModel, prompts: Sequence[Sequence[int]], pad_id: int) -> None:
        self.model = model
        accepted = inspect.signature(model.forward).parameters
        self.by_position = "position_ids" in accepted
        self.last_only = {"logits_to_keep": 1} if "logits_to_keep" in accepted else {}
        width = max(map(len, prompts))
        ids = [[pad_id] * (width - len(prompt)) + list(prompt) for prompt in prompts]
        mask = [[0] * (width - len(prompt)) + [1] * len(prompt) for prompt in prompts]
        self.ids = torch.tensor(ids, device=model.device)
        self.mask = torch.tensor(mask, device=model.device)
        self.positions = (self.mask.cumsum(dim=-1) - 1).clamp(min=0)
        self.cache: Any = None

    @torch.inference_mode()
    def next(self, settings: Generate, uniform: np.ndarray | None) -> list[int]:
        """Read the inputs and choose each row's next token."""
        inputs = {"input_ids": self.ids, "attention_mask": self.mask, **self.last_only}
        if self.by_position:
            inputs["position_ids"] = self.positions
        outputs = self.model(**inputs, past_key_values=self.cache, use_cache=True)
        self.cache = getattr(outputs, "past_key_values", None)
        if self.cache is None or not hasattr(self.cache, "batch_select_indices"):
            kind = self.model.config.model_type
            raise ModelError(f"models of type {kind} keep no cache of keys and values", "choose another model")
        chosen: list[int] = choose(outputs.logits[:, -1].float(), settings, uniform).tolist()
        return chosen

    @torch.inference_mode()
    def feed(self, tokens: Sequence[int], keep: Sequence[int]) -> None:
        """The inputs become `tokens`, one for each row that is kept; the other rows are dropped."""
        if len(keep) < len(self.mask):
            rows = torch.tensor(keep, device=self.mask.device)
            self.mask, self.positions = self.mask[rows], self.positions[rows]
            self.cache.batch_select_indices(rows)
        self.ids = torch.tensor(tokens, device=self.mask.device)[:, None]
        self.mask = torch.cat([self.mask, self.mask.new_ones(len(self.mask), 1)], dim=-1)
        self.positions = self.positions[:, -1:] + 1
