"""Rows -> predictions: batches planned over all the data, reads made on the device, order restored, each row once.

Serves `eval`, `predict`, the evaluations of a training run, and a server.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from hfkit.engine.collate import collate
from hfkit.engine.forward import forward
from hfkit.engine.packing import plain
from hfkit.engine.place import Place
from hfkit.engine.plan import answer_batches
from hfkit.stopping import Left
from hfkit.tasks.base import Prediction, Row, Task

if TYPE_CHECKING:
    from hfkit.data.features import Features

IN_MEMORY_BYTES = 512 * 2**20  # reads larger than this are kept in a temporary file
BATCH_TOKENS = {"cpu": 4096, "cuda": 65536}
BATCH_LOGITS = {"cpu": 2**26, "cuda": 2**30}  # of language models, whose outputs are tokens x vocabulary

Reads = Mapping[str, np.ndarray]  # name -> (features, ...)


def answer(
    model: torch.nn.Module, task: Task, rows: Sequence[Row], features: Features, *, place: Place, pad_id: int
) -> Iterator[Prediction]:
    """Yield the prediction of every row, in row order, on the main process; the others take part and yield nothing.

    Every process takes whole batches of one plan, so one and several processes give equal predictions.
    """
    work = reading(model, task, features, place=place, pad_id=pad_id)
    while True:
        try:
            next(work)
        except StopIteration as end:
            yield from merged(task, rows, features, end.value) if place.world.main else ()
            return


def reading(
    model: torch.nn.Module,
    task: Task,
    features: Features,
    *,
    place: Place,
    pad_id: int,
    micro_batch_size: int | None = None,
    leave: Callable[[], bool] = lambda: False,
) -> Generator[int, None, Reads]:
    """Pass all features through the model, yielding how many are done; returns what `task.read` kept, in feature order.

    The result is complete on the main process. `micro_batch_size` limits the features of one batch. `leave` is asked
    before each batch; when any process says yes, all raise Left.
    """
    batches = answer_batches(features.lengths, batch_tokens(model, task, place.device.type), micro_batch_size)
    store = _Store(len(features))
    training, left = model.training, False
    model.eval()
    try:
        done = 0
        for indices in batches[place.world.rank :: place.world.size]:
            if left := leave():
                break
            with torch.inference_mode():
                batch = collate(features.take(indices.tolist()), pad_id)
                batch = {name: values.to(place.device) for name, values in batch.items()}
                store.put(indices, task.read(forward(model, batch), batch))
            done += len(indices)
            yield min(len(features), done * place.world.size)
    finally:
        model.train(training)
    parts = place.gather((left, store.part() if place.world.size > 1 else None))
    if any(gone for gone, _ in parts):
        raise Left
    if place.world.size > 1:
        for rank, (_, part) in enumerate(parts):
            if rank != place.world.rank:
                store.put_part(*part)
    if place.world.main:
        store.check()
    return store.arrays


def batch_tokens(model: torch.nn.Module, task: Task, device: str) -> int:
    """The tokens that pass through the model at once: fewer where each gives a logit for every word."""
    tokens = BATCH_TOKENS.get(device, BATCH_TOKENS["cpu"])
    if task.head not in ("causal-lm", "masked-lm"):
        return tokens
    words = int(plain(getattr(model, "module", model)).config.vocab_size)
    return max(1, min(tokens, BATCH_LOGITS.get(device, BATCH_LOGITS["cpu"]) // words))


def merged(task: Task, rows: Sequence[Row], features: Features, reads: Reads) -> Iterator[Prediction]:
    """The prediction of each row from the reads of its features. Raises RuntimeError when a row has none (a bug)."""
    if task.blocks:
        bounds = np.arange(len(features) + 1)
    else:
        bounds = np.searchsorted(features.rows, np.arange(len(rows) + 1))
    for number, (first, last) in enumerate(zip(bounds[:-1].tolist(), bounds[1:].tolist(), strict=True)):
        if first == last:
            raise RuntimeError(f"row {number} has no features")
        row = features.take([number])[0] if task.blocks else rows[number]
        yield task.merge(row, [{name: values[i] for name, values in reads.items()} for i in range(first, last)])


class _Store:
    """Reads by feature number: arrays allocated at the first batch, in a temporary file when they are large."""

    def __init__(self, count: int) -> None:
        self.arrays: dict[str, np.ndarray] = {}
        self.seen = np.zeros(count, dtype=bool)

    def put(self, indices: np.ndarray, reads: Mapping[str, torch.Tensor]) -> None:
        self.put_part(indices, {name: _plain(values).cpu().numpy() for name, values in reads.items()})

    def part(self) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        indices = np.flatnonzero(self.seen)
        return indices, {name: np.asarray(values[indices]) for name, values in self.arrays.items()}

    def put_part(self, indices: np.ndarray, reads: Mapping[str, np.ndarray]) -> None:
        for name, values in reads.items():
            if name not in self.arrays:
                self.arrays[name] = _allocate((len(self.seen), *values.shape[1:]), values.dtype)
            self.arrays[name][indices] = values
        self.seen[indices] = True

    def check(self) -> None:
        if not self.seen.all():
            raise RuntimeError(f"{int((~self.seen).sum())} features were not read, first {int(np.argmin(self.seen))}")


def _plain(values: torch.Tensor) -> torch.Tensor:
    """numpy has no bfloat16; float64 stays."""
    return values.float() if values.dtype in (torch.bfloat16, torch.float16) else values


def _allocate(shape: tuple[int, ...], dtype: Any) -> np.ndarray:
    if int(np.prod(shape)) * np.dtype(dtype).itemsize < IN_MEMORY_BYTES:
        return np.zeros(shape, dtype=dtype)
    handle = tempfile.TemporaryFile(prefix="hfkit-reads-")  # noqa: SIM115 - the mapping below keeps it open and alone
    return np.memmap(handle, dtype=dtype, mode="w+", shape=shape)
