"""How many threads of this process work side by side on a CPU; those that torch has besides go into its operations."""

from __future__ import annotations

import torch

from hfkit.engine.cpu import MOST
from hfkit.engine.packing import Packed
from hfkit.engine.parts import recomputes
from hfkit.engine.processes.place import Place


def training_threads(model: torch.nn.Module, place: Place, examples: int) -> int:
    """Threads that take a micro-batch each, of a step of so many examples; the size of micro-batches may yet shrink.

    Layers that are computed again in the backward pass must draw the same masks again, which torch's own generator
    alone can be set back for.
    """
    return 1 if recomputes(model) else min(_threads(model, place), max(1, examples))


def answering_threads(model: torch.nn.Module, place: Place) -> int:
    """Threads that take a batch to answer each."""
    return _threads(model, place)


def _threads(model: torch.nn.Module, place: Place) -> int:
    """One on GPUs, with several processes, and for padded batches, whose dropout torch draws for all threads."""
    if place.device.type != "cpu" or place.world.size > 1 or not isinstance(model, Packed):
        return 1
    return min(MOST, torch.get_num_threads())
