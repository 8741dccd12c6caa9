"""Training with the weights shared out over the processes (FSDP, by torch's fully_shard), and putting them together.

Each process holds a share of every weight, gradient and moment. A layer's weights are gathered when it computes, and
let go after it; gradients are summed into their owners. Layers are left as transformers made them: the lean ones of
engine/cpu keep copies of weights, which would outlive a gathering.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from torch.distributed.tensor import DTensor, distribute_tensor

from hfkit.engine.lora import adapted, merged
from hfkit.errors import UsageError

if TYPE_CHECKING:
    from hfkit.engine.processes.place import Place

DTYPES = {"float32": None, "bfloat16": torch.bfloat16}


def shard(model: Any, place: Place) -> nn.Module:
    """`model` on its device, its weights shared out in place: each of its layers, then the rest.

    Computes in the number format of `place`; gradients are summed in float32. Raises UsageError when a weight was not
    shared out.
    """
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard
    from transformers.modeling_layers import GradientCheckpointingLayer

    model = model.to(place.device)
    mesh = init_device_mesh(place.device.type, (place.world.size,))
    policy = MixedPrecisionPolicy(param_dtype=DTYPES[place.precision], reduce_dtype=torch.float32)
    for layer in [m for m in model.modules() if isinstance(m, GradientCheckpointingLayer)]:
        fully_shard(layer, mesh=mesh, mp_policy=policy)
    fully_shard(model, mesh=mesh, mp_policy=policy)
    left = [name for name, parameter in model.named_parameters() if not isinstance(parameter, DTensor)]
    if left:
        raise UsageError(
            f"train.distributed=fsdp: {len(left)} weights were not shared out, first {left[0]}",
            "take train.distributed=ddp",
        )
    return model


def local(values: torch.Tensor) -> torch.Tensor:
    """What this process holds of a tensor: its share, or all of it."""
    return values.to_local() if isinstance(values, DTensor) else values


def whole(values: torch.Tensor) -> torch.Tensor:
    """A tensor put together from all processes, on the CPU; all of them must ask for it."""
    return (values.full_tensor() if isinstance(values, DTensor) else values).detach().cpu()


def shared_like(values: torch.Tensor, parameter: torch.Tensor) -> torch.Tensor:
    """Whole values, which every process has, on the device of `parameter` and shared out as it is."""
    if not isinstance(parameter, DTensor):
        return values.to(parameter.device)
    return distribute_tensor(
        values.to(parameter.device), parameter.device_mesh, parameter.placements, src_data_rank=None
    )


def whole_weights(model: nn.Module, *, keep: bool) -> dict[str, torch.Tensor] | None:
    """What a model folder holds, where that is not what the model holds: shares put together, adapters merged.

    None where the model can be saved as it is. All processes call it; those without `keep` get nothing.
    """
    layers = adapted(model)
    sharded = any(isinstance(p, DTensor) for p in model.parameters())
    if not layers and not sharded:
        return None
    weights = dict(_whole(model.named_parameters(), keep)) | (dict(_whole(_kept_buffers(model), keep)))
    return merged(weights, layers) if keep else {}


def whole_moments(
    model: nn.Module, optimizer: torch.optim.Optimizer, names: Iterable[str], *, keep: bool
) -> dict[str, torch.Tensor]:
    """`names` of the optimizer's state of each parameter, as KIND.PARAMETER; for all processes as `whole_weights`."""
    kinds = list(names)
    states = ((name, optimizer.state.get(parameter)) for name, parameter in model.named_parameters())
    found = ((f"{kind}.{name}", torch.as_tensor(state[kind])) for name, state in states if state for kind in kinds)
    return dict(_whole(found, keep))


def trained_weights(model: nn.Module, *, keep: bool) -> dict[str, torch.Tensor] | None:
    """The weights that move, by the names in the model, where the folder does not hold them: adapters and head."""
    if not adapted(model):
        return None
    return dict(_whole(((n, p) for n, p in model.named_parameters() if p.requires_grad), keep))


def _whole(tensors: Iterable[tuple[str, torch.Tensor]], keep: bool) -> Iterable[tuple[str, torch.Tensor]]:
    for name, values in tensors:
        found = whole(values)
        if keep:
            yield name, found.contiguous().clone()


def _kept_buffers(model: nn.Module) -> Iterable[tuple[str, torch.Tensor]]:
    """The buffers that belong to a model's folder."""
    stored = model.state_dict().keys()
    return ((name, values) for name, values in model.named_buffers() if name in stored)
