"""This process on its device: accelerate's Accelerator for the world that was joined, checked against what was asked."""

from __future__ import annotations

import os
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from accelerate import Accelerator, DistributedDataParallelKwargs
from accelerate.state import AcceleratorState
from accelerate.utils import gather_object

from hfkit.engine.launch import Delegated, launch
from hfkit.engine.optimize import Precision, auto_precision
from hfkit.engine.world import Launch, World, find_place, join
from hfkit.errors import UsageError
from hfkit.run import cpus

MIXED = {"float32": "no", "bfloat16": "bf16", "float16": "fp16"}


@dataclass(frozen=True)
class Place:
    """A device, a rank, and the number format in force."""

    world: World
    accelerator: Accelerator
    precision: Precision
    precision_why: str

    @property
    def device(self) -> torch.device:
        return self.accelerator.device

    def describe(self) -> str:
        """The device in words."""
        if self.device.type == "cuda":
            return f"{self.world.size} x {torch.cuda.get_device_name(self.device)}"
        return f"{self.device.type}, {torch.get_num_threads()} threads" + (f", {self.world.size} processes" if self.world.size > 1 else "")

    def sum(self, values: torch.Tensor) -> torch.Tensor:
        """The sum of a tensor over all processes."""
        return self.accelerator.reduce(values, reduction="sum") if self.world.size > 1 else values

    def gather(self, value: Any) -> list[Any]:
        """One value of each process, in rank order, on every process."""
        return gather_object([value]) if self.world.size > 1 else [value]

    def barrier(self) -> None:
        """Wait for the other processes."""
        if self.world.size > 1:
            self.accelerator.wait_for_everyone()


def take_place(*, cpu: bool, processes: int | None = None, precision: str = "auto", trackers: Sequence[str] = (), logs: str | None = None) -> Place:
    """Join the world and its device. Starts child processes, waits and raises Delegated when there are several devices.

    Raises UsageError when a launcher's variables do not fit, or the joined world has another size than asked.
    """
    gpus = 0 if cpu else torch.cuda.device_count()
    found = find_place(os.environ, devices=max(1, gpus), processes=processes)
    if isinstance(found, Launch):
        raise Delegated(launch(found))
    os.environ.update(join(found))
    if "OMP_NUM_THREADS" not in os.environ:
        torch.set_num_threads(max(1, cpus() // found.local_size))
    device = torch.device("cuda", found.local_rank) if gpus else torch.device("mps" if _mps(cpu) else "cpu")
    chosen, why = auto_precision(device) if precision == "auto" else (precision, "given")
    if found.size == 1:
        # accelerate keeps its first settings for the life of the process; a notebook may run several models.
        AcceleratorState._reset_state(reset_partial_state=True)
    accelerator = _accelerator(device.type == "cpu", MIXED[chosen], trackers, logs)
    if accelerator.num_processes != found.size:
        raise UsageError(
            f"{found.size} processes were started but {accelerator.num_processes} joined",
            "unset RANK, WORLD_SIZE and LOCAL_RANK, or start hfkit through torchrun",
        )
    return Place(found, accelerator, chosen, why)  # type: ignore[arg-type]


def _mps(cpu: bool) -> bool:
    return not cpu and hasattr(torch.backends, "mps") and torch.backends.mps.is_available()


def _accelerator(cpu: bool, mixed: str, trackers: Sequence[str] = (), logs: str | None = None) -> Accelerator:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return Accelerator(
            cpu=cpu,
            mixed_precision=mixed,
            log_with=list(trackers) or None,
            project_dir=logs,
            kwargs_handlers=[DistributedDataParallelKwargs(gradient_as_bucket_view=True, find_unused_parameters=True)],
        )
