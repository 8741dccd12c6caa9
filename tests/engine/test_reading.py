"""Of several processes one reads the data; the others open what it made of it."""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import engine_helpers as helpers
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from hfkit.data import load, loading
from hfkit.data.arrow import encoded
from hfkit.engine.launch import free_port
from hfkit.engine.place import Place
from hfkit.engine.world import World
from hfkit.errors import ResourceError
from hfkit.models import find, load_config, load_tokenizer
from hfkit.recipe import Data
from hfkit.tasks import task_class

Command = Callable[..., list[str]]


def shards(folder: Path, count: int) -> Path:
    """Parquet files of one data set, unequally long."""
    folder.mkdir()
    rows = helpers.rows(61)
    for number, part in enumerate(np.array_split(np.arange(61), count)):
        table = pa.Table.from_pylist([rows[i] for i in part])
        pq.write_table(table, folder / f"part-{number:05d}-of-{count:05d}.parquet")
    return folder


def test_only_the_first_process_reads_the_shards(command: Command, tmp_path: Path) -> None:
    """The second process could not read them: it is given the name of a folder that is not there."""
    data = shards(tmp_path / "shards", 3)
    world = {"WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port())}
    started = []
    for rank, folder in enumerate((data, tmp_path / "nowhere")):
        arguments = command(tmp_path / "run", max_steps=4)
        arguments[arguments.index("--train") + 1] = str(folder)
        place = {**world, "RANK": str(rank), "LOCAL_RANK": str(rank)}
        started.append(helpers.start(arguments, tmp_path / f"rank{rank}", place))
    for process in started:
        process.join(300)
    logs = [(tmp_path / f"rank{rank}.err").read_text("utf-8") for rank in range(2)]
    assert [process.exitcode for process in started] == [0, 0], logs
    assert "61 rows" in logs[0]
    single = command(tmp_path / "single", max_steps=4)
    single[single.index("--train") + 1] = str(data)
    assert helpers.call(single)[0] == 0
    losses = [
        [event["fields"]["loss"] for event in events if event["kind"] == "step"]
        for run in ("run", "single")
        for events in [[json.loads(line) for line in (tmp_path / run / "events.jsonl").open(encoding="utf-8")]]
    ]
    assert losses[0] == pytest.approx(losses[1], abs=1e-4)


def test_a_mistake_in_the_data_ends_all(command: Command, tmp_path: Path) -> None:
    world = {"WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port())}
    arguments = command(tmp_path / "run")
    arguments[arguments.index("--train") + 1] = str(tmp_path / "nowhere.jsonl")
    started = [
        helpers.start(arguments, tmp_path / f"rank{rank}", {**world, "RANK": str(rank), "LOCAL_RANK": str(rank)})
        for rank in range(2)
    ]
    for process in started:
        process.join(300)
    assert [process.exitcode for process in started] == [3, 3]
    assert "nowhere.jsonl" in (tmp_path / "rank0.err").read_text("utf-8")


def test_what_is_told_holds_no_rows(tmp_path: Path, small: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loading, "SPOOL_BYTES", 100)
    task = task_class("classify")(task_class("classify").Settings())
    found = find(str(small / "bert"))
    tokenizer = load_tokenizer(found, task.head)
    rows = load(str(shards(tmp_path / "shards", 2)), columns=task.columns, settings=Data(), need_gold=True)
    task, _ = task.resolve(rows, tokenizer, load_config(found))
    features = encoded(rows, task, tokenizer)
    told = pickle.dumps((rows, features))
    assert len(told) < 2000
    again, opened = pickle.loads(told)
    assert list(again) == list(rows) and again.fingerprint == rows.fingerprint
    part = pickle.loads(pickle.dumps(features.subset(np.array([5, 2]))))
    assert opened.lengths.tolist() == features.lengths.tolist()
    assert part.lengths.tolist() == features.lengths[[5, 2]].tolist()
    assert part.fingerprint == features.subset(np.array([5, 2])).fingerprint
    assert [int(f["row"]) for f in part.take([0, 1])] == [5, 2]
    assert len(rows.without_rows()) == 0 and rows.without_rows().fingerprint == rows.fingerprint
    assert (
        list(pickle.loads(pickle.dumps(tokenizer))("the old mill")["input_ids"])
        == tokenizer("the old mill")["input_ids"]
    )


def test_files_that_another_machine_does_not_see_are_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from hfkit.engine import place

    class Missing:
        def __reduce__(self) -> Any:
            return open, (str(tmp_path / "features.arrow"),)

    said = {"x": pickle.dumps(Missing())}
    store = SimpleNamespace(wait=lambda names, timeout: None, get=said.__getitem__, set=lambda name, value: None)
    monkeypatch.setattr(place.distributed_c10d, "_get_default_store", lambda: store)
    with pytest.raises(ResourceError, match="features.arrow") as caught:
        Place(World(1, 2), None, "float32", "").hear("x")  # type: ignore[arg-type]
    assert "HFKIT_CACHE" in str(caught.value.hint)


@pytest.mark.parametrize("name", ["qa", "nli", "classify", "lm"])
def test_tasks_travel(name: str) -> None:
    task = task_class(name)(task_class(name).Settings())
    again = pickle.loads(pickle.dumps(task))
    assert type(again) is type(task) and again.settings == task.settings
