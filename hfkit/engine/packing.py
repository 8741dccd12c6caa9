"""A model whose batches pass through it as one row of real tokens, no padding; its outputs come back on the grid.

Tasks see the same (features, tokens) tensors as with a padded batch, so a task knows nothing of packing.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from transformers.modeling_outputs import (
    CausalLMOutput,
    ModelOutput,
    QuestionAnsweringModelOutput,
)

from hfkit.engine import attention, heads
from hfkit.engine.asked import asked_only
from hfkit.engine.cpu import forget, keep_freed_memory, lean, narrow_last
from hfkit.models.families import ENCODER_DECODERS, OFFSET_POSITIONS, PACKED

if TYPE_CHECKING:
    from hfkit.engine.processes.place import Place

ALIGNED = 16  # of tokens: kernels of padded attention take masks whose width is a multiple of it
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


def packed(model: Any, place: Place, *, masks: int = 1, compiled: bool = False) -> nn.Module:
    """`model` as the engine runs it: in packed rows where its family's parity is tested, else as it is, padded.

    `masks` are the dropout masks that a classification head draws for each feature in training (engine/heads.py).
    On a CPU its layers are replaced by the lean ones of engine/cpu, which hold the same parameters, unless the weights
    will be shared out (engine/shard.py) or the layers `compiled` (engine/regional.py).
    """
    if place.device.type == "cpu":
        keep_freed_memory()
    if not can_pack(model):
        if place.device.type == "cpu" and model.config.model_type in ENCODER_DECODERS:
            model.set_attn_implementation("eager")  # matrix products: the fused kernel's backward pass is slower
        unlike = masks > 1 or heads.chosen_pooling(model.config) is not None
        return Headed(model, masks) if classifies(model) and unlike else model
    attention.register()
    attention.look_for_varlen(place.device)
    model.set_attn_implementation(attention.NAME)
    narrowed = False
    if place.device.type == "cpu" and not place.sharded and not compiled:
        dtype = DTYPES[place.precision]
        narrowed = classifies(model) and heads.pooling_of(model.config) == "cls" and narrow_last(model, dtype)
        lean(model, dtype, alone=place.world.size == 1)
    return Packed(model, masks, autocast=compiled, narrowed=narrowed)


def can_pack(model: Any) -> bool:
    """Whether the model's family and head are among those proven equal to padded batches in tests/engine."""
    pooled_by_mean = getattr(model.config, "classifier_pooling", "cls") != "cls"
    head = type(model).__name__
    return (
        model.config.model_type in PACKED
        and not (classifies(model) and pooled_by_mean)
        and head.endswith(("ForQuestionAnswering", "ForSequenceClassification", "LMHeadModel", "ForMaskedLM"))
    )


def classifies(model: Any) -> bool:
    """Whether the model has a head for labels."""
    return type(model).__name__.endswith("ForSequenceClassification")


def plain(model: nn.Module) -> Any:
    """The transformers model inside, to save or to look at."""
    return model.model if isinstance(model, (Packed, Headed)) else model


class Headed(nn.Module):
    """Runs a padded batch through a classifier whose head is read as the recipe's tricks say, by engine/heads.py."""

    def __init__(self, model: Any, masks: int) -> None:
        super().__init__()
        self.model, self.masks = model, masks

    def forward(self, batch: Mapping[str, torch.Tensor]) -> ModelOutput:
        """What the model gives for the batch, by the pooling in its config."""
        known = accepted(type(self.model.base_model).forward)
        names = ("input_ids", "attention_mask", "token_type_ids")
        grid = self.model.base_model(**{name: batch[name] for name in names if name in batch and name in known})[0]
        vectors = heads.pooled(grid, batch["attention_mask"], heads.pooling_of(self.model.config))
        return heads.classified(self.model, vectors, self.masks if self.training else 1)


class Packed(nn.Module):
    """Runs a padded batch as a packed row.

    The batch holds what engine/collate.py makes: `token_index` (tokens,), the place of each real token on the flattened
    grid, and `cu_seq_lens` (features + 1,), where each feature begins. `autocast` says that on a CPU, too, layers leave
    the number format to autocast. `compiled` is set while the layers are (engine/regional.py). `narrowed` says that the
    last layer gives the first token of each sequence alone (engine/cpu/last.py).
    """

    def __init__(self, model: Any, masks: int = 1, *, autocast: bool = False, narrowed: bool = False) -> None:
        super().__init__()
        self.model, self.masks = model, masks
        self.autocast, self.compiled, self.narrowed = autocast, False, narrowed
        config = model.config
        self.first_position = 0 if config.model_type not in OFFSET_POSITIONS else int(config.pad_token_id) + 1

    def forward(self, batch: Mapping[str, torch.Tensor]) -> ModelOutput:
        """What the model gives for the padded batch, except that logits of padding are 0."""
        if batch["input_ids"].device.type != "cpu" or self.autocast:
            return self._outputs(batch)
        # On CPUs lean layers know their own format; autocast would cast every weight again at every call.
        with torch.autocast("cpu", enabled=False):
            try:
                return self._outputs(batch)
            except BaseException:
                forget(self)  # out of memory, the step is repeated in the room that this leaves
                raise

    def hidden(self, batch: Mapping[str, torch.Tensor]) -> torch.Tensor:
        """What goes into the head for each real token, (tokens, size); where `narrowed`, for each sequence."""
        found: torch.Tensor = self.model.base_model(**self._row(batch))[0][0]
        return found

    def _outputs(self, batch: Mapping[str, torch.Tensor]) -> ModelOutput:
        if classifies(self.model):
            vectors = self._vectors(self.hidden(batch), batch)
            return heads.classified(self.model, vectors, self.masks if self.training else 1)
        if "asked_index" in batch:
            return asked_only(self.model, lambda: self.model(**self._row(batch)), batch["asked_index"])
        outputs = self.model(**self._row(batch))
        if type(self.model).__name__.endswith("ForQuestionAnswering"):
            return QuestionAnsweringModelOutput(
                start_logits=on_grid(outputs.start_logits[0], batch), end_logits=on_grid(outputs.end_logits[0], batch)
            )
        return CausalLMOutput(logits=on_grid(outputs.logits[0], batch))

    def _vectors(self, hidden: torch.Tensor, batch: Mapping[str, torch.Tensor]) -> torch.Tensor:
        """The vector (features, size) that stands for each sequence, from hidden states (tokens, size)."""
        if self.narrowed:
            return hidden
        how = heads.pooling_of(self.model.config)
        if how in ("cls", "last"):
            boundaries = batch["cu_seq_lens"].long()
            return hidden[boundaries[:-1] if how == "cls" else boundaries[1:] - 1]
        return heads.pooled(on_grid(hidden, batch), batch["attention_mask"], how)

    def _row(self, batch: Mapping[str, torch.Tensor]) -> dict[str, Any]:
        """The arguments of the model's call: the real tokens in one row, and where each sequence begins."""
        index, width = batch["token_index"], batch["input_ids"].shape[1]
        row: dict[str, Any] = {
            "input_ids": batch["input_ids"].flatten()[index][None],
            "position_ids": (index % width + self.first_position)[None],
            # Without one, GPT-2 looks for padding at every call, which waits for the device, and warns of it.
            "attention_mask": torch.ones(1, len(index), dtype=torch.bool, device=index.device),
        }
        if "token_type_ids" in batch and "token_type_ids" in accepted(type(self.model).forward):
            row["token_type_ids"] = batch["token_type_ids"].flatten()[index][None]
        if "use_cache" in accepted(type(self.model.base_model).forward):
            row["use_cache"] = False
        begins = batch["cu_seq_lens"]
        if self.compiled and self.training:  # torch makes other code for one sequence, and for some widths
            begins = begins if len(begins) > 2 else torch.cat([begins, begins[1:]])  # an empty one behind it
            width = -(-width // ALIGNED) * ALIGNED
        return {**row, "cu_seq_lens_q": begins, "cu_seq_lens_k": begins, "max_length_q": width, "max_length_k": width}


def on_grid(values: torch.Tensor, batch: Mapping[str, torch.Tensor]) -> torch.Tensor:
    """(tokens, ...) -> (features, longest, ...), 0 where there is no token."""
    grid = batch["input_ids"].shape
    if values.shape[0] == grid.numel():
        return values.view(*grid, *values.shape[1:])
    empty = values.new_zeros(grid.numel(), *values.shape[1:])
    return empty.index_copy(0, batch["token_index"], values).view(*grid, *values.shape[1:])


@lru_cache(maxsize=64)
def accepted(call: Callable[..., Any]) -> frozenset[str]:
    """The names of a function's arguments."""
    return frozenset(inspect.signature(call).parameters)
