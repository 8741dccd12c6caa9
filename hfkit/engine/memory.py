"""Memory that ran out on the device: recognised, freed, and what to say when nothing smaller is left."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from hfkit.errors import ResourceError


class OutOfMemory(Exception):
    """The device could not hold what was asked for; nothing that was allocated for it is held any more."""


@contextmanager
def recognised() -> Iterator[None]:
    """Turn what torch raises when memory ran out (a class on GPUs, words on CPUs) into OutOfMemory."""
    try:
        yield
    except RuntimeError as error:
        if not isinstance(error, torch.OutOfMemoryError) and "can't allocate memory" not in str(error):
            raise
    else:
        return
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    raise OutOfMemory


def too_little(what: str) -> ResourceError:
    """The error when even one example at a time does not fit."""
    return ResourceError(
        f"out of memory {what}, one example at a time", "try a smaller model or a smaller --max-length, or add --cpu"
    )
