"""Rows -> predictions: batches planned over all the data, reads made on the device, order restored, each row once.

Serves `eval`, `predict`, the evaluations of a training run, and a server.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from itertools import takewhile
from typing import IO, TYPE_CHECKING

import numpy as np
import torch

from hfkit.engine.collate import collate
from hfkit.engine.cpu import on_threads
from hfkit.engine.drawn import added, views_of
from hfkit.engine.forward import forward
from hfkit.engine.memory import give_back, out_of_memory, too_large
from hfkit.engine.packing import plain
from hfkit.engine.plan import answer_batches
from hfkit.engine.processes.place import Place
from hfkit.engine.threads import answering_threads
from hfkit.engine.transfer import to_device, to_host
from hfkit.errors import ResourceError
from hfkit.stopping import Left
from hfkit.tasks.base import Feature, Prediction, Row, Task

if TYPE_CHECKING:
    from hfkit.data.features import Features

BATCH_TOKENS = {"cpu": 4096, "cuda": 65536}
BATCH_LOGITS = {"cpu": 2**26, "cuda": 2**30}  # of language models, whose outputs are tokens x vocabulary
PART = 1 << 14  # features planned, read and kept together; what was read of earlier parts waits in a file
Arrays = Mapping[str, np.ndarray]  # name -> (features, ...)


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
    limit, threads = batch_tokens(model, task, place.device.type), answering_threads(model, place)
    reads = Reads()
    training = model.training
    model.eval()
    try:
        for first, last in parts(features.rows, task.blocks):
            batches = answer_batches(features.lengths[first:last], limit, micro_batch_size)
            done, store = 0, _Store(first, last)
            # Where weights are gathered, all must go on to the end of the part.
            mine = takewhile(lambda _: place.sharded or not leave(), _mine(batches, place))
            taken = ((indices + first, features.take((indices + first).tolist()), real) for indices, real in mine)

            def work(item: tuple[np.ndarray, list[Feature], bool]) -> tuple[int, list[tuple[np.ndarray, Arrays]]]:
                indices, some, real = item
                pieces = list(_pieces(model, task, indices, some, place=place, pad_id=pad_id))
                return (len(indices), pieces) if real else (0, [])

            for count, pieces in on_threads(work, taken, threads) if threads > 1 else map(work, taken):
                for part, read in pieces:
                    store.put(part, read)
                done += count
                yield min(last, first + done * place.world.size)
            _meet(store, place, left=leave())
            if place.world.main:
                reads.add(first, store.whole())
    finally:
        model.train(training)
    return reads


def parts(rows: np.ndarray, blocks: bool, size: int = PART) -> Iterator[tuple[int, int]]:
    """(first, past the last) of about `size` features each; the features of one row stay together, blocks are alone."""
    first = 0
    while first < len(rows):
        last = min(first + size, len(rows))
        if not blocks:
            last = int(np.searchsorted(rows, rows[last - 1], side="right"))
        yield first, last
        first = last


def _meet(store: _Store, place: Place, *, left: bool) -> None:
    """Give every process what the others read. Raises Left on all when one left."""
    alone = place.world.size == 1
    parts = [(left, None)] if alone else place.gather((left, store.part()))
    if any(gone for gone, _ in parts):
        raise Left
    for rank, (_, part) in enumerate(parts):
        if part is not None and rank != place.world.rank:
            store.put(*part)


def batch_tokens(model: torch.nn.Module, task: Task, device: str) -> int:
    """The tokens that pass through the model at once: fewer where each gives a logit for every word."""
    tokens = BATCH_TOKENS.get(device, BATCH_TOKENS["cpu"])
    if task.head not in ("causal-lm", "masked-lm"):
        return tokens
    words = int(plain(getattr(model, "module", model)).config.vocab_size)
    return max(1, min(tokens, BATCH_LOGITS.get(device, BATCH_LOGITS["cpu"]) // words))


def _mine(batches: Sequence[np.ndarray], place: Place) -> Iterator[tuple[np.ndarray, bool]]:
    """This process's batches, and whether each is its own to answer.

    Where layers gather their weights, processes must run equally many: one that has none left repeats the first.
    """
    size = place.world.size
    rounds = -(-len(batches) // size)
    for number in range(place.world.rank, rounds * size, size):
        if number < len(batches) or place.sharded:
            yield batches[number if number < len(batches) else 0], number < len(batches)


def _pieces(
    model: torch.nn.Module, task: Task, indices: np.ndarray, features: list[Feature], *, place: Place, pad_id: int
) -> Iterator[tuple[np.ndarray, Arrays]]:
    """What `task.read` keeps of these features and their numbers `indices`, in halves where memory ran out."""
    read = _read(model, task, features, place=place, pad_id=pad_id)
    if read is not None:
        yield indices, read
        return
    give_back(place.device)
    middle = -(-len(indices) // 2)
    for half in (slice(middle, None), slice(middle)):
        yield from _pieces(model, task, indices[half], features[half], place=place, pad_id=pad_id)


def _read(
    model: torch.nn.Module, task: Task, features: list[Feature], *, place: Place, pad_id: int
) -> Arrays | None:
    """What `task.read` keeps of these features; None when memory ran out and there is something to divide.

    Raises ResourceError when it does not suffice for one.
    """
    try:
        # Shares of weights that were gathered in inference mode could not be trained on afterwards.
        with torch.no_grad() if place.sharded else torch.inference_mode():
            views = views_of(task, features)
            return added(_pass(model, task, view, place, pad_id) for view in views)
    except (RuntimeError, MemoryError) as error:
        if not out_of_memory(error):
            raise
        if len(features) == 1:
            raise too_large(len(features[0]["input_ids"])) from error
        if place.sharded:  # all would have to divide
            raise ResourceError(
                f"out of memory with {len(features)} examples at a time; each process holds a share of the weights",
                "start more processes, make examples shorter, or take train.distributed=ddp, which goes on with fewer",
            ) from error
        return None


def _pass(model: torch.nn.Module, task: Task, features: Sequence[Feature], place: Place, pad_id: int) -> Arrays:
    """What `task.read` keeps of one batch."""
    batch = to_device(collate(features, pad_id), place.device)
    return to_host(task.read(forward(model, batch), batch))


def merged(task: Task, rows: Sequence[Row], features: Features, reads: Reads) -> Iterator[Prediction]:
    """The prediction of each row from the reads of its features. Raises RuntimeError when a row has none (a bug)."""
    expected = 0
    for first, arrays in reads:
        count = len(next(iter(arrays.values())))
        owners = np.arange(count) + first if task.blocks else features.rows[first : first + count]
        starts = np.flatnonzero(np.diff(owners, prepend=owners[0] - 1)).tolist()
        for start, end in zip(starts, [*starts[1:], count], strict=True):
            number = int(owners[start])
            if number != expected:
                break
            row = features.take([number])[0] if task.blocks else rows[number]
            yield task.merge(row, [{name: values[i] for name, values in arrays.items()} for i in range(start, end)])
            expected += 1
    if expected != (len(features) if task.blocks else len(rows)):
        raise RuntimeError(f"row {expected} has no features")


class Reads:
    """What was read of all features, in their order, in parts. More than one part wait in a file without a name."""

    def __init__(self) -> None:
        self._parts: list[tuple[int, tuple[str, ...]]] = []  # first feature, names
        self._last: Arrays = {}
        self._file: IO[bytes] | None = None

    def add(self, first: int, arrays: Arrays) -> None:
        """The next part, which begins with feature `first`."""
        self._spool()
        self._parts.append((first, tuple(arrays)))
        self._last = arrays

    def __iter__(self) -> Iterator[tuple[int, Arrays]]:
        """(first feature, arrays) of each part."""
        if self._file is not None:
            self._file.seek(0)
        for first, names in self._parts[:-1]:
            yield first, {name: np.load(self._file, allow_pickle=False) for name in names}  # type: ignore[arg-type]
        if self._parts:
            yield self._parts[-1][0], self._last

    def _spool(self) -> None:
        if not self._parts:
            return
        if self._file is None:
            self._file = tempfile.TemporaryFile(prefix="hfkit-reads-")  # noqa: SIM115 - as long as these reads live
        for values in self._last.values():
            np.save(self._file, values, allow_pickle=False)


class _Store:
    """Reads of the features from `first` up to `last`, by feature number."""

    def __init__(self, first: int, last: int) -> None:
        self.first = first
        self.arrays: dict[str, np.ndarray] = {}
        self.seen = np.zeros(last - first, dtype=bool)

    def part(self) -> tuple[np.ndarray, Arrays]:
        """What this process read: feature numbers, and arrays in their order."""
        places = np.flatnonzero(self.seen)
        return places + self.first, {name: values[places] for name, values in self.arrays.items()}

    def put(self, indices: np.ndarray, reads: Arrays) -> None:
        for name, values in reads.items():
            if name not in self.arrays:
                self.arrays[name] = np.zeros((len(self.seen), *values.shape[1:]), dtype=values.dtype)
            self.arrays[name][indices - self.first] = values
        self.seen[indices - self.first] = True

    def whole(self) -> Arrays:
        """All of them. Raises RuntimeError when a feature was not read (a bug)."""
        if not self.seen.all():
            unread = self.first + int(np.argmin(self.seen))
            raise RuntimeError(f"{int((~self.seen).sum())} features were not read, first {unread}")
        return self.arrays
