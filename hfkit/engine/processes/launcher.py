"""What a launcher's variables would have accelerate do and the recipe did not ask for: an error, not obeyed in silence.

Looked at before an Accelerator is made, which obeys some of them, and after, at what it says of itself.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from hfkit.errors import UsageError

if TYPE_CHECKING:
    from accelerate import Accelerator

STEPS, FORMAT = "ACCELERATE_GRADIENT_ACCUMULATION_STEPS", "ACCELERATE_MIXED_PRECISION"
UNSET = ("", "0", "false", "no")
PLAIN = "say train.distributed=fsdp in the recipe, and start `accelerate launch` without {}"
LAUNCHER = {  # variable -> what to do about it
    "ACCELERATE_USE_FSDP": PLAIN.format("--use_fsdp"),
    "ACCELERATE_USE_DEEPSPEED": PLAIN.format("--use_deepspeed"),
    "ACCELERATE_USE_MEGATRON_LM": PLAIN.format("--use_megatron_lm"),
    "ACCELERATE_USE_PARALLELISM_CONFIG": PLAIN.format("--use_parallelism_config"),
    "ACCELERATE_DYNAMO_BACKEND": "unset it, and set train.compile",
    STEPS: "unset it: train.batch_size is the examples of a step, train.micro_batch_size those at once",
    FORMAT: "unset it (`accelerate launch --mixed_precision no`), and set train.precision",
}


def check_launcher(environment: Mapping[str, str], mixed: str) -> None:
    """Raise UsageError for a variable that would change what the recipe says; `mixed` is the number format it takes."""
    allowed = {**dict.fromkeys(LAUNCHER, UNSET), STEPS: ("", "1"), FORMAT: (*UNSET, mixed)}
    for name, hint in LAUNCHER.items():
        value = environment.get(name, "")
        if value.lower() not in allowed[name]:
            raise UsageError(f"{name}={value} would act behind the recipe's back", hint)


def check_backend(accelerator: Accelerator, mixed: str) -> None:
    """Raise UsageError for what `accelerate launch` set in the environment and the recipe did not ask for."""
    kind = accelerator.distributed_type.name
    if kind in ("FSDP", "DEEPSPEED", "MEGATRON_LM"):
        raise UsageError(
            f"accelerate launch asks for {kind}, which would act behind the recipe's back",
            "say train.distributed=fsdp, and start with `accelerate launch` without --use_fsdp or --use_deepspeed",
        )
    if accelerator.mixed_precision != mixed:
        raise UsageError(
            f"accelerate took the number format {accelerator.mixed_precision} instead of {mixed}",
            "unset ACCELERATE_MIXED_PRECISION, and set train.precision",
        )
