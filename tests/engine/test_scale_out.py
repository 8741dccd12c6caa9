"""Weights of one and of two processes, whole or shared out, and several machines as far as one can play them."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import engine_helpers as helpers
import pytest
import tiny_encoder_decoders as encoder_decoders
import torch
from safetensors.torch import load_file

from hfkit.engine.processes.launch import free_port
from hfkit.engine.processes.launcher import LAUNCHER, check_backend
from hfkit.engine.processes.place import Place, take_place
from hfkit.engine.processes.world import World
from hfkit.errors import UsageError

Command = Callable[..., list[str]]
TEN: dict[str, Any] = {"max_steps": 10, "eval_steps": 5, "micro_batch_size": 3}
STILL = ("dropout=0", "attention_dropout=0")


def ranks(arguments: Sequence[str], folder: Path, **each: str) -> list[str]:
    """Run a command as two processes that meet by torch's variables; returns what each said on stderr."""
    port = str(free_port())
    world = {"WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, **each}
    started = [
        helpers.start(arguments, folder / f"rank{rank}", {**world, "RANK": str(rank), "LOCAL_RANK": str(rank)})
        for rank in range(2)
    ]
    for process in started:
        process.join(300)
    logs = [(folder / f"rank{rank}.err").read_text("utf-8") for rank in range(2)]
    assert [process.exitcode for process in started] == [0, 0], logs
    return logs


def equal(run: Path, other: Path, within: float = 1e-5) -> None:
    """The models of two runs hold the same weights."""
    mine, theirs = (load_file(path / "model" / "model.safetensors") for path in (run, other))
    assert mine.keys() == theirs.keys()
    for name, value in mine.items():
        torch.testing.assert_close(value, theirs[name], rtol=0, atol=within, msg=name)


@pytest.fixture(scope="module")
def single(small: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Ten steps of one process, without dropout."""
    folder = tmp_path_factory.mktemp("single")
    recipe = helpers.recipe_file(folder, batch_size=8, lr=0.001, precision="float32", **TEN)
    data = ["--train", str(small / "train.jsonl"), "--validation", str(small / "validation.jsonl")]
    code, _, err = helpers.call(
        ["finetune", str(recipe), "--model", str(small / "bert"), *data, "-o", str(folder / "run"), "--cpu", *STILL]
    )
    assert code == 0, err
    return folder / "run"


@pytest.mark.parametrize("distributed", ["ddp", "fsdp"])
def test_two_processes_reach_the_weights_of_one(
    command: Command, tmp_path: Path, single: Path, distributed: str
) -> None:
    logs = ranks(command(tmp_path / "run", *STILL, distributed=distributed, **TEN), tmp_path)
    assert logs[1] == ""
    equal(tmp_path / "run", single)
    devices = json.loads((tmp_path / "run" / "run.json").read_text("utf-8"))["devices"]
    assert devices.endswith("weights shared out") == (distributed == "fsdp")
    scores = [
        json.loads((run / "eval/validation/metrics.json").read_text("utf-8")) for run in (tmp_path / "run", single)
    ]
    assert scores[0]["metrics"] == pytest.approx(scores[1]["metrics"], abs=1e-4)
    from transformers import AutoModelForSequenceClassification

    folder = tmp_path / "run" / "model"
    assert type(AutoModelForSequenceClassification.from_pretrained(folder)).__name__ == "BertForSequenceClassification"
    assert json.loads((folder / "config.json").read_text("utf-8"))["architectures"] == ["BertForSequenceClassification"]


def test_adapters_and_frozen_layers_in_two_processes(command: Command, tmp_path: Path) -> None:
    parts = (*STILL, "lora.rank=4", "train.freeze_layers=1", "train.layer_lr_decay=0.9")
    code, _, err = helpers.call(command(tmp_path / "one", *parts, **TEN))
    assert code == 0, err
    for distributed in ("ddp", "fsdp"):
        ranks(command(tmp_path / distributed, *parts, distributed=distributed, **TEN), tmp_path)
        equal(tmp_path / distributed, tmp_path / "one")


def test_shared_weights_resume_bit_identically(command: Command, tmp_path: Path) -> None:
    whole, stopped = tmp_path / "whole", tmp_path / "stopped"
    arguments = {"distributed": "fsdp", "save_steps": 5, "gradient_checkpointing": True, **TEN}
    ranks(command(whole, **arguments), tmp_path)
    shutil.copytree(whole, stopped)
    for name in ("model", "checkpoints/step-00000010"):
        shutil.rmtree(stopped / name)
    facts = json.loads((stopped / "run.json").read_text("utf-8"))
    del facts["result"]
    (stopped / "run.json").write_text(json.dumps(facts), encoding="utf-8")
    logs = ranks(command(stopped, "--resume", **arguments), tmp_path)
    assert "continuing at step 5 of 10" in logs[0]
    assert helpers.weights(stopped / "model") == helpers.weights(whole / "model")


def torchrun(node: int, port: str) -> list[str]:
    return [
        *("torch.distributed.run", "--nnodes", "2", "--node_rank", str(node)),
        *("--nproc_per_node", "1", "--master_addr", "127.0.0.1", "--master_port", port, "-m", "hfkit"),
    ]


def accelerate(node: int, port: str) -> list[str]:
    return [
        *("accelerate.commands.accelerate_cli", "launch", "--multi_gpu", "--num_machines", "2"),
        *("--machine_rank", str(node), "--num_processes", "2", "--main_process_ip", "127.0.0.1"),
        *("--main_process_port", port, "--mixed_precision", "no", "-m", "hfkit"),
    ]


@pytest.mark.parametrize("launcher", [torchrun, accelerate])
def test_two_nodes_of_one_process_each(
    command: Command, tmp_path: Path, single: Path, launcher: Callable[[int, str], list[str]]
) -> None:
    """The command lines of the guide, with this machine as both nodes."""
    port, arguments = str(free_port()), command(tmp_path / "run", *STILL, "--json", **TEN)
    nodes = []
    for number in range(2):
        module, *words = launcher(number, port)
        nodes.append(helpers.start([*words, *arguments], tmp_path / f"node{number}", module=module))
    for node in nodes:
        node.join(400)
    errs, outs = ([(tmp_path / f"node{n}.{end}").read_text("utf-8") for n in range(2)] for end in ("err", "out"))
    assert [node.exitcode for node in nodes] == [0, 0], errs
    assert "world 2 = 2 nodes x 1 (torchrun)" in errs[0]
    assert json.loads(outs[0])["world"] == 2 and outs[1] == ""
    equal(tmp_path / "run", single)


def test_two_nodes_of_slurm(command: Command, tmp_path: Path, single: Path) -> None:
    """What srun sets for two nodes of one task each; the first node's name must lead to this machine."""
    job = {"SLURM_NTASKS": "2", "SLURM_NNODES": "2", "SLURM_STEP_ID": "0", "SLURM_JOB_ID": "7", "SLURM_LOCALID": "0"}
    meeting = {"SLURM_JOB_NODELIST": "localhost,localhost", "MASTER_PORT": str(free_port())}
    arguments = command(tmp_path / "run", *STILL, **TEN)
    nodes = [
        helpers.start(arguments, tmp_path / f"node{node}", {**job, **meeting, "SLURM_PROCID": str(node)})
        for node in range(2)
    ]
    for node in nodes:
        node.join(300)
    logs = [(tmp_path / f"node{node}.err").read_text("utf-8") for node in range(2)]
    assert [node.exitcode for node in nodes] == [0, 0], logs
    assert "world 2 = 2 nodes x 1 (slurm)" in logs[0] and logs[1] == ""
    equal(tmp_path / "run", single)


def test_two_processes_write_the_texts_of_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An evaluation by decoding, over gloo: texts of both processes stand in one file, in the rows' order."""
    monkeypatch.setenv("HFKIT_RUNS", str(tmp_path / "runs"))
    model, data = encoder_decoders.save("bart", tmp_path / "bart"), tmp_path / "rows.jsonl"
    kept = {"hfkit": "0", "task": "seq2seq", "settings": {"max_source_length": 32, "max_target_length": 7}}
    (model / "hfkit.json").write_text(json.dumps(kept), encoding="utf-8")
    texts = [row["text"] for row in helpers.rows(11)]
    lines = [json.dumps({"source": text, "target": text}) + "\n" for text in texts]
    data.write_text("".join(lines), encoding="utf-8")
    words = ["eval", str(model), "--data", str(data), "--cpu", "--batch-size", "2", "train.precision=float32"]
    code, result, err = helpers.call([*words, "--name", "one"])
    assert code == 0, err
    logs = ranks([*words, "--name", "two"], tmp_path)
    both = json.loads((tmp_path / "rank0.out").read_text("utf-8"))
    assert logs[1] == "" == (tmp_path / "rank1.out").read_text("utf-8")
    assert both["metrics"] == result["metrics"]
    files = [Path(found["output"], "predictions.jsonl").read_text("utf-8") for found in (result, both)]
    assert files[0] == files[1]
    found = [json.loads(line) for line in files[0].splitlines()]
    assert [row["id"] for row in found] == [str(n) for n in range(11)] and len({row["prediction"] for row in found}) > 3


@pytest.mark.parametrize("name", LAUNCHER)
def test_a_launchers_variable_that_would_change_the_run_is_refused(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    value = {"DYNAMO_BACKEND": "eager", "ACCUMULATION_STEPS": "4"}
    monkeypatch.setenv(name, next((v for end, v in value.items() if name.endswith(end)), "true"))
    with pytest.raises(UsageError, match=name):
        take_place(cpu=True, precision="float32")


def test_what_accelerate_launch_always_sets_is_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (("MIXED_PRECISION", "no"), ("DYNAMO_BACKEND", "NO"), ("GRADIENT_ACCUMULATION_STEPS", "1")):
        monkeypatch.setenv(f"ACCELERATE_{name}", value)
    assert take_place(cpu=True, precision="float32").accelerator.gradient_accumulation_steps == 1
    monkeypatch.setenv("ACCELERATE_MIXED_PRECISION", "fp16")  # train.precision says it, and accelerate is told
    assert take_place(cpu=True, precision="bfloat16").accelerator.mixed_precision == "bf16"


@pytest.mark.parametrize(("device", "number_format"), [("cpu", "no"), ("cuda", "bf16")])
def test_another_device_or_format_than_was_told_is_refused(device: str, number_format: str) -> None:
    accelerator = SimpleNamespace(device=torch.device(device), mixed_precision=number_format)
    with pytest.raises(UsageError, match="instead of (cuda|no)"):
        check_backend(accelerator, "no", torch.device("cuda"))  # type: ignore[arg-type]


def test_a_model_that_was_not_spread_is_refused() -> None:
    for sharded in (False, True):
        place = Place(World(0, 2), None, "float32", "", sharded)  # type: ignore[arg-type]
        with pytest.raises(UsageError, match="fsdp" if sharded else "ddp"):
            place.check_wrapped(torch.nn.Linear(2, 2))
