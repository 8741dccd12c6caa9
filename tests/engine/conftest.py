"""A small checkpoint and a small data set, made once for all tests of the engine."""

from collections.abc import Iterator
from pathlib import Path

import engine_helpers as helpers
import pytest
import torch


@pytest.fixture(autouse=True)
def one_thread(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """This process and its children compute in one thread, since bits are equal at equal thread counts only.

    Intervals are drawn from few resamples. None of the launchers' variables is set.
    """
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setattr("hfkit.tasks.scoring.RESAMPLES", helpers.RESAMPLES)
    for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT", "SLURM_NTASKS", "SLURM_PROCID"):
        monkeypatch.delenv(name, raising=False)
    before = torch.get_num_threads()  # the variable comes too late for a torch that is loaded already
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with bert/ (a checkpoint), train.jsonl (61 rows) and validation.jsonl (17 rows)."""
    folder = tmp_path_factory.mktemp("small")
    helpers.checkpoint(folder / "bert")
    helpers.write_rows(folder / "train.jsonl", 61)
    helpers.write_rows(folder / "validation.jsonl", 17, start=100)
    return folder


@pytest.fixture
def command(small: Path, tmp_path: Path):
    """Arguments of a finetune on the small data: command(output, key=value, ...)."""

    def arguments(output: Path | None, *extra: str, **train: object) -> list[str]:
        defaults: dict[str, object] = {"max_steps": 8, "batch_size": 8, "lr": 0.001, "precision": "float32"}
        keys = [
            f"train.{key}={str(value).lower() if value is None else value}"
            for key, value in {**defaults, **train}.items()
        ]
        recipe = helpers.recipe_file(tmp_path)
        where = ["-o", str(output)] if output is not None else []
        data = ["--train", str(small / "train.jsonl"), "--validation", str(small / "validation.jsonl")]
        keys = [key.replace("=none", "=null") for key in keys]
        return ["finetune", str(recipe), "--model", str(small / "bert"), *data, *where, "--cpu", *keys, *extra]

    return arguments
