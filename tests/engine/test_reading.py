"""Of several processes one reads the data; the others open what it made of it."""

from __future__ import annotations

import json
import pickle
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import engine_helpers as helpers
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import tiny_models
import torch.distributed as dist
from torch.distributed import distributed_c10d

from hfkit.data import load, loading
from hfkit.data.arrow import encoded
from hfkit.data.few import FEW_ROWS
from hfkit.engine.processes.launch import free_port
from hfkit.engine.processes.place import Place
from hfkit.engine.processes.world import World
from hfkit.errors import Delegated, ResourceError
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


def ranks(commands: Sequence[Sequence[str]], folder: Path) -> tuple[list[int], list[str], list[str]]:
    """Run a command of each rank as one world; returns their exit codes, and what each said on stderr and stdout."""
    size = str(len(commands))
    world = {"WORLD_SIZE": size, "LOCAL_WORLD_SIZE": size, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port())}
    started = [
        helpers.start(arguments, folder / f"rank{rank}", {**world, "RANK": str(rank), "LOCAL_RANK": str(rank)})
        for rank, arguments in enumerate(commands)
    ]
    for process in started:
        process.join(300)
    errs, outs = (
        [(folder / f"rank{rank}.{end}").read_text("utf-8") for rank in range(len(commands))] for end in ("err", "out")
    )
    return [process.exitcode for process in started], errs, outs


def given(arguments: Sequence[str], flag: str, value: Path) -> list[str]:
    """The same arguments with another value of a flag."""
    changed = list(arguments)
    changed[changed.index(flag) + 1] = str(value)
    return changed


def test_only_the_first_process_reads_the_shards(command: Command, tmp_path: Path) -> None:
    """The second process could not read them: it is given the name of a folder that is not there."""
    data = shards(tmp_path / "shards", 3)
    arguments = command(tmp_path / "run", max_steps=4)
    commands = [given(arguments, "--train", folder) for folder in (data, tmp_path / "nowhere")]
    codes, errs, _ = ranks(commands, tmp_path)
    assert codes == [0, 0], errs
    assert "61 rows" in errs[0]
    assert helpers.call(given(command(tmp_path / "single", max_steps=4), "--train", data))[0] == 0
    losses = [
        [event["fields"]["loss"] for event in events if event["kind"] == "step"]
        for run in ("run", "single")
        for events in [[json.loads(line) for line in (tmp_path / run / "events.jsonl").open(encoding="utf-8")]]
    ]
    assert losses[0] == pytest.approx(losses[1], abs=1e-4)


def test_a_mistake_in_the_data_ends_all(command: Command, tmp_path: Path) -> None:
    arguments = given(command(tmp_path / "run"), "--train", tmp_path / "nowhere.jsonl")
    codes, errs, _ = ranks([arguments, arguments], tmp_path)
    assert codes == [3, 3]
    assert "nowhere.jsonl" in errs[0]


@pytest.fixture(scope="module")
def classifier(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model that says bread or salt."""
    folder, names = tmp_path_factory.mktemp("classifier"), ["bread", "salt"]
    heads = {"id2label": dict(enumerate(names)), "label2id": {name: number for number, name in enumerate(names)}}
    tiny_models.save("bert", folder, "AutoModelForSequenceClassification", **heads)
    content = {"hfkit": "0", "task": "classify", "settings": {"target": "single", "labels": names}}
    (folder / "hfkit.json").write_text(json.dumps(content), encoding="utf-8")
    return folder


def test_only_the_first_process_reads_to_score(
    classifier: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """More rows than are kept in memory: the others map the file of features. The folder of rank 1 is not there."""
    monkeypatch.setenv("HFKIT_RUNS", str(tmp_path / "runs"))
    data = helpers.write_rows(tmp_path / "data.jsonl", FEW_ROWS + 30)
    arguments = ["eval", str(classifier), "--data", str(data), "--cpu", "--batch-size", "7", "--name"]
    two = [*arguments, "two"]
    codes, errs, outs = ranks([two, given(two, "--data", tmp_path / "nowhere")], tmp_path)
    assert codes == [0, 0], errs
    assert errs[0].count("130 rows, columns") == 1 and (errs[1], outs[1]) == ("", "")
    code, one, err = helpers.call([*arguments, "one"])
    assert code == 0, err
    assert json.loads(outs[0])["metrics"] == one["metrics"]
    files = [next((tmp_path / "runs").glob(f"*{name}/predictions.jsonl")).read_bytes() for name in ("one", "two")]
    assert files[0] == files[1] and files[0].count(b"\n") == FEW_ROWS + 30


def test_only_the_first_process_reads_to_predict(classifier: Path, tmp_path: Path) -> None:
    """Few rows, which are told themselves; then one that cannot be read ends both, and is shown once."""
    data = helpers.write_rows(tmp_path / "data.jsonl", 19)
    arguments = ["predict", str(classifier), "--data", str(data), "--cpu", "-o", str(tmp_path / "two.jsonl")]
    codes, errs, _ = ranks([arguments, given(arguments, "--data", tmp_path / "nowhere")], tmp_path)
    assert codes == [0, 0], errs
    code, _, err = helpers.call(given(arguments, "-o", tmp_path / "one.jsonl"))
    assert code == 0, err
    assert (tmp_path / "one.jsonl").read_bytes() == (tmp_path / "two.jsonl").read_bytes()
    with data.open("a", encoding="utf-8") as lines:
        lines.write('{"text": ')
    bad = given(arguments, "-o", tmp_path / "none.jsonl")
    codes, errs, outs = ranks([bad, given(bad, "--data", tmp_path / "nowhere")], tmp_path)
    assert codes == [3, 3], errs
    assert "data.jsonl:20" in errs[0] and errs[0].count("error: ") == 1 and (errs[1], outs[1]) == ("", "")
    assert json.loads(outs[0])["error"]["code"] == 3
    assert not (tmp_path / "none.jsonl").exists()


def test_who_starts_the_processes_does_not_read(
    command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hfkit.engine.processes.place.launch", lambda plan: Delegated(6))
    arguments = given(command(tmp_path / "run", "--processes", "2"), "--train", tmp_path / "nowhere")
    assert helpers.call(arguments) == (6, {}, "")


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


Exchange = Callable[[Any], tuple[Any, Any]]


@pytest.fixture
def exchange(monkeypatch: pytest.MonkeyPatch) -> Exchange:
    """Tell a value: (what told it raised, what the second process heard or raised), over the store of real worlds."""
    first = dist.TCPStore("127.0.0.1", 0, 1, True)
    second = dist.TCPStore("127.0.0.1", first.port, None, False)
    here = threading.main_thread()
    monkeypatch.setattr(
        distributed_c10d, "_get_default_store", lambda: second if threading.current_thread() is here else first
    )

    def told(value: Any) -> tuple[Any, Any]:
        places = [Place(World(rank, 2), None, "float32", "") for rank in range(2)]  # type: ignore[arg-type]
        with ThreadPoolExecutor(1) as other:
            telling = other.submit(places[0].tell, "x", value)
            try:
                heard = places[1].hear("x")
            except ResourceError as error:
                heard = error
            return telling.exception(), heard

    return told


def test_what_is_told_may_be_larger_than_the_store_takes_at_once(exchange: Exchange) -> None:
    value = bytes(range(256)) * (9 << 12)
    assert len(value) > 8 << 20
    assert exchange(value) == (None, value)


class Missing:
    """Its file is there for the process that made it, and not for the one that unpickles it."""

    def __reduce__(self) -> Any:
        return open, ("/nowhere/features.arrow",)


def test_files_that_another_machine_does_not_see_are_named_on_both(exchange: Exchange) -> None:
    for error in exchange(Missing()):
        assert isinstance(error, ResourceError) and error.code == 5
        assert "features.arrow" in error.message and "process 1" in error.message and "HFKIT_CACHE" in str(error.hint)


def test_a_first_process_that_is_gone_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    first = dist.TCPStore("127.0.0.1", 0, 1, True)
    second = dist.TCPStore("127.0.0.1", first.port, None, False)
    monkeypatch.setattr(distributed_c10d, "_get_default_store", lambda: second)
    del first
    with pytest.raises(ResourceError, match="process 0, where all meet, is gone"):
        Place(World(1, 2), None, "float32", "").hear("x")  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["qa", "nli", "classify", "lm"])
def test_tasks_travel(name: str) -> None:
    task = task_class(name)(task_class(name).Settings())
    again = pickle.loads(pickle.dumps(task))
    assert type(again) is type(task) and again.settings == task.settings
