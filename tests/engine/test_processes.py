"""Two processes over gloo: the same run as one, joined the way launchers start them."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import engine_helpers as helpers
import pytest

from hfkit.engine.processes.launch import free_port
from hfkit.errors import Delegated

Command = Callable[..., list[str]]
Scarcely = Callable[..., tuple[list[int], dict[str, Any], str]]
SHORT: dict[str, Any] = {"max_steps": 6, "eval_steps": 3, "micro_batch_size": 3}


def losses(run: Path) -> list[float]:
    events = [json.loads(line) for line in (run / "events.jsonl").read_text("utf-8").splitlines()]
    return [event["fields"]["loss"] for event in events if event["kind"] == "step"]


def facts(run: Path) -> dict[str, Any]:
    return json.loads((run / "run.json").read_text("utf-8"))


@pytest.fixture(scope="module")
def single(small: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run of one process that all others must equal. Dropout is on: what it draws does not depend on the world."""
    folder = tmp_path_factory.mktemp("single")
    recipe = helpers.recipe_file(folder, batch_size=8, lr=0.001, precision="float32", **SHORT)
    data = ["--train", str(small / "train.jsonl"), "--validation", str(small / "validation.jsonl")]
    code, _, err = helpers.call(
        ["finetune", str(recipe), "--model", str(small / "bert"), *data, "-o", str(folder / "run"), "--cpu"]
    )
    assert code == 0, err
    return folder / "run"


def same(run: Path, single: Path, how: str) -> None:
    assert facts(run)["world"] == 2
    assert facts(run)["result"]["world"] == 2
    assert losses(run) == pytest.approx(losses(single), abs=1e-4)
    mine, theirs = (
        [json.loads(line) for line in (p / "eval/validation/predictions.jsonl").open(encoding="utf-8")]
        for p in (run, single)
    )
    assert [(row["id"], row["prediction"]) for row in mine] == [(row["id"], row["prediction"]) for row in theirs]
    events = [json.loads(line) for line in (run / "events.jsonl").read_text("utf-8").splitlines()]
    assert events  # written once, by the first process
    assert len([e for e in events if e["kind"] == "step"]) == len(losses(single))


def test_processes_are_started_and_show_once(command: Command, tmp_path: Path, single: Path) -> None:
    arguments = command(tmp_path / "run", "--processes", "2", "--json", **SHORT)
    done = subprocess.run(
        [sys.executable, "-m", "hfkit", *arguments],
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    same(tmp_path / "run", single, "started here")
    assert done.stdout.count("\n") == 1 and json.loads(done.stdout)["world"] == 2
    assert done.stderr.count("world 2 = 1 node x 2 (started here)") == 1
    assert done.stderr.count("\ndata /") == 1 and done.stderr.count("\nvalidation data /") == 1
    assert "Warning" not in done.stderr and "process group" not in done.stderr


@pytest.fixture
def scarce(tmp_path: Path) -> Scarcely:
    """Two processes, the second of which has room for so many examples: (exit codes, result, what both said)."""

    def run(room: int, arguments: list[str], *, first: int = 1) -> tuple[list[int], dict[str, Any], str]:
        world = {
            "WORLD_SIZE": "2",
            "LOCAL_WORLD_SIZE": "2",
            "MASTER_ADDR": "127.0.0.1",
            "MASTER_PORT": str(free_port()),
        }
        given = {**world, "SCARCE_ROOM": str(room), "SCARCE_FROM": str(first)}
        keys = [*arguments, "--set", "task=scarce:Scarce"]
        logs = [tmp_path / f"rank{rank}" for rank in range(2)]
        ranks = [
            helpers.start(keys, log, {**given, "RANK": str(rank), "LOCAL_RANK": str(rank)})
            for rank, log in enumerate(logs)
        ]
        for rank in ranks:
            rank.join(100)
        said = [log.with_suffix(".err").read_text("utf-8") for log in logs]
        result = json.loads(logs[0].with_suffix(".out").read_text("utf-8"))
        return [rank.exitcode for rank in ranks], result, "".join(said)

    return run


def test_processes_take_less_together(command: Command, tmp_path: Path, scarce: Scarcely) -> None:
    """Memory runs out on the second process alone: both take the step, and those after it, in smaller pieces."""
    codes, _, said = scarce(1, command(tmp_path / "two", **SHORT))
    assert codes == [0, 0], said
    assert said.count("step 1: out of memory with 3 examples at a time; repeated with 1, which stays") == 1
    assert facts(tmp_path / "two")["batches"] == {"batch_size": 8, "micro_batch_size": 1, "accumulation": 4}
    code, _, err = helpers.call(command(tmp_path / "one", **{**SHORT, "micro_batch_size": 1}))
    assert code == 0, err
    assert losses(tmp_path / "two") == pytest.approx(losses(tmp_path / "one"), abs=1e-5)


def test_processes_end_where_one_example_is_too_much(command: Command, tmp_path: Path, scarce: Scarcely) -> None:
    codes, result, said = scarce(0, command(tmp_path / "two", **SHORT))
    assert codes == [5, 5] and "Traceback" not in said
    assert "step 1: out of memory with 1 example at a time, of up to" in result["error"]["message"]


def test_who_loses_another_before_the_first_step_says_so(command: Command, tmp_path: Path, scarce: Scarcely) -> None:
    codes, result, said = scarce(0, command(tmp_path / "two", **SHORT), first=0)
    assert codes == [5, 5] and "error: out of memory" in said and "bug" not in said
    assert "process 0 lost contact with another of the 2 processes" in result["error"]["message"]


def test_a_dry_run_of_processes_finds_what_fits(command: Command, scarce: Scarcely) -> None:
    codes, result, said = scarce(2, command(None, "--dry-run", **{**SHORT, "micro_batch_size": 4}))
    assert codes == [0, 0], said
    assert result["measured"]["micro_batch_size"] == 2 and "4 examples at a time do not fit" in said


def test_torchrun_is_joined_and_evaluates_equally(command: Command, small: Path, tmp_path: Path, single: Path) -> None:
    torchrun = ["--nproc-per-node", "2", "--master-port", str(free_port())]
    arguments = ["eval", str(single), "--data", str(small / "train.jsonl"), "--cpu", "--batch-size", "7", "--name"]
    two = [*torchrun, "-m", "hfkit", *arguments, "two", "--json"]
    done = helpers.start(two, tmp_path / "log", module="torch.distributed.run")
    done.join(400)
    out, err = ((tmp_path / f"log.{end}").read_text("utf-8") for end in ("out", "err"))
    assert done.exitcode == 0, err
    assert "world 2 = 1 node x 2 (torchrun)" in err
    code, one, err = helpers.call([*arguments, "one"])
    assert code == 0, err
    assert json.loads(out)["metrics"] == one["metrics"]
    files = [(single / "eval" / name / "predictions.jsonl").read_bytes() for name in ("one", "two")]
    assert files[0] == files[1]
    assert files[0].count(b"\n") == 61  # nine batches of at most 7: an uneven number, the last one short


def test_slurm_is_joined(command: Command, tmp_path: Path, single: Path) -> None:
    slurm = {
        "SLURM_NTASKS": "2",
        "SLURM_NNODES": "1",
        "SLURM_STEP_ID": "0",
        "SLURM_JOB_NODELIST": "localhost",
        "SLURM_JOB_ID": "5",
        "MASTER_PORT": str(free_port()),
    }
    arguments = command(tmp_path / "run", **SHORT)
    ranks = [
        helpers.start(
            arguments, tmp_path / f"rank{rank}", {**slurm, "SLURM_PROCID": str(rank), "SLURM_LOCALID": str(rank)}
        )
        for rank in range(2)
    ]
    for rank in ranks:
        rank.join(100)
    logs = [(tmp_path / f"rank{rank}.err").read_text("utf-8") for rank in range(2)]
    assert [rank.exitcode for rank in ranks] == [0, 0], logs
    assert "world 2 = 1 node x 2 (slurm)" in logs[0]
    assert logs[1] == "" and (tmp_path / "rank1.out").read_text("utf-8") == ""
    same(tmp_path / "run", single, "slurm")


def test_the_parent_says_nothing_and_ends_with_the_code_of_its_children(
    command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    from hfkit.cli import main

    monkeypatch.setattr("hfkit.engine.processes.place.launch", lambda plan: Delegated(6))
    assert main([*command(tmp_path / "run", "--processes", "2"), "--json"]) == 6
    assert capfd.readouterr() == ("", "")
    assert not (tmp_path / "run").exists()


def test_an_incomplete_environment_is_named(command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"RANK": "0", "WORLD_SIZE": "2", "LOCAL_RANK": "0", "MASTER_PORT": "1"}.items():
        monkeypatch.setenv(name, value)
    code, result, _ = helpers.call(command(tmp_path / "run"))
    assert code == 2 and "MASTER_ADDR" in result["error"]["message"]
    assert not (tmp_path / "run").exists()
