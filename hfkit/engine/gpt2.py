"""GPT-2's forward pass for decoding, on a model's own weights: rows without padding, keys and values kept in slots.

One of state.py's kinds of batch. It gives what transformers' module gives, in fewer and larger operations.
"""

from __future__ import annotations

import weakref
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch.nn import functional

from hfkit.engine.products import Gelu, Product, product
from hfkit.engine.sampling import Chosen, pick
from hfkit.recipe.keys import Generate

if TYPE_CHECKING:
    from transformers import PreTrainedModel

PREFILL_TOKENS = 4096  # tokens of prompts read at once
SHARED_TOKENS = 8  # a shorter common beginning of two prompts is not worth looking for
TANH_GELUS = ("gelu_new", "gelu_pytorch_tanh")
Norm = tuple[torch.Tensor, torch.Tensor]


@dataclass(frozen=True, slots=True)
class Layer:
    """A block's weights; `qkv` gives queries, keys and values side by side, `scale` multiplies their products."""

    norm: Norm
    qkv: Product
    out: Product
    mlp_norm: Norm
    up: Product
    down: Product
    scale: float


class Weights:
    """A GPT-2's weights as products that are laid out for the machine."""

    def __init__(self, model: Any, *, int8: bool) -> None:
        self.tokens, self.positions = model.transformer.wte.weight.detach(), model.transformer.wpe.weight.detach()
        self.heads, self.eps = model.config.n_head, model.config.layer_norm_epsilon
        self.norm = _norm(model.transformer.ln_f)
        self.head = product(model.lm_head.weight.detach(), int8=int8)
        self.layers = [_layer(block, int8) for block in model.transformer.h]

    def logits(self, hidden: torch.Tensor) -> torch.Tensor:
        """Logits (rows, vocabulary) of hidden states (rows, width) after all layers."""
        return self.head(functional.layer_norm(hidden, hidden.shape[-1:], *self.norm, self.eps))


_laid_out: weakref.WeakKeyDictionary[Any, tuple[object, Weights]] = weakref.WeakKeyDictionary()


def weights_of(model: Any, *, int8: bool = False) -> Weights:
    """The model's weights laid out: made at the first call, and again when one has changed."""
    stamp = (int8, *((p.data_ptr(), p._version) for p in model.parameters()))
    known = _laid_out.get(model)
    if known is None or known[0] != stamp:
        known = _laid_out[model] = (stamp, Weights(model, int8=int8))
    return known[1]


def fits(model: PreTrainedModel) -> bool:
    """Whether this is a GPT-2 whose forward pass the one here equals."""
    config: Any = model.config
    return (
        type(model).__name__ == "GPT2LMHeadModel"
        and config.activation_function in TANH_GELUS
        and not (config.add_cross_attention or config.reorder_and_upcast_attn)
        and all(type(module).__module__.startswith(("torch.", "transformers.")) for module in model.modules())
    )


class Slots:
    """Rows in slots of a cache (layer, key | value, slot, head, position, size of a head) that is allocated once.

    Rows lie in the first slots; `slots` says where each is. A prompt that begins as one whose slot still stands, with
    SHARED_TOKENS tokens or more, gets those keys and values copied: samples of a prompt, examples before a question.
    """

    refills = True

    def __init__(self, weights: Weights, rows: int, positions: int) -> None:
        self.weights = weights
        table = weights.tokens
        size = table.shape[1] // weights.heads
        # CPUs multiply a vector with a matrix faster in float32, by the length of the attention of one token.
        dtype = torch.float32 if table.device.type == "cpu" else table.dtype
        shape = (len(weights.layers), 2, rows, weights.heads, positions, size)
        self.cache = torch.zeros(shape, dtype=dtype, device=table.device)
        self.prompts: list[list[int]] = [[] for _ in range(rows)]  # of each slot, also after its row is dropped
        self.slots: list[int] = []  # of each row
        self.lengths: list[int] = []  # tokens read, by slot
        self.ids: list[int] = []  # of the rows that were fed, by slot
        self.read: list[torch.Tensor] = []  # last hidden states of prompts that were added since

    @torch.inference_mode()
    def add(self, prompts: Sequence[Sequence[int]]) -> None:
        """Read more prompts, as many at once as PREFILL_TOKENS allow."""
        group: list[Segment] = []
        for prompt in map(list, prompts):
            slot = len(self.slots)
            source, shared = self._shared(prompt, slot)
            if group and sum(len(segment.ids) for segment in group) + len(prompt) - shared > PREFILL_TOKENS:
                self.read.append(self._read(group))
                group = []
            group.append(Segment(slot, prompt[shared:], shared, source))
            self.prompts[slot] = prompt
            self.slots.append(slot)
            self.lengths.append(len(prompt))
        self.read.append(self._read(group))

    @torch.inference_mode()
    def next(self, settings: Generate, uniform: np.ndarray | None) -> Chosen:
        """Read what was fed, and choose for all rows."""
        hidden = torch.cat([*([self._step()] if self.ids else []), *self.read])
        self.ids, self.read = [], []
        logits = self.weights.logits(hidden)
        if uniform is not None:
            uniform = uniform[np.argsort(self.slots)]
        chosen = pick(logits.float(), settings, uniform)
        logprobs = chosen.logprobs
        return Chosen(
            [chosen.tokens[slot] for slot in self.slots],
            [logprobs[slot] for slot in self.slots] if logprobs else None,
        )

    def feed(self, tokens: Sequence[int], keep: Sequence[int]) -> None:
        """Drop the other rows; rows of the last slots move to those that became free."""
        slots = [self.slots[row] for row in keep]
        free = sorted(set(range(len(slots))) - set(slots))
        for row, slot in enumerate(slots):
            if slot >= len(slots):
                slots[row] = self._move(slot, free.pop())
        self.slots, self.lengths = slots, self.lengths[: len(slots)]
        self.ids = [0] * len(slots)
        for slot, token in zip(slots, tokens, strict=True):
            self.ids[slot] = token

    def _move(self, source: int, target: int) -> int:
        length = self.lengths[target] = self.lengths[source]
        self.cache[:, :, target, :, :length] = self.cache[:, :, source, :, :length]
        self.prompts[target] = self.prompts[source]
        return target

    def _shared(self, prompt: list[int], slot: int) -> tuple[int, int]:
        """(slot, tokens): the longest beginning of this prompt that stands in a row's slot, or in the one it gets."""
        lengths = [(_common(prompt, self.prompts[other]), other) for other in range(slot + 1)]
        shared, source = max(lengths)
        return (source, min(shared, len(prompt) - 1)) if shared >= SHARED_TOKENS else (slot, 0)

    def _read(self, segments: Sequence[Segment]) -> torch.Tensor:
        """Hidden states (prompts, width) of the last tokens."""
        return self.hidden(segments)[np.cumsum([len(segment.ids) for segment in segments]) - 1]

    def hidden(self, segments: Sequence[Segment]) -> torch.Tensor:
        """Hidden states (tokens, width) of all tokens, after all layers; prompts go in side by side."""
        device = self.cache.device
        ids = torch.tensor([token for segment in segments for token in segment.ids], device=device)
        places = [torch.arange(segment.shared, segment.end, device=device) for segment in segments]
        counts = [len(segment.ids) for segment in segments]
        hidden = self.weights.tokens[ids] + self.weights.positions[torch.cat(places)]

        def attend(number: int, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
            parts = zip(segments, q.split(counts), k.split(counts), v.split(counts), strict=True)
            return torch.cat([self._attend(number, *part) for part in parts])

        return self._through(hidden, attend)

    def _attend(
        self, number: int, segment: Segment, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor
    ) -> torch.Tensor:
        """The attention of one prompt in layer `number`; q, k, v and the result are (tokens, heads, size)."""
        start, end, slot = segment.shared, segment.end, segment.slot
        layer = self.cache[number]
        if start and segment.source != slot:
            layer[:, slot, :, :start] = layer[:, segment.source, :, :start]
        layer[0, slot, :, start:end], layer[1, slot, :, start:end] = k.transpose(0, 1), v.transpose(0, 1)
        keys, values = layer[:, slot : slot + 1, :, :end]
        mask = torch.ones(end - start, end, dtype=torch.bool, device=q.device).tril(start) if start else None
        q = q.transpose(0, 1)[None].to(keys.dtype)
        scale = self.weights.layers[number].scale
        mixed = functional.scaled_dot_product_attention(q, keys, values, mask, 0.0, not start, scale=scale)
        return mixed[0].transpose(0, 1)

    def _step(self) -> torch.Tensor:
        """Hidden states (rows, width) of the tokens that were fed, by slot."""
        count, device = len(self.ids), self.cache.device
        at = torch.tensor(self.lengths[:count], device=device)
        rows, longest = torch.arange(count, device=device), max(self.lengths[:count]) + 1
        self.lengths[:count] = [length + 1 for length in self.lengths[:count]]
        mask = None
        if min(self.lengths[:count]) < longest:
            mask = (torch.arange(longest, device=device) <= at[:, None])[:, None, None]
            mask = torch.zeros(mask.shape, dtype=self.cache.dtype, device=device).masked_fill(~mask, float("-inf"))

        def attend(number: int, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
            keys, values = self.cache[number, :, :count]
            keys[rows, :, at], values[rows, :, at] = k.to(keys.dtype), v.to(keys.dtype)
            q = q[:, :, None].to(keys.dtype)
            scale = self.weights.layers[number].scale
            return _mixed(q, keys[:, :, :longest], values[:, :, :longest], mask, scale).transpose(1, 2)

        ids = torch.tensor(self.ids, device=device)
        return self._through(self.weights.tokens[ids] + self.weights.positions[at], attend)

    def _through(self, hidden: torch.Tensor, attend: Any) -> torch.Tensor:
        """Hidden states (tokens, width) through all layers; `attend` mixes tokens, the rest sees each alone."""
        width, eps = hidden.shape[-1:], self.weights.eps
        for number, layer in enumerate(self.weights.layers):
            qkv = layer.qkv(functional.layer_norm(hidden, width, *layer.norm, eps))
            q, k, v = qkv.view(len(hidden), 3, self.weights.heads, -1).unbind(1)
            mixed = attend(number, q, k, v).reshape(hidden.shape).to(hidden.dtype)
            hidden = hidden + layer.out(mixed)
            hidden = hidden + layer.down(layer.up(functional.layer_norm(hidden, width, *layer.mlp_norm, eps)))
        return hidden


@dataclass(frozen=True, slots=True)
class Segment:
    """A prompt to be read into a slot: `ids` from position `shared` on; what is before stands in slot `source`."""

    slot: int
    ids: list[int]
    shared: int
    source: int

    @property
    def end(self) -> int:
        return self.shared + len(self.ids)


def _common(one: list[int], other: list[int]) -> int:
    """The number of tokens that two prompts begin with alike."""
    if one[:SHARED_TOKENS] != other[:SHARED_TOKENS]:
        return 0
    return next((at for at, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))


def _mixed(
    q: torch.Tensor, keys: torch.Tensor, values: torch.Tensor, mask: torch.Tensor | None, scale: float
) -> torch.Tensor:
    """The attention (rows, heads, 1, size) of one token of each row; `mask` is added to scores.

    On CPUs two products are faster than the fused kernel where there are several rows; one row is no exception.
    """
    if q.device.type != "cpu":
        return functional.scaled_dot_product_attention(q, keys, values, mask, scale=scale)
    scores = (q * scale) @ keys.transpose(-1, -2)
    if mask is not None:
        scores += mask
    return torch.softmax(scores, -1) @ values


def _norm(module: Any) -> Norm:
    return module.weight.detach(), module.bias.detach()


def _layer(block: Any, int8: bool) -> Layer:
    def linear(conv: Any, *, gelu: Gelu | None = None) -> Product:
        return product(conv.weight.detach().t(), conv.bias.detach(), gelu=gelu, int8=int8)

    attention, mlp = block.attn, block.mlp
    return Layer(
        _norm(block.ln_1),
        linear(attention.c_attn),
        linear(attention.c_proj),
        _norm(block.ln_2),
        linear(mlp.c_fc, gelu="tanh"),
        linear(mlp.c_proj),
        attention.scaling,
    )
