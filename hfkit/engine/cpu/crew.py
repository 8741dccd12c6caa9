"""Threads that work side by side on CPUs, each on a micro-batch or a batch of its own.

The other way, several threads inside each matrix product, makes all wait for the slowest after every operation, and
leaves one to do what is not divided: small tensors, random numbers, Python. A thread that waits burns its core, which
on a machine with other work costs more than it gains.
"""

from __future__ import annotations

import copy
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from typing import TypeVar

import torch
from torch import nn

from hfkit.engine.cpu.layers import Embedding, clear
from hfkit.engine.cpu.masks import draw_alone

MOST = 2  # threads of a crew: each holds gradients of its own; more cores go into the products
Item = TypeVar("Item")
Result = TypeVar("Result")


class Crew:
    """Twins of a model, which share its weights and have gradients of their own, and the threads they run on.

    The first of `models` is the model itself, and runs on the calling thread.
    """

    def __init__(self, models: Sequence[nn.Module]) -> None:
        self.models = list(models)
        self._each = max(1, torch.get_num_threads() // len(self.models))
        # A thread keeps what it began with for life: were that the crew, its models would outlive their training.
        self._pool = ThreadPoolExecutor(len(self.models) - 1, "hfkit-crew", _begin, (self._each,))

    def run(self, work: Callable[[nn.Module, Item], Result], items: Sequence[Item]) -> list[Result]:
        """`work` done for every item, results in their order; gradients are with the first model afterwards.

        Which model does which item depends on their number alone, and so does every bit of the sums. Raises what
        `work` raises, when all threads have come to an end, none beginning another item; gradients are then in pieces.
        """
        count, failed = len(self.models), threading.Event()

        def share(number: int) -> list[Result]:
            found = []
            try:
                for item in items[number::count]:
                    if failed.is_set():
                        break
                    found.append(work(self.models[number], item))
            except BaseException:
                failed.set()
                raise
            return found

        try:
            with fewer_threads(self._each):
                others: list[Future[list[Result]]] = []
                try:
                    others += [self._pool.submit(share, number) for number in range(1, count)]
                    shares = [share(0)]
                finally:
                    wait(others)
            shares += [other.result() for other in others]
            self._collect()
        finally:
            for model in self.models[1:]:
                clear(model)
        return [shares[place % count][place // count] for place in range(len(items))]

    def _collect(self) -> None:
        """Add what the twins have to the gradients of the first model, in the order of the models."""
        for model in self.models[1:]:
            pairs = zip(self.models[0].parameters(), model.parameters(), strict=True)
            met = [(own, other) for own, other in pairs if other.grad is not None]
            for own, other in met:
                if own.grad is None:
                    own.grad, other.grad = other.grad, None
            both = [(own.grad, other.grad) for own, other in met if other.grad is not None]
            if both:
                torch._foreach_add_([own for own, _ in both], [other for _, other in both])
            for layer, table in zip(self.models[0].modules(), model.modules(), strict=True):
                if isinstance(layer, Embedding) and isinstance(table, Embedding):
                    for ids, gradient in table.aside or ():
                        layer.add(ids, gradient)


def _begin(threads: int) -> None:
    draw_alone()
    torch.set_num_threads(threads)


def twin(model: nn.Module) -> nn.Module:
    """A copy of `model` with the same weights in the same memory: a step of the one moves both."""
    memo: dict[int, object] = {id(p): nn.Parameter(p.detach(), p.requires_grad) for p in model.parameters()}
    memo |= {id(b): b for b in model.buffers()}
    made = copy.deepcopy(model, memo)
    for layer in made.modules():
        if isinstance(layer, Embedding):
            layer.aside = []
    return made


@contextmanager
def fewer_threads(count: int) -> Iterator[None]:
    """torch's operations on this thread divide their work by `count` for a while."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def on_threads(work: Callable[[Item], Result], items: Iterable[Item], threads: int) -> Iterator[Result]:
    """`work` done for every item on several threads, results in their order; few items are taken in advance."""
    before = torch.get_num_threads()
    pool = ThreadPoolExecutor(threads, "hfkit-crew", torch.set_num_threads, (max(1, before // threads),))
    try:
        waiting: deque[Future[Result]] = deque()
        for item in items:
            waiting.append(pool.submit(work, item))
            if len(waiting) > threads:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)
        torch.set_num_threads(before)  # the last word on it holds for threads that begin later, too
