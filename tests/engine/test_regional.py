"""Compiled layers: equal to the others, not compiled anew, chosen by a trial that moves nothing, refused by name."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import engine_helpers as helpers
import numpy as np
import pytest
import tiny_models as tiny
import torch
import transformers
from torch._dynamo.testing import CompileCounter, CompileCounterWithBackend
from torch._inductor.runtime.cache_dir_utils import cache_dir
from transformers.modeling_layers import GradientCheckpointingLayer

from hfkit.engine import trial
from hfkit.engine.collate import collate
from hfkit.engine.forward import forward
from hfkit.engine.packing import ALIGNED, packed
from hfkit.engine.processes.place import Place, take_place
from hfkit.engine.regional import FOLDER, LEAST, LENGTH, VARIABLE, Regions, eager, row_lengths, row_tokens
from hfkit.errors import UsageError
from hfkit.recipe.load import build
from hfkit.verbs.finetune import compiling

Command = Callable[..., list[str]]
Batch = dict[str, torch.Tensor]
COMPILER = shutil.which(os.environ.get("CXX", "g++")) or shutil.which("clang++")
NO_DROPOUT = {
    "bert": {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0},
    "gpt2": {"resid_pdrop": 0.0, "attn_pdrop": 0.0, "embd_pdrop": 0.0},
}


@pytest.fixture(autouse=True)
def forgotten() -> Iterator[None]:
    """What a test compiled is of no use to the next, and neither is the place of its cache."""
    before = os.environ.pop(VARIABLE, None)
    yield
    torch.compiler.reset()
    os.environ.pop(VARIABLE, None)
    if before is not None:
        os.environ[VARIABLE] = before


@pytest.fixture(scope="module")
def place() -> Place:
    return take_place(cpu=True, precision="float32")


def model_of(family: str, **changes: Any) -> Any:
    config = tiny.config(family, 200, 0)
    config.update({**NO_DROPOUT[family], "num_labels": 3, **changes})
    kind = "ForCausalLM" if family == "gpt2" else "ForSequenceClassification"
    torch.manual_seed(0)
    return getattr(transformers, f"AutoModel{kind}").from_config(config)


def batch_of(*lengths: int) -> Batch:
    draw = np.random.default_rng(sum(lengths))
    return collate([{"input_ids": draw.integers(5, 190, n).tolist(), "token_type_ids": [0] * n} for n in lengths], 0)


def gradients(model: Any, batch: Batch) -> dict[str, torch.Tensor]:
    """Logits, and the gradient of each weight, of a made-up loss."""
    model.zero_grad(set_to_none=True)
    logits = forward(model.train(), batch).logits
    logits.square().mean().backward()
    named = ((name.removeprefix("model."), p.grad) for name, p in model.named_parameters())
    return {"logits": logits.detach(), **{name: grad for name, grad in named if grad is not None}}


def assert_equal(ours: dict[str, torch.Tensor], theirs: dict[str, torch.Tensor]) -> None:
    assert ours.keys() == theirs.keys()
    for name, values in ours.items():
        torch.testing.assert_close(values, theirs[name], rtol=1e-3, atol=1e-5, msg=name)


@pytest.mark.parametrize("family", ["bert", "gpt2"])
def test_losses_and_gradients_are_those_of_eager_and_no_size_compiles_anew(family: str, place: Place) -> None:
    plain, compiled = packed(model_of(family), place), packed(model_of(family), place, compiled=True)
    names = list(compiled.state_dict())
    counter = CompileCounter()
    regions = Regions(compiled, place, tokens=300, backend=counter)
    regions.compile()
    assert counter.frame_count == 1  # for both layers
    for batch in (batch_of(5, 9, 17), batch_of(11), batch_of(*[7] * 9), batch_of(100, 90), batch_of(*range(2, 33))):
        assert_equal(gradients(plain, batch), gradients(compiled, batch))
    assert counter.frame_count == 1
    assert list(compiled.state_dict()) == names
    regions.undo()
    assert not compiled.compiled and not any("forward" in layer.__dict__ for layer in regions.layers)


class Layer(GradientCheckpointingLayer):
    """A layer of few kernels: a real one takes a C++ compiler a minute."""

    def __init__(self) -> None:
        super().__init__()
        self.dense = torch.nn.Linear(16, 16)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + torch.nn.functional.gelu(self.dense(x))


class Body(torch.nn.Module):
    """Two of them behind a table of vectors."""

    def __init__(self) -> None:
        super().__init__()
        self.table, self.layers = torch.nn.Embedding(200, 16), torch.nn.Sequential(Layer(), Layer())

    def hidden(self, batch: Batch) -> torch.Tensor:
        return self.layers(self.table(batch["input_ids"].flatten()[batch["token_index"]])[None])[0]


@pytest.mark.skipif(COMPILER is None, reason="no C++ compiler, which torch.compile needs on CPUs")
def test_real_code_is_made_once_and_kept_in_the_cache() -> None:
    """In a process of its own: setuptools, through which torch calls the compiler, must come before distutils does."""
    with ProcessPoolExecutor(1, get_context("spawn")) as alone:
        alone.submit(compile_twice).result()


def compile_twice() -> None:
    body, batch, place = Body().train(), batch_of(5, 9, 17), take_place(cpu=True, precision="float32")

    def found() -> list[torch.Tensor]:
        body.zero_grad(set_to_none=True)
        hidden = body.hidden(batch)
        hidden.square().sum().backward()
        return [hidden.detach(), *(p.grad.clone() for p in body.parameters() if p.grad is not None)]

    plain = found()
    regions = Regions(body, place, tokens=10)  # type: ignore[arg-type]
    os.environ.pop(VARIABLE, None)
    cache_dir()  # torch says where it would keep it, which is nobody's wish
    made = []
    for _ in range(2):
        regions.compile()
        torch.testing.assert_close(found(), plain)
        with eager():
            assert all(torch.equal(ours, theirs) for ours, theirs in zip(found(), plain, strict=True))
        regions.undo()
        made.append(set((Path(os.environ["HFKIT_CACHE"]) / FOLDER / str(LEAST)).rglob("*.so")))
    assert made[0] and made[0] == made[1]


def test_the_row_that_code_is_made_for_has_sizes_of_its_own() -> None:
    assert (row_tokens(3), row_tokens(1500), row_tokens(13_000)) == (LEAST, 2048, 16384)
    for tokens in (LEAST, 4096, 16384):
        lengths = row_lengths(tokens)
        assert sum(lengths) % 2 and (len(lengths) + 1) % 2 and max(lengths) == LENGTH and LENGTH % ALIGNED == 0
        assert abs(sum(lengths) - tokens) <= 2 * LENGTH


def use(monkeypatch: pytest.MonkeyPatch, backend: Any, **settings: Any) -> None:
    """Commands compile by `backend`; what a trial goes by is changed."""
    monkeypatch.setattr(compiling, "BACKEND", backend)
    for name, value in settings.items():
        monkeypatch.setattr(trial, name, value)


def facts(run: Path) -> dict[str, Any]:
    return json.loads((run / "run.json").read_text("utf-8"))


def test_a_run_goes_on_to_the_bit_compiled_as_it_began(
    command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    counter = CompileCounterWithBackend("eager")
    use(monkeypatch, counter, LEAST_STEPS=1, KNOWN_SECONDS=0.0)
    monkeypatch.setattr(compiling, "TRIED_ON", ("cpu",))
    times = iter([2e6, 2e6, 1e6])  # before compiling; then without and with compiled layers
    monkeypatch.setattr(trial, "_timed", lambda *_: next(times))
    keys = {"max_steps": 8, "eval_steps": 4}
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    code, _, err = helpers.call(command(whole, **keys))
    assert code == 0, err
    assert "train.compile" in err and "a step instead of 2e+09 save about" in err
    assert facts(whole)["compiled"] is True and facts(whole)["resolved"]["train.compile"] is True
    made = counter.frame_count
    assert made > 0
    shutil.copytree(whole, parts)
    shutil.rmtree(parts / "model")
    shutil.rmtree(parts / "checkpoints/step-00000008")
    begun = {name: value for name, value in facts(parts).items() if name != "result"}
    (parts / "run.json").write_text(json.dumps({**begun, "status": "running"}), encoding="utf-8")
    code, _, err = helpers.call(command(parts, "--resume", **keys))  # nothing is left of `times`: no second trial
    assert code == 0, err
    assert "as the run began" in err and counter.frame_count > made
    assert helpers.weights(parts / "checkpoints/step-00000008") == helpers.weights(whole / "checkpoints/step-00000008")


def test_on_a_cpu_nothing_is_tried_and_nothing_is_said(command: Command, tmp_path: Path) -> None:
    losses = []
    for name, choice in (("auto", "auto"), ("off", False)):
        run = tmp_path / name
        code, _, err = helpers.call(command(run, max_steps=3, compile=choice))
        assert code == 0 and "compile" not in err, err
        assert facts(run)["compiled"] is False and "train.compile" not in facts(run)["resolved"]
        events = map(json.loads, (run / "events.jsonl").read_text("utf-8").splitlines())
        losses.append([event["fields"]["loss"] for event in events if event["kind"] == "step"])
    assert losses[0] == losses[1] and len(losses[0]) == 3
    assert helpers.weights(tmp_path / "auto/model") == helpers.weights(tmp_path / "off/model")


def broken(*_: Any, **__: Any) -> Any:
    raise RuntimeError("no compiler to be found\nand a long trace")


def test_where_nothing_can_be_compiled(command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    use(monkeypatch, broken, LEAST_STEPS=1, KNOWN_SECONDS=0.0)
    code, result, _ = helpers.call(command(tmp_path / "asked", max_steps=2, compile=True))
    assert code == 5 and "no compiler to be found" in result["error"]["message"]
    assert "train.compile=false" in result["error"]["hint"]
    monkeypatch.setattr(compiling, "TRIED_ON", ("cpu",))
    code, result, err = helpers.call(command(tmp_path / "auto", max_steps=2))
    assert code == 0 and result["steps"] == 2, err
    assert "the layers cannot be compiled here" in err and facts(tmp_path / "auto")["compiled"] is False


@pytest.mark.parametrize(
    ("kind", "keys", "why"),
    [
        ("albert", [], "models of type albert share one set of weights"),
        ("deberta-v2", [], "deberta-v2 run in padded batches"),
        ("t5", [], "t5 run in padded batches"),
        ("bert", ["train.distributed=fsdp"], "layers gather their weights"),
    ],
)
def test_what_is_not_compiled_is_refused_by_name(kind: str, keys: list[str], why: str) -> None:
    found: Any = SimpleNamespace(config={"model_type": kind})
    with pytest.raises(UsageError, match=why):
        compiling.check_compile(build({"task": "classify"}, ["train.compile=true", *keys]), found)
    compiling.check_compile(build({"task": "classify"}, keys), found)


@pytest.mark.parametrize(
    ("steps", "times", "pays", "why"),
    [
        (199, [], False, "199 steps are too few to try it"),
        (400, [0.9], False, "the steps take about 360 s, too little to try it for up to 40 s"),
        (1000, [1.0, 1.0, 0.5], True, "500 ms a step instead of 1e+03 save about 500 of 1000 s"),
        (1000, [1.0, 1.0, 1.2], False, "save nothing"),
        (1000, [1.0, 1.0, None], False, "memory ran out when it was tried"),
    ],
)
def test_compiled_layers_are_taken_past_their_break_even(
    steps: int, times: list[float | None], pays: bool, why: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[str] = []
    given = iter(times)
    monkeypatch.setattr(trial, "_timed", lambda *_: next(given))
    training: Any = SimpleNamespace(
        schedule=SimpleNamespace(steps=steps),
        place=SimpleNamespace(gather=lambda value: [value]),
        passed=lambda step: True,
    )
    regions: Any = SimpleNamespace(compile=lambda: done.append("compile"), undo=lambda: done.append("undo"))
    found = trial.tried(training, regions, None)
    assert found.pays is pays and why in found.why
    assert done == (["compile"] if pays else ["compile", "undo"] if len(times) == 3 else [])


def test_what_is_saved_must_exceed_what_compiling_took() -> None:
    judged = trial._judged
    assert judged(1.0, 0.9, 300.0, 29.0).pays and not judged(1.0, 0.9, 300.0, 31.0).pays
    assert judged(1.0, 0.9, 300.0, 31.0).why.endswith("save only 30 of 300 s, compiling took 31 s")
