"""What all tests share: real data when it is there, caches of their own, and no network."""

import os
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[1]


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "shared_data: reads the real data sets in ../shared/data")
    os.environ["HF_HUB_OFFLINE"] = "1"  # before huggingface_hub is imported, which reads it once
    os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"
    if "PYTEST_XDIST_WORKER" in os.environ:  # workers share the cores: threads that wait for each other would burn them
        os.environ.setdefault("OMP_NUM_THREADS", "1")


@pytest.fixture(autouse=True)
def own_caches(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each test has its own caches and is offline."""
    monkeypatch.setenv("HFKIT_CACHE", str(tmp_path_factory.mktemp("cache")))
    monkeypatch.setenv("HF_HOME", str(tmp_path_factory.mktemp("hf")))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of real data sets: $HFKIT_SHARED_DATA, else ../shared/data. Skips without it; fails in CI."""
    path = Path(os.environ.get("HFKIT_SHARED_DATA") or REPOSITORY.parent / "shared" / "data")
    if path.is_dir():
        return path
    if os.environ.get("CI"):
        pytest.fail(f"no real data at {path}; set HFKIT_SHARED_DATA")
    pytest.skip(f"no real data at {path}")
