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
    SequenceClassifierOutput,
)

from hfkit.engine import attention
from hfkit.engine.asked import asked_only
from hfkit.engine.cpu import forget, keep_freed_memory, lean
from hfkit.models.families import ENCODER_DECODERS, OFFSET_POSITIONS, PACKED

if TYPE_CHECKING:
    from hfkit.engine.place import Place

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


def packed(model: Any, place: Place) -> nn.Module:
    """`model` as the engine runs it: in packed rows where its family's parity is tested, else as it is, padded.

    On a CPU its layers are replaced by the lean ones of engine/cpu, which hold the same parameters, unless the weights
    will be shared out (engine/shard.py).
    """
    if place.device.type == "cpu":
        keep_freed_memory()
    if not can_pack(model):
        if place.device.type == "cpu" and model.config.model_type in ENCODER_DECODERS:
            model.set_attn_implementation("eager")  # matrix products: the fused kernel's backward pass is slower
        return model
    attention.register()
    model.set_attn_implementation(attention.NAME)
    if place.device.type == "cpu" and not place.sharded:
        lean(model, DTYPES[place.precision], alone=place.world.size == 1)
    return Packed(model)


def can_pack(model: Any) -> bool:
    """Whether the model's family and head are among those proven equal to padded batches in tests/engine."""
    pooled_by_mean = getattr(model.config, "classifier_pooling", "cls") != "cls"
    head = type(model).__name__
    return (
        model.config.model_type in PACKED
        and not (head.endswith("ForSequenceClassification") and pooled_by_mean)
        and head.endswith(("ForQuestionAnswering", "ForSequenceClassification", "LMHeadModel", "ForMaskedLM"))
    )


def plain(model: nn.Module) -> Any:
    """The transformers model inside, to save or to look at."""
    return model.model if isinstance(model, Packed) else model


class Packed(nn.Module):
    """Runs a padded batch as a packed row.

    The batch holds what engine/collate.py makes: `token_index` (tokens,), the place of each real token on the flattened
    grid, and `cu_seq_lens` (features + 1,), where each feature begins.
    """

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model
        config = model.config
        self.first_position = 0 if config.model_type not in OFFSET_POSITIONS else int(config.pad_token_id) + 1

    def forward(self, batch: Mapping[str, torch.Tensor]) -> ModelOutput:
        """What the model gives for the padded batch, except that logits of padding are 0."""
        if batch["input_ids"].device.type != "cpu":
            return self._outputs(batch)
        # On CPUs the layers know their own format; autocast would cast every weight again at every call.
        with torch.autocast("cpu", enabled=False):
            try:
                return self._outputs(batch)
            except BaseException:
                forget(self)  # out of memory, the step is repeated in the room that this leaves
                raise

    def _outputs(self, batch: Mapping[str, torch.Tensor]) -> ModelOutput:
        head = type(self.model).__name__
        if head.endswith("ForSequenceClassification"):
            hidden = self.model.base_model(**self._row(batch))[0][0]
            return SequenceClassifierOutput(logits=classified(self.model, hidden, batch["cu_seq_lens"]))
        if "asked_index" in batch:
            return asked_only(self.model, lambda: self.model(**self._row(batch)), batch["asked_index"])
        outputs = self.model(**self._row(batch))
        if head.endswith("ForQuestionAnswering"):
            return QuestionAnsweringModelOutput(
                start_logits=on_grid(outputs.start_logits[0], batch), end_logits=on_grid(outputs.end_logits[0], batch)
            )
        return CausalLMOutput(logits=on_grid(outputs.logits[0], batch))

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
        boundaries = {"cu_seq_lens_q": batch["cu_seq_lens"], "cu_seq_lens_k": batch["cu_seq_lens"]}
        return {**row, **boundaries, "max_length_q": width, "max_length_k": width}


def on_grid(values: torch.Tensor, batch: Mapping[str, torch.Tensor]) -> torch.Tensor:
    """(tokens, ...) -> (features, longest, ...), 0 where there is no token."""
    grid = batch["input_ids"].shape
    if values.shape[0] == grid.numel():
        return values.view(*grid, *values.shape[1:])
    empty = values.new_zeros(grid.numel(), *values.shape[1:])
    return empty.index_copy(0, batch["token_index"], values).view(*grid, *values.shape[1:])


def classified(model: Any, hidden: torch.Tensor, boundaries: torch.Tensor) -> torch.Tensor:
    """Logits (features, labels) from hidden states (tokens, size): the head looks at one token of each sequence.

    Decoders are read at their last token, encoders at their first, each through the head its family has.
    """
    if hasattr(model, "score"):  # gpt2
        return model.score(hidden[boundaries[1:].long() - 1])
    first = hidden[boundaries[:-1].long()][:, None]  # the heads themselves take token 0 of each
    base = model.base_model
    if getattr(base, "pooler", None) is not None:  # bert, ernie; albert's pooler is a bare layer
        activation = getattr(base, "pooler_activation", None)
        pooled = base.pooler(first) if activation is None else activation(base.pooler(first[:, 0]))
        return model.classifier(model.dropout(pooled))
    if hasattr(model, "pre_classifier"):  # distilbert
        return model.classifier(model.dropout(torch.relu(model.pre_classifier(first[:, 0]))))
    if hasattr(model, "head"):  # modernbert
        return model.classifier(model.drop(model.head(first[:, 0])))
    return model.classifier(first)  # roberta and its kin, electra


@lru_cache(maxsize=64)
def accepted(call: Callable[..., Any]) -> frozenset[str]:
    """The names of a function's arguments."""
    return frozenset(inspect.signature(call).parameters)
