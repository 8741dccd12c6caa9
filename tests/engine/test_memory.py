"""Too little memory: a step is repeated in smaller pieces and stays the same step; what fits is found beforehand."""

from __future__ import annotations

import mmap
import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from test_train import Listed, farthest, features, training

from hfkit.engine import rehearse as rehearsal
from hfkit.engine.answer import answer
from hfkit.engine.memory import available, held, out_of_memory, peak_memory, reset_peak
from hfkit.engine.optimize import Schedule
from hfkit.engine.rehearse import rehearse
from hfkit.engine.room import sizes_of
from hfkit.errors import ResourceError
from hfkit.recipe.keys import Tricks
from hfkit.tasks.classify import Classify, ClassifySettings

CPU = torch.device("cpu")


class Scarce(Classify):
    """Runs out of memory, after the backward pass of other micro-batches, for batches of more than `room` features."""

    room = 10**6
    refused = 0
    together: threading.Barrier | None = None  # the threads that are here at once run out of memory, this once

    def loss(self, outputs: Any, batch: Any) -> Any:
        self._spend(batch)
        return super().loss(outputs, batch)

    def read(self, outputs: Any, batch: Any) -> Any:
        self._spend(batch)
        return super().read(outputs, batch)

    def _spend(self, batch: Any) -> None:
        if (barrier := self.together) is not None:
            barrier.wait(60)
        if barrier is not None or len(batch["input_ids"]) > self.room:
            self.refused += 1
            raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 8 bytes")


@pytest.fixture
def task() -> Scarce:
    return Scarce(ClassifySettings(target="single", labels=["a", "b"], max_length=32))


def test_a_repeated_step_is_the_step_of_the_smaller_size(small: Path, task: Scarce) -> None:
    data = features(32)
    hurt, calm = training(small, task, data, micro=8, dropout=None), training(small, task, data, micro=8, dropout=None)
    for made in (hurt, calm):
        assert made.advance(0) == []
    task.room = 4
    lines = hurt.advance(1)
    assert lines == ["step 2: out of memory with 8 examples at a time; repeated with 4, which stays (steps are of 16)"]
    assert hurt.micro_batch_size == 4 and hurt.accumulation() == 4
    calm.micro_batch_size = 4
    calm.advance(1)
    assert farthest(hurt, calm) == 0.0
    assert hurt.advance(2) == [] and calm.advance(2) == []
    assert farthest(hurt, calm) == 0.0
    ours, theirs = (list(made.finished(wait=True)) for made in (hurt, calm))
    assert ours == theirs and [done.features for done in ours] == [16, 16, 16]


def test_of_a_padded_step_the_part_that_did_not_fit_is_halved(small: Path, task: Scarce) -> None:
    """Its parts are of unequal size: half of the largest might leave the one that failed as it is."""
    rows = [{"row": i, "input_ids": [5 + i] * (30 if i < 4 else 3), "label": i % 2} for i in range(16)]
    made = training(small, task, Listed(rows), micro=16, pack=False)
    made.pass_tokens = 20
    real = task._spend

    def long_ones_are_too_many(batch: Any) -> None:
        task.room = 2 if batch["input_ids"].shape[1] == 30 else 16
        real(batch)

    task._spend = long_ones_are_too_many  # type: ignore[method-assign]
    assert [len(part) for part in made.cut(np.arange(16))] == [12, 4]
    (line,) = made.advance(0)
    assert "out of memory with 4 examples at a time; repeated with 2" in line and task.refused == 1


def test_gradients_of_the_failed_attempt_are_forgotten(
    small: Path, task: Scarce, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = Listed([*features(16).features])
    hurt, calm = training(small, task, data, micro=8), training(small, task, data, micro=4)
    honest, calls = Scarce._spend, []

    def second_fails(self: Scarce, batch: Any) -> None:
        calls.append(len(batch["input_ids"]))
        if len(calls) == 2:
            raise MemoryError
        honest(self, batch)

    monkeypatch.setattr(Scarce, "_spend", second_fails)
    assert len(hurt.advance(0)) == 1 and calls == [8, 8, 4, 4, 4, 4]
    calm.advance(0)
    assert farthest(hurt, calm) == 0.0


def test_it_ends_at_one_example_and_other_errors_are_not_its_business(small: Path, task: Scarce) -> None:
    made = training(small, task, features(16), micro=16)
    task.room = 0
    with pytest.raises(ResourceError, match="step 1: out of memory with 1 example at a time, of up to 9 tokens"):
        made.advance(0)
    assert task.refused == 5  # 16, 8, 4, 2, 1
    made = training(small, task, features(16), micro=16)
    made.task = None  # type: ignore[assignment]
    with pytest.raises(AttributeError):
        made.advance(0)
    assert made.micro_batch_size == 16
    assert not out_of_memory(RuntimeError("shapes do not match")) and not out_of_memory(ValueError("out of memory"))
    assert out_of_memory(torch.OutOfMemoryError("x")) and out_of_memory(MemoryError())
    unfit = "could not create a primitive descriptor for the convolution forward propagation primitive"
    assert out_of_memory(RuntimeError("could not create a primitive")) and not out_of_memory(RuntimeError(unfit))


def test_two_threads_with_one_example_each_become_one(small: Path, task: Scarce) -> None:
    """Room for one example and not for two: each thread alone has it, both together do not."""
    torch.set_num_threads(2)  # the fixture of all these tests sets back to one
    hurt = training(small, task, features(16), micro=1)
    torch.set_num_threads(1)
    calm = training(small, task, features(16), micro=1)
    assert (hurt.threads, calm.threads) == (2, 1)
    task.together = threading.Barrier(2, action=lambda: setattr(task, "together", None))
    (line,) = hurt.advance(0)
    assert line == (
        "step 1: out of memory with 1 example at a time on each of 2 threads; repeated on one, which stays "
        "(steps are of 16)"
    )
    assert hurt.threads == 1 and task.refused == 2
    assert calm.advance(0) == [] and farthest(hurt, calm) == 0.0
    task.room = 0
    with pytest.raises(ResourceError, match="step 2: out of memory with 1 example at a time, of up to 9 tokens"):
        hurt.advance(1)


def test_a_last_short_step_is_halved_by_what_it_holds(small: Path, task: Scarce) -> None:
    made = training(small, task, features(16), micro=64)
    task.room = 8
    assert "16 examples at a time; repeated with 8" in made.advance(0)[0]
    assert task.refused == 1


def test_reading_goes_on_in_halves(small: Path, task: Scarce) -> None:
    data = features(32)
    rows = [{"id": str(i), "text": "x", "label": "a"} for i in range(32)]
    made = training(small, task, data)
    whole = list(answer(made.bare, task, rows, data, place=made.place, pad_id=0))
    task.room = 3
    parts = list(answer(made.bare, task, rows, data, place=made.place, pad_id=0))
    assert task.refused > 0 and [p["id"] for p in parts] == [p["id"] for p in whole]
    for one, other in zip(whole, parts, strict=True):
        assert one["probabilities"] == pytest.approx(other["probabilities"], abs=1e-6)
    task.room = 0
    with pytest.raises(ResourceError, match="out of memory with one example of 3 tokens"):
        list(answer(made.bare, task, rows, data, place=made.place, pad_id=0))
    shares: Any = SimpleNamespace(world=made.place.world, device=CPU, sharded=True)
    with pytest.raises(ResourceError, match="holds a share of the weights"):  # who divides would leave the others
        list(answer(made.bare, task, rows, data, place=shares, pad_id=0))


def test_what_is_held_beside_a_step_makes_it_larger(small: Path, task: Scarce) -> None:
    """Of several processes a step is passed apart once more where moments or an average came to be meanwhile."""
    made = training(
        small,
        task,
        features(32),
        tricks=Tricks(average="swa", swa_start=0.5),
        schedule=Schedule(1e-3, 8, 0, "constant"),
    )
    began = [step for step in range(8) if began_anew(made, step)]
    assert began == [0, 4]


def began_anew(made: Any, step: int) -> bool:
    made.largest = [10**9] * 3
    made.advance(step)
    return made.largest == [0, 0, 0]


def test_a_step_is_larger_by_tokens_by_padding_or_by_scores(small: Path, task: Scarce) -> None:
    made = training(
        small, task, Listed([{"row": n, "input_ids": [5] * (n + 1), "label": 0} for n in range(20)]), micro=4
    )
    assert sizes_of(made, np.array([0, 1, 2, 19])) == [1 + 2 + 3 + 20, 4 * 20, 4 * 20**2]
    assert sizes_of(made, np.array([17, 19])) == [18 + 20, 2 * 20, 2 * 20**2]


def test_a_rehearsal_takes_the_longest_examples_and_keeps_the_batch(
    small: Path, task: Scarce, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = features(32)
    made = training(small, task, data, micro=12)
    taken: list[np.ndarray | None] = []
    honest = made.advance
    monkeypatch.setattr(made, "advance", lambda step, **k: (taken.append(k.get("indices")), honest(step, **k))[1])
    found = rehearse(made)
    assert (found.asked, found.micro_batch_size, found.accumulation) == (12, 12, 2)
    tried = [len(t) for t in taken if t is not None]
    assert tried == [1, 1, 2, 4, 8, 12, 16]
    whole = next(t for t in taken if t is not None and len(t) == 16)
    assert data.lengths[whole].sum() == np.sort(data.lengths)[-16:].sum()
    assert 2 <= found.pace.steps <= rehearsal.PACE_STEPS and found.pace.features == 16 * found.pace.steps
    assert found.memory is not None and 0 < found.peak < found.memory


def test_a_rehearsal_stops_before_the_memory_is_full(
    small: Path, task: Scarce, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = training(small, task, features(32), micro=16)
    sizes: list[int] = []
    monkeypatch.setattr(rehearsal, "available", lambda *_, **__: 990)
    monkeypatch.setattr(rehearsal, "held", lambda _: -(10**9))
    monkeypatch.setattr(
        rehearsal, "peak_memory", lambda _: (sizes.append(made.micro_batch_size), 100 + 100 * sizes[-1])[1]
    )
    found = rehearse(made)
    assert sizes == [1, 1, 2, 4, 4]  # 8 would take 900 by the growth so far, which leaves nothing to spare: not tried
    assert (found.micro_batch_size, found.accumulation, found.peak) == (4, 4, 500)
    monkeypatch.setattr(rehearsal, "available", lambda *_, **__: 200)
    with pytest.raises(ResourceError, match="one example of 9 tokens takes more memory than there is"):
        rehearse(made)
    monkeypatch.setattr(rehearsal, "held", lambda _: 10**6)
    with pytest.raises(ResourceError, match="before the first example"):
        rehearse(made)


def test_the_most_that_was_held_can_be_forgotten() -> None:
    block = mmap.mmap(-1, 200_000_000)  # not by the C library's allocator, which keeps what is freed for later
    block.write(bytes(200_000_000))
    high = peak_memory(CPU)
    block.close()
    reset_peak(CPU)
    assert peak_memory(CPU) <= high - 100_000_000
    assert held(CPU) <= peak_memory(CPU)
    one, four = available(CPU), available(CPU, sharers=4)
    assert one is not None and four is not None and held(CPU) < four < one
