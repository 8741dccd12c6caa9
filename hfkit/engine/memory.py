"""Memory of the device a process computes on: what there is, the most that was held, and the errors of too little."""

from __future__ import annotations

import gc
import sys
from contextlib import suppress
from pathlib import Path

import torch

from hfkit.errors import ResourceError
from hfkit.machine import memory

# What torch says when an allocation fails and the class of the error does not: its CPU allocator, cuBLAS, mps.
WORDS = ("can't allocate memory", "not enough memory", "CUBLAS_STATUS_ALLOC_FAILED", "out of memory")
ONEDNN = "could not create a primitive"  # all that it says of too little memory; of an unfit operation it says more


def out_of_memory(error: BaseException) -> bool:
    """Whether an error means that the device had too little memory for what was asked."""
    if isinstance(error, (MemoryError, torch.OutOfMemoryError)):
        return True
    if not isinstance(error, RuntimeError):
        return False
    return str(error) == ONEDNN or any(word in str(error) for word in WORDS)


def too_large(tokens: int) -> ResourceError:
    """The user's words when one example alone cannot be answered."""
    return ResourceError(
        f"out of memory with one example of {tokens:,} tokens",
        "make examples shorter, take a smaller model, or use a larger machine",
    )


def give_back(device: torch.device) -> None:
    """Free what nothing refers to any more, so that smaller pieces find room."""
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()


def available(device: torch.device, *, sharers: int = 1) -> int | None:
    """Bytes this process may hold, what it holds already included; None where the system does not say.

    On a CPU the processes of one machine, `sharers`, divide what is free: the least that a control group's limit or
    the machine leaves.
    """
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        return int(free + torch.cuda.memory_reserved(device))
    found = memory() if device.type == "cpu" else None
    return None if found is None else held(device) + found.free // sharers


def held(device: torch.device) -> int:
    """Bytes this process holds now: on the GPU where there is one, else in all; 0 where the system does not say."""
    return int(torch.cuda.memory_allocated(device)) if device.type == "cuda" else _status("VmRSS")


def reset_peak(device: torch.device) -> None:
    """Let `peak_memory` speak of what comes from now on, where the system can forget."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        return
    with suppress(OSError):  # Linux alone; 5 resets the high-water mark (proc(5))
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")


def peak_memory(device: torch.device) -> int:
    """Bytes: of the GPU where there is one, else the most this process ever held; 0 where the system does not say."""
    if device.type == "cuda":
        return int(torch.cuda.max_memory_allocated(device))
    if marked := _status("VmHWM"):
        return marked
    try:
        import resource
    except ImportError:
        return 0
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return int(peak if sys.platform == "darwin" else peak * 1024)


def _status(name: str) -> int:
    """A line of /proc/self/status in bytes; 0 where there is none."""
    try:
        lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{name}:")), 0)
