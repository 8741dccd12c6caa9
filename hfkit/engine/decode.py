"""Prompts -> completions: the decoding loop. Serves `generate`, evaluation by generated text, and a server."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import groupby, islice, repeat
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from hfkit.engine.decoding.beams import search
from hfkit.engine.decoding.encoder_decoder import forces_end
from hfkit.engine.decoding.limits import check_fits, end_tokens
from hfkit.engine.decoding.row import Completion, DecodedRow, Piece
from hfkit.engine.decoding.sampling import Chosen
from hfkit.engine.decoding.state import State, state_of
from hfkit.models.families import has_fixed_positions, max_positions
from hfkit.recipe.keys import Generate
from hfkit.tasks.base import Resolution

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

BATCH_SIZE = {"cpu": 32, "cuda": 128}  # rows at once, if their tokens allow
BATCH_TOKENS = {"cpu": 1 << 14, "cuda": 1 << 17}  # tokens held in the cache at once: about 1.2 GB for GPT-2 small
TEMPERATURE, TOP_K, TOP_P = 0.8, 50, 1.0  # where neither recipe nor checkpoint says


def decode(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    prompts: Sequence[Sequence[int]],
    settings: Generate,
    *,
    ids: Sequence[str] | None = None,
    on_token: Callable[[int, str], None] | None = None,
) -> list[Completion]:
    """The completions of every prompt, in input order, samples of one prompt together: prompts x settings.samples.

    `on_token` gets (prompt number, text) as text comes. See `pieces`, which yields what this collects.
    """
    found: dict[tuple[int, int], Completion] = {}
    for piece in pieces(model, tokenizer, prompts, settings, ids=ids):
        if on_token and piece.text:
            on_token(piece.row, piece.text)
        if piece.completion:
            found[piece.row, piece.sample] = piece.completion
    return [found[key] for key in sorted(found)]


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
    sampled depends on the seed, the row's id (`ids`, else its number), the sample and the position; in float32 not on
    the batch. With `num_beams` above 1 the text is that of transformers' beam search, and comes whole.
    A row ends with "eos" at an end token, "stop" at a stop string, "length" at max_new_tokens or the context's end.
    With overflow "slide" the context has no end: when it is full, its last half is read again, behind the begin token
    where the tokenizer adds one, and the text goes on.
    Raises UsageError when a prompt leaves no room in the context.
    """
    reads_source = bool(getattr(model.config, "is_encoder_decoder", False))
    forced_end = reads_source and forces_end(model)
    limit = max_positions(model.config)
    names = list(ids) if ids is not None else [str(number) for number in range(len(prompts))]
    check_fits(model, [len(prompt) for prompt in prompts], names)
    if reads_source and not has_fixed_positions(model.config):
        limit = settings.max_new_tokens
    if not prompts:
        return
    ends = end_tokens(model, tokenizer)
    order = sorted(range(len(prompts)), key=lambda number: -len(prompts[number]))
    waiting = (
        DecodedRow(
            number, sample, names[number], prompts[number], tokenizer, settings, limit, ends, reads_source, forced_end
        )
        for number in order
        for sample in range(settings.samples)
    )
    pad_id = tokenizer.pad_token_id or 0
    training = model.training
    model.eval()
    try:
        if settings.num_beams > 1:
            yield from _search(model, pad_id, waiting, settings)
        else:
            size = min(int(settings.batch_size), len(prompts) * settings.samples)
            longest = max(min(len(prompt) + settings.max_new_tokens, limit) for prompt in prompts)
            state = state_of(model, pad_id, settings, rows=size, positions=longest)
            yield from _decode(state, size, waiting, settings)
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
    if settings.num_beams > 1 and settings.temperature == "auto":
        update["temperature"] = 0.0
        lines.append(Resolution("generate.temperature", 0, "beam search is greedy"))
    for name, default in (("temperature", TEMPERATURE), ("top_k", TOP_K), ("top_p", TOP_P)):
        if getattr(settings, name) != "auto" or name in update:
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


def _decode(state: State, size: int, waiting: Iterator[DecodedRow], settings: Generate) -> Iterator[Piece]:
    """Decode `size` rows together; finished ones leave, and waiting ones take their places where the state can."""
    rows: list[DecodedRow] = []
    slid: deque[DecodedRow] = deque()  # read again before those that wait
    while True:
        free = size - len(rows) if state.refills or not rows else 0
        fresh = [slid.popleft() for _ in range(min(free, len(slid)))]
        fresh += islice(waiting, free - len(fresh))
        if fresh:
            state.add([row.prompt for row in fresh])
            rows += fresh
        if not rows:
            return
        drawn = [row.uniform[len(row.ids)] for row in rows if row.uniform is not None]
        chosen = state.next(settings, np.asarray(drawn) if drawn else None)
        found = [row.add(*token) for row, token in zip(rows, _tokens(chosen), strict=True)]
        yield from (piece for piece in found if piece.text or piece.completion)
        going = [place for place, piece in enumerate(found) if piece.completion is None]
        keep = [place for place in going if not rows[place].full()]
        if len(keep) < len(going):
            slid.extendleft(rows[place].slid() for place in reversed(going) if rows[place].full())
        rows = [rows[place] for place in keep]
        state.feed([chosen.tokens[place] for place in keep], keep)


def _search(model: PreTrainedModel, pad_id: int, waiting: Iterator[DecodedRow], settings: Generate) -> Iterator[Piece]:
    """Beam search: rows with equal room for new tokens together, each whole when it comes."""
    for most, group in groupby(waiting, key=lambda row: row.most):
        while rows := list(islice(group, int(settings.batch_size))):
            found = search(model, [row.prompt for row in rows], most, settings, pad_id=pad_id, ends=rows[0].ends)
            for row, chosen in zip(rows, found, strict=True):
                for token in _tokens(chosen):
                    piece = row.add(*token)
                    if piece.text or piece.completion:
                        yield piece
                    if piece.completion:
                        break


def _tokens(chosen: Chosen) -> Iterator[tuple[int, float | None]]:
    """(token, its log-probability if asked for)."""
    return zip(chosen.tokens, chosen.logprobs or repeat(None), strict=False)
