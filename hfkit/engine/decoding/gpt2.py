"""A GPT-2's own weights as products laid out for the machine, for slots.py: what transformers' module gives, faster."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch.nn import functional

from hfkit.engine.products import Gelu, Product, product

if TYPE_CHECKING:
    from transformers import PreTrainedModel

TANH_GELUS = ("gelu_new", "gelu_pytorch_tanh")
Norm = tuple[torch.Tensor, torch.Tensor]
# (layer's number; queries, keys, values, each (tokens, heads, size)) -> values mixed by attention, of that shape.
Attend = Callable[[int, torch.Tensor, torch.Tensor, torch.Tensor], torch.Tensor]


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

    def hidden(self, ids: torch.Tensor, at: torch.Tensor, attend: Attend) -> torch.Tensor:
        """Hidden states (tokens, width), after all layers, of tokens `ids` at positions `at`, both (tokens,).

        `attend` mixes tokens; the rest sees each alone.
        """
        hidden = self.tokens[ids] + self.positions[at]
        width = hidden.shape[-1:]
        for number, layer in enumerate(self.layers):
            qkv = layer.qkv(functional.layer_norm(hidden, width, *layer.norm, self.eps))
            q, k, v = qkv.view(len(hidden), 3, self.heads, -1).unbind(1)
            mixed = attend(number, q, k, v).reshape(hidden.shape).to(hidden.dtype)
            hidden = hidden + layer.out(mixed)
            hidden = hidden + layer.down(layer.up(functional.layer_norm(hidden, width, *layer.mlp_norm, self.eps)))
        return hidden

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
