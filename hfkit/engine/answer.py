"""Rows -> predictions: batches planned over the whole data, spans and classes found on the device, order restored, each row once.

Serves `eval`, `predict`, the evaluations of a training run, and a server.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch

from hfkit.data.arrow import Features
from hfkit.engine.collate import collate
from hfkit.engine.forward import forward
from hfkit.engine.place import Place
from hfkit.engine.plan import answer_batches
from hfkit.tasks.base import Prediction, Row, Task

IN_MEMORY_BYTES = 512 * 2**20  # reads larger than this are kept in a temporary file
BATCH_TOKENS = {"cpu": 4096, "cuda": 65536}

Reads = Mapping[str, np.ndarray]  # name -> (features, ...)


def answer(
    model: torch.nn.Module,
    task: Task,
    rows: Sequence[Row],
    features: Features,
    *,
    place: Place,
    pad_id: int,
    batch_tokens: int | None = None,
    on_progress: Callable[[int, int], None] | None = None,
) -> Iterator[Prediction]:
    """Yield the prediction of every row, in row order, on the main process; the others take part and yield nothing.

    `batch_tokens` is the number of padded tokens per batch. Every process takes whole batches, so one and several
    processes give equal predictions. Raises RuntimeError when a feature was not read (a bug, never silent).
    """
    reads = read_all(model, task, features, place=place, pad_id=pad_id, batch_tokens=batch_tokens, on_progress=on_progress)
    if not place.world.main:
        return
    bounds = np.searchsorted(features.rows, np.arange(len(rows) + 1)) if not task.blocks else np.arange(len(features) + 1)
    for number in range(len(bounds) - 1):
        first, last = int(bounds[number]), int(bounds[number + 1])
        if first == last:
            raise RuntimeError(f"row {number} has no features")
        row = features.take([number])[0] if task.blocks else rows[number]
        yield task.merge(row, [{name: values[i] for name, values in reads.items()} for i in range(first, last)])


def read_all(
    model: torch.nn.Module,
    task: Task,
    features: Features,
    *,
    place: Place,
    pad_id: int,
    batch_tokens: int | None = None,
    on_progress: Callable[[int, int], None] | None = None,
) -> Reads:
    """What `task.read` keeps of every feature, in feature order, on the main process."""
    batches = answer_batches(features.lengths, batch_tokens or BATCH_TOKENS.get(place.device.type, 4096))
    mine = batches[place.world.rank :: place.world.size]
    store = _Store(len(features))
    training = model.training
    model.eval()
    try:
        with torch.inference_mode():
            for number, indices in enumerate(mine):
                batch = {k: v.to(place.device) for k, v in collate(features.take(indices.tolist()), pad_id).items()}
                store.put(indices, task.read(forward(model, batch), batch))
                if on_progress:
                    on_progress(min(len(features), (number + 1) * place.world.size * len(indices)), len(features))
    finally:
        model.train(training)
    if place.world.size > 1:
        for rank, part in enumerate(place.gather(store.part())):
            if rank != place.world.rank:
                store.put_part(part)
    if place.world.main:
        store.check()
    return store.arrays


class _Store:
    """Reads by feature number: arrays allocated at the first batch, in a temporary file when they are large."""

    def __init__(self, count: int) -> None:
        self.arrays: dict[str, np.ndarray] = {}
        self.seen = np.zeros(count, dtype=bool)

    def put(self, indices: np.ndarray, reads: Mapping[str, torch.Tensor]) -> None:
        self.put_part((indices, {name: value.float().cpu().numpy() if value.is_floating_point() else value.cpu().numpy() for name, value in reads.items()}))

    def part(self) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        indices = np.flatnonzero(self.seen)
        return indices, {name: np.asarray(values[indices]) for name, values in self.arrays.items()}

    def put_part(self, part: tuple[np.ndarray, Mapping[str, np.ndarray]]) -> None:
        indices, reads = part
        for name, values in reads.items():
            if name not in self.arrays:
                self.arrays[name] = _allocate((len(self.seen), *values.shape[1:]), values.dtype)
            self.arrays[name][indices] = values
        self.seen[indices] = True

    def check(self) -> None:
        if not self.seen.all():
            raise RuntimeError(f"{int((~self.seen).sum())} features were not read, the first is {int(np.argmin(self.seen))}")


def _allocate(shape: tuple[int, ...], dtype: Any) -> np.ndarray:
    if int(np.prod(shape)) * np.dtype(dtype).itemsize < IN_MEMORY_BYTES:
        return np.zeros(shape, dtype=dtype)
    with tempfile.NamedTemporaryFile(prefix="hfkit-reads-") as handle:  # unlinked on closing; the mapping keeps it alive
        return np.memmap(handle.name, dtype=dtype, mode="w+", shape=shape)
