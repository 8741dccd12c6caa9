"""The quick form of every drill: three kills and two signals as processes of their own, the rest in this process."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from drills.table import DRILLS, run_drill


@pytest.fixture(autouse=True)
def one_thread(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT", "SLURM_NTASKS", "SLURM_PROCID"):
        monkeypatch.delenv(name, raising=False)
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize("name", sorted(DRILLS))
def test_drill(name: str, tmp_path: Path) -> None:
    line = run_drill(name, tmp_path, full=False)
    assert line["drill"] == name and line["fail"] == 0 and line["pass"] == line["n"] > 0, json.dumps(line)
