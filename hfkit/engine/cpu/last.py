"""A classifier's last layer on CPUs, computed for the one token of each sequence that the head looks at.

Queries, the feed-forward half and all between them of the other tokens have no effect on logits or gradients: in a
model of six layers they are a seventh of all products.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from hfkit.engine.cpu.attention import Pattern, attention
from hfkit.engine.cpu.projection import Projection

FAMILIES = ("bert", "camembert", "electra", "ernie", "roberta", "xlm-roberta")  # whose layers are built as BERT's


def narrow_last(model: Any, dtype: torch.dtype) -> bool:
    """Replace the last layer in place, where the family is known; parameters and their names stay.

    For `lean` with `dtype` to follow, which leaves its query a product of its own: of other tokens than key and value.
    """
    config = model.config
    if config.model_type not in FAMILIES or getattr(config, "is_decoder", False) or config.num_hidden_layers < 2:
        return False
    layers = model.base_model.encoder.layer
    within = layers[-1].attention.self
    if type(within.query) is nn.Linear and dtype != torch.float32:
        within.query = Projection(within.query, dtype)
    layers[-1] = LastLayer(layers[-1]).train(layers[-1].training)
    return True


class LastLayer(nn.Module):
    """Of a packed row it gives the hidden states (1, sequences, width) of each sequence's first token."""

    def __init__(self, layer: Any) -> None:
        super().__init__()
        self.attention, self.intermediate, self.output = layer.attention, layer.intermediate, layer.output

    def forward(self, hidden: torch.Tensor, *_: Any, cu_seq_lens_q: torch.Tensor, **__: Any) -> torch.Tensor:
        first = hidden[:, cu_seq_lens_q[:-1].long()]
        mixed = self._mixed(first[0], hidden[0], cu_seq_lens_q.diff().tolist())
        attended = self.attention.output(mixed[None], first)
        found: torch.Tensor = self.output(self.intermediate(attended), attended)
        return found

    def _mixed(self, first: torch.Tensor, hidden: torch.Tensor, lengths: list[int]) -> torch.Tensor:
        """What the first tokens (sequences, width) take from all tokens (tokens, width) of their sequences."""
        parts: Any = self.attention.self
        layers = ((parts.query, first), (parts.key, hidden), (parts.value, hidden))
        query, key, value = (layer(x).view(len(x), -1, parts.attention_head_size) for layer, x in layers)
        dropout = parts.dropout.p if self.training else 0.0
        return attention(query, key, value, lengths, Pattern(parts.scaling, dropout=dropout, first=True)).flatten(1)
