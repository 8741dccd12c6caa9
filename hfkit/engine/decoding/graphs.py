"""A decoding step recorded for each of its shapes, and replayed as a whole: CUDA graphs, for slots.py.

On a GPU a step of GPT-2 is a hundred and more small kernels, and launching them one by one takes longer than their
work. A graph launches them together. It always reads and writes the same memory and has the same shapes, so rows and
keys are filled up to the next of a few sizes.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence

import torch

KEYS = 128  # the number of positions that are looked at is a multiple of this
USES = 4  # a shape that is used so often is likely to go on; recording it takes as long as a few steps
CLOSE = 0.01  # how far a replay may be from the step run as it is, of each number and of the mean size of all
# (ids (rows,), their positions (rows,), keys) -> (rows, width)
Step = Callable[[torch.Tensor, torch.Tensor, int], torch.Tensor]
Run = Callable[[], torch.Tensor]
Record = Callable[[Run], Run]
_unfit: set[torch.device] = set()  # where a recording failed


def recorder(device: torch.device) -> Record | None:
    """What records on this device; None where nothing does. Graphs of one recorder share their memory.

    Deterministic kernels may look at what is in an index, which cannot be recorded.
    """
    if device.type != "cuda" or device in _unfit or torch.are_deterministic_algorithms_enabled():
        return None
    with torch.cuda.device(device):
        pool, stream = torch.cuda.graph_pool_handle(), torch.cuda.Stream(device)

    def record(run: Run) -> Run:
        graph, current = torch.cuda.CUDAGraph(), torch.cuda.current_stream(device)
        stream.wait_stream(current)
        # Not torch.cuda.graph: it empties the allocator's cache each time, and on failure leaves its stream current.
        with torch.cuda.stream(stream):
            run()  # what libraries set up at their first call on a stream cannot be set up while recording
            graph.capture_begin(pool, capture_error_mode="thread_local")  # other threads may allocate meanwhile
            try:
                out = run()
            finally:
                graph.capture_end()
        current.wait_stream(stream)

        def replay() -> torch.Tensor:
            graph.replay()
            return out

        return replay

    return record


class Graphs:
    """A step for up to `rows` rows and `positions` positions, replayed where its shape was seen often enough.

    Rows that fill a shape up read token 0 at the last position, which must be no row's: their keys and values land
    there. A recording is first compared with the step itself, on inputs that came after it; should one fail or differ,
    `refused` is set, nothing is recorded or replayed on this device any more, and a RuntimeWarning says so.
    """

    def __init__(self, step: Step, rows: int, positions: int, device: torch.device, record: Record) -> None:
        self._step, self._rows, self._positions, self._device = step, rows, positions, device
        self._record = record
        self.refused = False
        self._shapes: dict[tuple[int, int], _Shape] = {}

    def __call__(self, ids: Sequence[int], at: Sequence[int]) -> torch.Tensor:
        """The step's result (rows, width) for tokens `ids` at positions `at`; it stands until the next call."""
        rows = min(1 << (len(ids) - 1).bit_length(), self._rows)
        keys = min(-(-(max(at) + 1) // KEYS) * KEYS, self._positions)
        if (rows, keys) not in self._shapes:
            self._shapes[rows, keys] = _Shape(self._step, rows, keys, self._positions - 1, self._device)
        return self._run(self._shapes[rows, keys], ids, at)[: len(ids)]

    def _run(self, shape: _Shape, ids: Sequence[int], at: Sequence[int]) -> torch.Tensor:
        shape.uses += 1
        replay = self._recorded(shape) if shape.uses == USES and not self.refused else None
        shape.fill(ids, at)
        if replay is not None:
            found, expected = replay(), shape.run()
            if _differ(found, expected):
                self._refuse("its result differs")
            else:
                shape.replay = replay
            return expected
        return shape.replay() if shape.replay is not None else shape.run()

    def _recorded(self, shape: _Shape) -> Run | None:
        """The replay, recorded while no row is at stake."""
        shape.fill([], [])
        try:
            return self._record(shape.run)
        except RuntimeError as error:
            self._refuse((str(error).splitlines() or [type(error).__name__])[0])
            return None

    def _refuse(self, why: str) -> None:
        self.refused = True
        _unfit.add(self._device)
        for shape in self._shapes.values():
            shape.replay = None
        warnings.warn(f"decoding steps run without CUDA graphs, which is slower: {why}", RuntimeWarning, stacklevel=2)


class _Shape:
    """The inputs of a step of `rows` rows in memory that stays, and what is known about running it."""

    def __init__(self, step: Step, rows: int, keys: int, last: int, device: torch.device) -> None:
        self._step, self._keys, self._idle = step, keys, [[0] * rows, [last] * rows]
        self._inputs = torch.tensor(self._idle, device=device)
        self.uses = 0
        self.replay: Run | None = None

    def fill(self, ids: Sequence[int], at: Sequence[int]) -> None:
        """Set the first rows' inputs; the other rows are idle."""
        given = zip((ids, at), self._idle, strict=True)
        self._inputs.copy_(torch.tensor([[*values, *idle[len(values) :]] for values, idle in given]))

    def run(self) -> torch.Tensor:
        """The step as it is."""
        return self._step(self._inputs[0], self._inputs[1], self._keys)


def _differ(found: torch.Tensor, expected: torch.Tensor) -> bool:
    """Whether a number is elsewhere, or not a number on one side alone.

    A few numbers of a GPT-2's hidden states are a thousand times the others: the largest is no measure.
    """
    size = float(expected.nan_to_num(posinf=0.0, neginf=0.0).abs().mean())
    return not torch.allclose(found, expected, rtol=CLOSE, atol=CLOSE * size, equal_nan=True)
