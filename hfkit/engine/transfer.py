"""A batch to the device and what was read of it back, each in one copy: a GPU is waited for once, not per tensor."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch

Tensors = Mapping[str, torch.Tensor]


def to_device(batch: Tensors, device: torch.device) -> dict[str, torch.Tensor]:
    """The tensors of a collated batch on `device`; a GPU copies them while this process goes on."""
    if device.type != "cuda":
        return {name: values.to(device) for name, values in batch.items()}
    return moved_together(batch, device)


def to_host(reads: Tensors) -> dict[str, np.ndarray]:
    """What `Task.read` kept of a batch, as arrays; 16-bit floats, which numpy may not know, become float32."""
    plain = {
        name: values.float() if values.dtype in (torch.bfloat16, torch.float16) else values
        for name, values in reads.items()
    }
    there = {name: values for name, values in plain.items() if values.device.type == "cuda"}
    if there:
        plain |= moved_together(there, torch.device("cpu"))
    return {name: values.cpu().numpy() for name, values in plain.items()}


def moved_together(tensors: Tensors, device: torch.device) -> dict[str, torch.Tensor]:
    """The same tensors on `device`, out of one buffer that was copied at once.

    On a GPU each gets memory of its own there: compiled layers look at where in its memory a tensor begins.
    """
    widest_first = sorted(tensors, key=lambda name: -tensors[name].element_size())  # so that each begins aligned
    buffer = torch.cat([tensors[name].reshape(-1).view(torch.uint8) for name in widest_first])
    there = buffer.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else buffer.to(device)
    found, begin = {}, 0
    for name in widest_first:
        values = tensors[name]
        end = begin + values.numel() * values.element_size()
        view = there[begin:end].view(values.dtype).view(values.shape)
        found[name] = view.clone() if device.type == "cuda" else view
        begin = end
    return {name: found[name] for name in tensors}
