"""The quick form of every drill: three kills and two signals as processes of their own, the rest in this process."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import engine_helpers as helpers
import pytest
import torch

from drills.table import DRILLS, run_drill


@pytest.fixture(autouse=True)
def one_thread(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setattr("hfkit.tasks.scoring.RESAMPLES", helpers.RESAMPLES)
    for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT", "SLURM_NTASKS", "SLURM_PROCID"):
        monkeypatch.delenv(name, raising=False)
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where data, model and the run that nothing happened to are made by the first drill, for all."""
    return tmp_path_factory.mktemp("home")


@pytest.mark.parametrize("name", sorted(DRILLS))
def test_drill(name: str, tmp_path: Path, home: Path) -> None:
    line = run_drill(name, tmp_path, full=False, home=home)
    assert line["drill"] == name and line["fail"] == 0 and line["pass"] == line["n"] > 0, json.dumps(line)
