"""Hub data sets without a network: from the Hugging Face cache, and the errors when they are not there."""

import json
import socket
import time
from pathlib import Path

import pytest

from hfkit.data import hub, load, load_training
from hfkit.errors import DataError, NetworkError
from hfkit.recipe.keys import Data
from hfkit.tasks.base import Column

NLI = (
    Column("id", False),
    Column("premise", True),
    Column("hypothesis", True),
    Column("label", False, gold=True),
)


@pytest.fixture
def cached(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The name of a data set that lies in the Hugging Face cache, as a download would have left it."""
    import datasets

    files = {}
    for split in ("train", "validation"):
        rows = [{"premise": f"{split} {i}", "hypothesis": "h", "label": i if i < 3 else -1} for i in range(4)]
        files[split] = str(tmp_path / f"{split}.jsonl")
        Path(files[split]).write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    labels = datasets.ClassLabel(names=["entailment", "neutral", "contradiction"])
    text = datasets.Value("string")
    features = datasets.Features({"premise": text, "hypothesis": text, "label": labels})
    cache = tmp_path / "datasets"
    datasets.load_dataset("json", data_files=files, features=features, cache_dir=str(cache))
    (made,) = (path for path in cache.glob("json/*/*/*") if path.is_dir())
    place = cache / "someone___tiny" / "default" / "0.0.0"
    place.mkdir(parents=True)
    made = made.rename(place / made.name)
    for path in made.glob("json-*"):
        path.rename(made / path.name.replace("json-", "tiny-"))
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", cache)
    return "someone/tiny"


def test_a_cached_set_works_offline(cached: str) -> None:
    train, validation, lines = load_training(Data(train=cached), columns=NLI, group="premise")
    assert [row["label"] for row in train] == ["entailment", "neutral", "contradiction", None]
    assert validation[0]["premise"] == "validation 0"
    assert "someone/tiny:train: 4 rows" in lines[0]
    assert "someone/tiny:validation" in lines[1]
    part = load(f"{cached}:train[:2]", columns=NLI, settings=Data(), need_gold=True)
    assert [row["premise"] for row in part] == ["train 0", "train 1"]
    assert load(cached, columns=NLI, settings=Data(), need_gold=True, split="train").fingerprint == train.fingerprint
    with pytest.raises(DataError, match="has no split 'test'"):
        load(f"{cached}:test", columns=NLI, settings=Data(), need_gold=True)


def test_a_hub_that_does_not_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HF_HUB_OFFLINE")
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(hub, "PROBE_SECONDS", 0.5)
    with socket.create_server(("127.0.0.1", 0)) as silent:  # accepts, never answers
        monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{silent.getsockname()[1]}")
        started = time.perf_counter()
        assert not hub.reachable()
        assert time.perf_counter() - started < 2
        with pytest.raises(NetworkError, match="does not answer") as caught:
            load("owner/not-cached", columns=NLI, settings=Data(), need_gold=True)
    assert "HF_ENDPOINT" in str(caught.value.hint)


def test_offline_asks_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub, "reachable", lambda: pytest.fail("asked the Hub"))
    with pytest.raises(NetworkError, match="offline mode forbids"):
        load("owner/not-cached", columns=NLI, settings=Data(), need_gold=True)
    monkeypatch.delenv("HF_HUB_OFFLINE")
    with pytest.raises(NetworkError, match="offline mode forbids"):
        load("owner/not-cached", columns=NLI, settings=Data(), need_gold=True, offline=True)
