"""What a launcher's variables would have accelerate do and the recipe did not ask for: an error, not obeyed in silence.

Looked at before an Accelerator is made, which obeys some of them, and after, at what it says of itself.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from hfkit.errors import UsageError

if TYPE_CHECKING:
    import torch
    from accelerate import Accelerator

STEPS = "ACCELERATE_GRADIENT_ACCUMULATION_STEPS"
UNSET = ("", "0", "false", "no", "off", "n", "f")
LAUNCHER = {  # variable -> what to do about it
    "ACCELERATE_USE_FSDP": "start `accelerate launch` without --use_fsdp, and train with train.distributed=fsdp",
    "ACCELERATE_USE_DEEPSPEED": "start `accelerate launch` without --use_deepspeed",
    "ACCELERATE_USE_MEGATRON_LM": "start `accelerate launch` without --use_megatron_lm",
    "ACCELERATE_USE_PARALLELISM_CONFIG": "start `accelerate launch` without --use_parallelism_config",
    "ACCELERATE_DYNAMO_BACKEND": "unset it: train.compile says what is compiled",
    STEPS: "unset it: train.batch_size is the examples of a step, train.micro_batch_size those at once",
}


def check_launcher(environment: Mapping[str, str]) -> None:
    """Raise UsageError for a variable by which accelerate would do something that hfkit was not asked for."""
    for name, hint in LAUNCHER.items():
        value = environment.get(name, "")
        if value.lower() not in (("", "1") if name == STEPS else UNSET):
            raise UsageError(f"{name}={value} would act behind hfkit's back", hint)


def check_backend(accelerator: Accelerator, mixed: str, device: torch.device) -> None:
    """Raise UsageError where accelerate took another device or number format than it was told."""
    if accelerator.device.type != device.type:
        raise UsageError(
            f"accelerate took the device {accelerator.device.type} instead of {device.type}",
            "unset ACCELERATE_USE_CPU and ACCELERATE_TORCH_DEVICE; hfkit's own word for it is --cpu",
        )
    if accelerator.mixed_precision != mixed:
        raise UsageError(
            f"accelerate took the number format {accelerator.mixed_precision} instead of {mixed}",
            "unset ACCELERATE_MIXED_PRECISION, and set train.precision",
        )
