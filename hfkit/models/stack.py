"""Where a family keeps its embeddings and its layers: by these names parts of a model are frozen, adapted, sharded."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from hfkit.errors import UsageError

BERT = ("encoder.layer", ("embeddings",))
# family -> the list of its layers, and what comes before them or serves all of them; names inside the base model.
# ALBERT has none: all its layers share one set of weights.
STACKS: Mapping[str, tuple[str, tuple[str, ...]]] = {
    "bert": BERT,
    "camembert": BERT,
    "deberta-v2": ("encoder.layer", ("embeddings", "encoder.rel_embeddings", "encoder.LayerNorm", "encoder.conv")),
    "distilbert": ("transformer.layer", ("embeddings",)),
    "electra": ("encoder.layer", ("embeddings", "embeddings_project")),
    "ernie": BERT,
    "gpt2": ("h", ("wte", "wpe")),
    "modernbert": ("layers", ("embeddings",)),
    "roberta": BERT,
    "xlm-roberta": BERT,
}
COUNTS = ("num_hidden_layers", "n_layer", "n_layers")  # what configs call the number of layers


@dataclass(frozen=True)
class Stack:
    """The full names of a model's embeddings and of each of its layers, the lowest first."""

    embeddings: tuple[str, ...]
    layers: tuple[str, ...]

    def depth(self, name: str) -> int:
        """How high a weight stands: 0 embeddings, 1 the lowest layer, ..., len(layers) + 1 all that comes after."""
        if _inside(name, self.embeddings):
            return 0
        return next((i for i, layer in enumerate(self.layers, 1) if _inside(name, (layer,))), len(self.layers) + 1)


def stack_of(model: Any, key: str) -> Stack:
    """The stack of a transformers model. Raises UsageError, naming the recipe's `key`, for a family without a table."""
    layers, embeddings = STACKS[known_family(model.config.model_type, key)]
    base = model.base_model_prefix + "." if model.base_model is not model else ""
    names = [name for name, _ in model.base_model.get_submodule(layers).named_children()]
    return Stack(tuple(base + name for name in embeddings), tuple(f"{base}{layers}.{name}" for name in names))


def known_family(kind: str, key: str) -> str:
    """`kind` itself. Raises UsageError when its layers are not known by name."""
    if kind == "albert":
        raise UsageError(f"{key}: the layers of an albert share one set of weights", f"leave {key} out")
    if kind not in STACKS:
        raise UsageError(f"{key}: the layers of a {kind} are not known by name", f"it works for {', '.join(STACKS)}")
    return kind


def layer_count(config: Mapping[str, Any]) -> int | None:
    """The number of layers that a config.json names."""
    return next((int(config[name]) for name in COUNTS if isinstance(config.get(name), int)), None)


def _inside(name: str, parts: tuple[str, ...]) -> bool:
    return any(name == part or name.startswith(part + ".") for part in parts)
