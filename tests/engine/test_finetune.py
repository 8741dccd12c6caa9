"""finetune as a command: plans, time limits, early stopping, precision, and what goes wrong on the way."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import engine_helpers as helpers
import pytest
import torch
from safetensors.torch import load_file

from hfkit.engine.train import Training

Command = Callable[..., list[str]]


def facts(run: Path) -> dict[str, Any]:
    return json.loads((run / "run.json").read_text("utf-8"))


def write(path: Path, rows: list[dict[str, Any]]) -> str:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return str(path)


def test_a_whole_run(command: Command, tmp_path: Path) -> None:
    run = tmp_path / "run"
    code, result, err = helpers.call(command(run, max_steps=8, eval_steps=4))
    assert code == 0, err
    assert result["run"] == str(run)
    assert result["steps"] == 8 and result["world"] == 1 and result["rows"] == 17
    assert result["best"]["step"] in (4, 8) and result["best"]["metrics"]["accuracy"] == result["metrics"]["accuracy"]
    throughput = result["throughput"]
    assert throughput["seconds"] > throughput["evaluation_seconds"] + throughput["checkpoint_seconds"] > 0
    assert throughput["tokens_per_s"] > throughput["rows_per_s"] > 0 and result["peak_memory_bytes"] > 1e6
    assert {p.name for p in run.iterdir()} == {
        "recipe.yaml",
        "run.json",
        "events.jsonl",
        "checkpoints",
        "model",
        "eval",
        "README.md",
    }
    assert facts(run)["status"] == "done" and facts(run)["exit_code"] == 0
    from transformers import AutoModelForSequenceClassification

    model = AutoModelForSequenceClassification.from_pretrained(run / "model")
    assert model.config.id2label == {0: "bread", 1: "salt"}
    best = run / "checkpoints" / f"step-{result['best']['step']:08d}"
    assert helpers.weights(run / "model") == helpers.weights(best)


def test_a_dry_run_measures_and_writes_no_run(command: Command, tmp_path: Path) -> None:
    code, result, err = helpers.call(command(tmp_path / "run", "--dry-run", max_steps=40))
    assert code == 0, err
    plan, found = result["plan"], result["measured"]
    assert plan["steps"].startswith("40 of 8 examples")
    assert plan["batches"] == "8 examples a step, packed, without padding"
    assert " GB of " in plan["memory"] and plan["time"].startswith("about ")
    assert found["micro_batch_size"] == 8 and found["accumulation"] == 1 and found["batch_size"] == 8
    assert 10**7 < found["peak_memory_bytes"] < found["memory_bytes"]
    assert found["seconds"] > 40 * found["seconds_per_step"] > 0 and found["tokens_per_s"] > found["rows_per_s"] > 0
    assert not (tmp_path / "run").exists()


def test_too_little_memory_halves_what_is_computed_at_once(
    command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from hfkit.tasks.classify import Classify

    honest = Classify.loss

    def scarce(task: Any, outputs: Any, batch: Any) -> Any:
        if len(batch["input_ids"]) > 3:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB")
        return honest(task, outputs, batch)

    monkeypatch.setattr(Classify, "loss", scarce)
    run = tmp_path / "run"
    code, result, err = helpers.call(command(run, max_steps=4))
    assert code == 0, err
    assert result["steps"] == 4
    assert "step 1: out of memory with 8 examples at a time; repeated with 4" in err
    assert "step 1: out of memory with 4 examples at a time; repeated with 2" in err
    assert facts(run)["batches"] == {"batch_size": 8, "micro_batch_size": 2, "accumulation": 4}
    assert facts(run)["resolved"]["train.micro_batch_size"] == 8
    state = json.loads((run / "checkpoints/step-00000004/state.json").read_text("utf-8"))
    assert state["micro_batch_size"] == 2
    code, result, err = helpers.call(command(tmp_path / "dry", "--dry-run"))
    assert code == 0, err
    assert result["measured"]["micro_batch_size"] == 2 and result["measured"]["accumulation"] == 4
    assert "8 examples at a time do not fit: train with train.micro_batch_size=2" in err


def test_not_even_one_example_fits(command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any) -> Any:
        raise RuntimeError("[enforce fail at alloc_cpu.cpp:127] err == 0. DefaultCPUAllocator: can't allocate memory")

    monkeypatch.setattr("hfkit.tasks.classify.Classify.loss", full)
    code, result, err = helpers.call(command(tmp_path / "run"))
    assert code == 5 and result["error"]["kind"] == "resources"
    assert "out of memory with 1 example at a time, of up to" in result["error"]["message"] and "Traceback" not in err
    assert facts(tmp_path / "run")["status"] == "failed"
    assert helpers.call(command(tmp_path / "dry", "--dry-run"))[0] == 5


def test_the_time_limit_ends_scored(command: Command, tmp_path: Path) -> None:
    """Where the machine stalls for seconds, as in a fsync, no time is left for the rate to fall: more time then."""
    kept: list[bool] = []
    while not any(kept) and len(kept) < 3:
        limit = 8 * (1 + len(kept))
        run, begun = tmp_path / f"run{limit}", time.monotonic()
        code, result, err = helpers.call(command(run, "--time", f"{limit}s", max_steps=10**6))
        assert code == 0, err
        spent = time.monotonic() - begun
        assert f"{limit}s allow" in err and 8 < result["steps"] < 10**6
        assert result["metrics"]["accuracy"] > 0
        events = [json.loads(line) for line in (run / "events.jsonl").read_text("utf-8").splitlines()]
        rates = [event["fields"]["lr"] for event in events if event["kind"] == "step"]
        kept.append(spent < 1.5 * limit and rates[-1] < 0.3 * max(rates))  # the schedule was fitted, not cut
    assert kept[-1]


@pytest.mark.parametrize("steps", [4, 6, 9])
def test_the_rate_counts_the_steps_whose_time_it_counts(
    command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, steps: int
) -> None:
    """Losses are read a step late, so that the last of them come at once: no step may count without its time."""
    original = Training.advance

    def slow(self: Training, step: int, **keys: Any) -> Any:
        time.sleep(0.1)
        return original(self, step, **keys)

    monkeypatch.setattr(Training, "advance", slow)
    code, result, err = helpers.call(command(tmp_path / "run", max_steps=steps, eval_steps="null"))
    assert code == 0, err
    assert 1 < result["throughput"]["rows_per_s"] < 8 / 0.1  # batches of 8, a tenth of a second each and more


def test_patience(command: Command, tmp_path: Path) -> None:
    run = tmp_path / "run"
    keys = {"max_steps": 40, "eval_steps": 2, "patience": 2, "lr": 1e-12, "metric": "accuracy"}
    code, result, err = helpers.call(command(run, **keys))
    assert code == 0, err
    assert result["steps"] == 6 and result["best"]["step"] == 2
    assert "no better accuracy in 2 evaluations" in err
    stripped = {k: v for k, v in facts(run).items() if k != "result"}  # as if killed before the end
    (run / "run.json").write_text(json.dumps(stripped), encoding="utf-8")
    code, again, err = helpers.call(command(run, "--resume", **keys))
    assert code == 0 and again["steps"] == 6 and again["best"] == result["best"]


def test_bfloat16_trains_on_a_cpu_and_float16_does_not(command: Command, tmp_path: Path) -> None:
    code, result, err = helpers.call(command(tmp_path / "run", max_steps=3, precision="bfloat16"))
    assert code == 0, err
    assert facts(tmp_path / "run")["precision"] == "bfloat16"
    weights = load_file(tmp_path / "run/model/model.safetensors")
    assert {value.dtype for value in weights.values()} == {torch.float32}
    code, result, _ = helpers.call(command(tmp_path / "other", precision="float16"))
    assert code == 2 and "needs a GPU" in result["error"]["message"]
    assert not (tmp_path / "other").exists()


def test_divergence_keeps_finite_checkpoints(command: Command, tmp_path: Path) -> None:
    run = tmp_path / "run"
    code, result, err = helpers.call(command(run, max_steps=60, lr=1e6, save_steps=1, eval_steps=30))
    assert code == 6 and result["error"]["kind"] == "divergence"
    assert "Traceback" not in err and len(err.split("error: ")[1].splitlines()) <= 15
    assert facts(run)["status"] == "diverged" and facts(run)["exit_code"] == 6
    for path in (run / "checkpoints").glob("step-*"):
        assert all(torch.isfinite(value).all() for value in load_file(path / "model.safetensors").values())
    assert not (run / "model").exists()


def test_a_full_disk_leaves_the_earlier_checkpoint(command: Command, tmp_path: Path) -> None:
    run, keys = tmp_path / "run", {"max_steps": 8, "eval_steps": 4, "save_steps": 4}
    assert helpers.call(command(run, **keys))[0] == 0
    import shutil

    shutil.rmtree(run / "model")
    shutil.rmtree(run / "checkpoints/step-00000008")
    (run / "run.json").write_text(json.dumps({k: v for k, v in facts(run).items() if k != "result"}), encoding="utf-8")
    kept = {path: helpers.sha256(path) for path in sorted((run / "checkpoints").rglob("*")) if path.is_file()}
    size = (run / "checkpoints/step-00000004/model.safetensors").stat().st_size
    process = helpers.start(command(run, "--resume", **keys), tmp_path / "log", largest_file=size // 2)
    process.join(60)
    err = (tmp_path / "log.err").read_text("utf-8")
    assert process.exitcode == 5, err
    assert "step-00000008" in err and "Traceback" not in err
    assert {path: helpers.sha256(path) for path in sorted((run / "checkpoints").rglob("*")) if path.is_file()} == kept
    assert not (run / "model").exists() and not [p for p in run.rglob(".*") if "tmp" in p.name]
    assert facts(run)["status"] == "failed" and facts(run)["exit_code"] == 5
    assert helpers.call(command(run, "--resume", **keys))[0] == 0  # there is space again


def test_an_output_that_cannot_be_written(command: Command, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x", encoding="utf-8")
    code, result, _ = helpers.call(command(tmp_path / "file" / "run"))
    assert code == 5 and "file/run" in result["error"]["message"]
    assert helpers.call(command(tmp_path / "file"))[0] == 2
    assert (tmp_path / "file").read_text(encoding="utf-8") == "x"


def test_an_interruption_is_written_down(small: Path, tmp_path: Path) -> None:
    from hfkit.recipe.load import build
    from hfkit.verbs.finetune import finetune

    data = {"train": str(small / "train.jsonl"), "validation": str(small / "validation.jsonl")}
    values = {"task": "classify", "model": str(small / "bert"), "data": data, "train": {"precision": "float32"}}
    events = finetune(build(values), output=tmp_path / "run", cpu=True)
    assert next(event for event in events if event.kind == "step").step == 1
    events.close()  # type: ignore[attr-defined]
    assert facts(tmp_path / "run")["status"] == "interrupted" and facts(tmp_path / "run")["exit_code"] == 130


@pytest.mark.parametrize("text", ["2 hours", "0s"])
def test_a_wrong_time_is_said_before_anything_is_loaded(
    command: Command, tmp_path: Path, text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hfkit.verbs.finetune.load_training", lambda *_, **__: pytest.fail("data was read"))
    assert helpers.call(command(tmp_path / "run", "--time", text))[0] == 2


# ---- labels, blocks and empty texts


def nli(tmp_path: Path, model: Path, *extra: str, validation: list[str]) -> tuple[int, dict[str, Any], str]:
    def rows(labels: list[Any]) -> list[dict[str, Any]]:
        words = helpers.WORDS
        return [
            {"premise": f"the {words[i]}", "hypothesis": "the mill", "label": label} for i, label in enumerate(labels)
        ]

    recipe = tmp_path / "nli.yaml"
    recipe.write_text(
        "task: nli\ntrain: {max_steps: 2, batch_size: 4, precision: float32, lr: 1e-3}\n", encoding="utf-8"
    )
    train = write(tmp_path / "train.jsonl", rows([0, 1, 2] * 4))
    held = write(tmp_path / "validation.jsonl", rows(validation))
    arguments = ["finetune", str(recipe), "--model", str(model), "--train", train, "--validation", held, "--cpu"]
    return helpers.call([*arguments, "-o", str(tmp_path / "run"), *extra])


@pytest.mark.parametrize("labels", [[0, 1, 0, 1], [2, 2], [1, -1]])
def test_validation_may_lack_a_class(small: Path, tmp_path: Path, labels: list[Any]) -> None:
    code, result, err = nli(tmp_path, small / "bert", validation=labels)
    assert code == 0, err
    assert result["rows"] == len([label for label in labels if label >= 0])


def test_nameless_labels_need_a_fresh_head(tmp_path: Path) -> None:
    model = helpers.checkpoint(tmp_path / "model", head="AutoModelForSequenceClassification", num_labels=3)
    code, result, _ = nli(tmp_path, model, validation=[0, 1, 2])
    assert code == 4 and "LABEL_0" in result["error"]["message"] and "train.reset_head=true" in result["error"]["hint"]
    code, _, err = nli(tmp_path, model, "train.reset_head=true", validation=[0, 1, 2])
    assert code == 0, err
    config = json.loads((tmp_path / "run/model/config.json").read_text("utf-8"))
    assert set(config["id2label"].values()) == {"entailment", "neutral", "contradiction"}


def test_an_empty_text_has_a_token_for_gpt2(command: Command, tmp_path: Path) -> None:
    model = helpers.checkpoint(tmp_path / "gpt2", "gpt2")
    rows = [*helpers.rows(10), {"text": "", "label": "salt"}]
    data = write(tmp_path / "empty.jsonl", rows)
    arguments = command(tmp_path / "run", max_steps=3)
    arguments[arguments.index("--model") + 1] = str(model)
    arguments[arguments.index("--train") + 1] = data
    arguments[arguments.index("--validation") + 1] = data
    code, result, err = helpers.call(arguments)
    assert code == 0, err
    assert result["rows"] == 11


def test_a_limit_draws_blocks_of_a_text(tmp_path: Path) -> None:
    model = helpers.checkpoint(tmp_path / "gpt2", "gpt2", head="AutoModelForCausalLM")
    text = tmp_path / "train.txt"
    text.write_text("the old mill stands by the river\n" * 300, encoding="utf-8")
    recipe = tmp_path / "lm.yaml"
    recipe.write_text(
        "task: lm\nlm: {block_size: 32}\ntrain: {max_steps: 2, batch_size: 2, lr: 1e-3}\n", encoding="utf-8"
    )
    arguments = [
        "finetune",
        str(recipe),
        "--model",
        str(model),
        "--train",
        str(text),
        "--cpu",
        "-o",
        str(tmp_path / "run"),
    ]
    code, result, err = helpers.call([*arguments, "--limit", "5"])
    assert code == 0, err
    assert result["rows"] == 5
    assert ", 5 examples" in next(line for line in err.splitlines() if line.strip().startswith("train "))


def test_what_is_set_and_changes_nothing_is_said() -> None:
    from hfkit.recipe.load import build
    from hfkit.tasks import task_class
    from hfkit.tasks.classify import Classify
    from hfkit.verbs.finetune.ready import without_effect

    def lines(task: str, model: str) -> list[str]:
        values = {"task": task, "model": model, "train": {"reset_head": True}, "scratch": {"lowercase": False}}
        recipe = build(values)
        bound = task_class(task)(recipe.settings)
        return [line.partition(" has no effect")[0] for line in without_effect(recipe, bound)]

    assert lines("classify", "scratch:bert-mini") == ["train.reset_head"]
    assert lines("lm", "scratch:gpt2-nano") == ["train.reset_head", "scratch.lowercase"]
    assert lines("classify", "starter") == ["scratch.lowercase"]

    def warned(labels: list[Any]) -> list[str]:
        task = Classify(Classify.Settings(mean=[0.5], std=[1.0]))
        rows = [{"id": str(n), "text": f"the {n}", "label": label} for n, label in enumerate(labels)]
        return [line for line in task.check(rows, training=True) if "has no effect" in line]

    assert [line.split()[0] for line in warned(["good", "bad"] * 3)] == ["classify.mean", "classify.std"]
    assert warned([0.5, 1.25, 2.75, 3.5]) == []
