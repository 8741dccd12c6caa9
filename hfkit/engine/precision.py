"""The number format in which a model computes, and which one suits a device."""

from __future__ import annotations

from typing import Literal

import torch

Precision = Literal["float32", "bfloat16", "float16"]


def auto_precision(device: torch.device) -> tuple[Precision, str]:
    """(number format, why): bfloat16 where the machine is fast at it, float16 on older GPUs, else float32."""
    if device.type == "cuda":
        major, minor = torch.cuda.get_device_capability(device)
        capability = f"compute capability {major}.{minor}"
        return (
            ("bfloat16", capability)
            if major >= 8
            else ("float16", capability)
            if major >= 7
            else ("float32", capability)
        )
    if device.type == "cpu":
        if _cpu_has("_is_amx_tile_supported"):
            return "bfloat16", "this CPU has AMX"
        if _cpu_has("_is_avx512_bf16_supported"):
            return "bfloat16", "this CPU has AVX-512 bfloat16"
        return "float32", "this CPU has no fast bfloat16"
    return "float32", f"device {device.type}"


def _cpu_has(probe: str) -> bool:
    found = getattr(torch.cpu, probe, None)
    return bool(found and found())
