"""Batches go to the device in one copy, and what was read of them comes back in one."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from hfkit.engine.transfer import moved_together, to_device, to_host

BATCH = {
    "mask": torch.tensor([[True, False], [True, True]]),
    "input_ids": torch.arange(6).view(2, 3),
    "cu_seq_lens": torch.tensor([0, 2, 5], dtype=torch.int32),
    "nothing": torch.zeros(0, 4),
    "loss": torch.tensor(0.1, dtype=torch.float64),
    "turned": torch.arange(6.0).view(2, 3).t(),
}


def test_tensors_come_as_they_were(monkeypatch: pytest.MonkeyPatch) -> None:
    copies = []
    real = torch.Tensor.to

    def counted(self: torch.Tensor, *args: Any, **kwargs: Any) -> torch.Tensor:
        copies.append(self)
        return real(self, *args, **kwargs)

    monkeypatch.setattr(torch.Tensor, "to", counted)
    found = moved_together(BATCH, torch.device("cpu"))
    assert len(copies) == 1 and list(found) == list(BATCH)
    for name, values in BATCH.items():
        assert found[name].dtype == values.dtype and torch.equal(found[name], values), name


def test_on_a_cpu_nothing_is_copied() -> None:
    there = to_device(BATCH, torch.device("cpu"))
    assert all(there[name] is values for name, values in BATCH.items())
    assert np.shares_memory(to_host({"ids": BATCH["input_ids"]})["ids"], BATCH["input_ids"].numpy())


def test_reads_are_arrays_and_half_floats_become_whole() -> None:
    reads = {"score": torch.tensor([0.5, -1.5], dtype=torch.bfloat16), "wide": BATCH["loss"], "ids": BATCH["input_ids"]}
    found = to_host(reads)
    assert found["score"].dtype == np.float32 and found["score"].tolist() == [0.5, -1.5]
    assert found["wide"].dtype == np.float64 and found["ids"].tolist() == [[0, 1, 2], [3, 4, 5]]


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
def test_a_gpu_is_waited_for_once_a_batch() -> None:
    device = torch.device("cuda")
    there = to_device(BATCH, device)
    assert all(torch.equal(there[name].cpu(), values) for name, values in BATCH.items())
    assert all(values.data_ptr() % 16 == 0 for values in there.values() if values.numel())
    with torch.profiler.profile() as profile:
        found = to_host(there)
    copies = sum(event.count for event in profile.key_averages() if event.key == "aten::_to_copy")
    assert copies == 1
    assert all(np.array_equal(found[name], values.numpy()) for name, values in BATCH.items())
