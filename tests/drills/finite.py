"""Numbers that go wrong, memory that runs out, and what must not change the numbers: FD12 to FD15."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file

from drills.harness import STEPS, Drill, at_call, facts, fingerprint, patched


def divergence(drill: Drill) -> None:
    """FD12: a loss, gradient or weight that is not finite, or a rate of 1e6, ends with 6; finite ones are kept."""
    from hfkit.engine import train
    from hfkit.tasks.classify import Classify

    nan = float("nan")
    loss, clip = Classify.loss, train.scale_and_clip

    def spoiled(number: int, what: str) -> Any:
        count = [0]

        def losses(self: Any, outputs: Any, batch: Any) -> Any:
            count[0] += 1
            value, total = loss(self, outputs, batch)
            return (value * nan if count[0] == number else value), total

        def clipped(parameters: Any, factor: Any, norm: float, total: Any = None) -> Any:
            count[0] += 1
            parameters = list(parameters)
            found = clip(parameters, factor, norm, total)
            if count[0] == number and what == "gradient":
                parameters[0].grad.view(-1)[0] = float("inf")
                return torch.tensor(float("inf"))
            return found

        return patched(Classify, "loss", losses) if what == "loss" else patched(train, "scale_and_clip", clipped)

    for what, numbers in (("loss", (1, 9, 15)), ("gradient", (1, 9, STEPS))):  # of micro-batches, and of steps
        for number in numbers if drill.full else (9,):
            run = drill.path(what)
            with spoiled(number, what):
                code, _, err = drill.call(run)
            ended(drill, run, code, f"{what} at {number}: {err}")
    run = drill.path("weights")
    with at_call(train.Training, "check_weights", 2, lambda: None), spoiled_weights(train.Training):
        code, _, err = drill.call(run)
    ended(drill, run, code, f"weights: {err}")
    run = drill.path("rate")
    code, _, err = drill.call(run, lr=1e6, max_steps=60)
    ended(drill, run, code, f"rate: {err}")


def spoiled_weights(kind: Any) -> Any:
    """The weights are no numbers any more after the sixth step."""
    original, count = kind._apply, [0]

    def apply(self: Any, *arguments: Any) -> None:
        original(self, *arguments)
        count[0] += 1
        if count[0] == 6:
            with torch.no_grad():
                self._parameters[0].view(-1)[0] = float("nan")

    return patched(kind, "_apply", apply)


def ended(drill: Drill, run: Path, code: int, what: str) -> None:
    """Exit code 6, said in run.json, no model, every checkpoint finite."""
    weights = [load_file(path) for path in run.glob("checkpoints/*/model.safetensors")]
    finite = all(bool(torch.isfinite(value).all()) for held in weights for value in held.values())
    said = facts(run)["status"] == "diverged" and not (run / "model").exists()
    drill.note(code == 6 and finite and said, f"{code}, finite {finite}, said {said}, {what}")


def memory(drill: Drill) -> None:
    """FD13: memory runs out: half as many examples at once, the same steps, the same weights to 1e-6; 5 at one."""
    from hfkit.engine import loss
    from hfkit.engine.train import Training

    plain = {"dropout": 0, "attention_dropout": 0}
    keys = [f"{key}={value}" for key, value in plain.items()]
    expected = drill.path("small")
    code, _, err = drill.call(expected, *keys, micro_batch_size=2)
    assert code == 0, err

    def full() -> None:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")

    def close(run: Path) -> bool:
        mine, theirs = (load_file(path / "model/model.safetensors") for path in (run, expected))
        return all(torch.allclose(mine[name], theirs[name], atol=1e-6, rtol=1e-5) for name in theirs)

    for number in (1, 2, 8) if drill.full else (2,):
        run = drill.path("full")
        with at_call(loss, "forward", number, full):
            code, result, err = drill.call(run, *keys)
        good = code == 0 and "repeated with 2, which stays" in err and result["steps"] == 12
        drill.note(good and close(run), f"at forward {number}: {code} {err}")
    run = drill.path("evaluation")
    import hfkit.engine.answer as answer

    with at_call(answer, "forward", 1, full):
        code, _, err = drill.call(run, *keys, micro_batch_size=2)
    drill.note(code == 0 and close(run), f"evaluation: {code} {err}")
    run = drill.path("one")

    def always(*_: Any, **__: Any) -> None:
        full()

    with patched(loss, "forward", always):
        code, result, err = drill.call(run, *keys)
    said = result["error"]["message"]
    drill.note(code == 5 and "out of memory with 1 example at a time" in said, f"at one: {code} {err}")
    _ = Training


def cadence(drill: Drill) -> None:
    """FD14: evaluating and saving more or less often leaves the weights as they are."""
    last = "checkpoints/step-00000012"
    whole = drill.whole()
    changes: tuple[dict[str, Any], ...] = (
        {"eval_steps": 1}, {"eval_steps": "null"}, {"save_steps": 1}, {"eval_first": True}, {"save_steps": "null"},
    )  # fmt: skip
    for change in changes if drill.full else changes[:2]:
        run = drill.path("cadence")
        code, _, err = drill.call(run, **change)
        names = ("model.safetensors", "optimizer.safetensors")
        same = code == 0 and all((run / last / n).read_bytes() == (whole / last / n).read_bytes() for n in names)
        drill.note(same, f"{change}: {code} {err}")


def workers(drill: Drill) -> None:
    """FD15: batches are made in the process itself: no worker processes that could die, nothing drawn in them."""
    from hfkit.engine.train import Training

    children: list[str] = []

    def look() -> None:
        for thread in threading.enumerate() if sys.platform == "linux" else ():
            with suppress(OSError):  # one that just ended
                children.extend(Path(f"/proc/{os.getpid()}/task/{thread.native_id}/children").read_text().split())

    before: list[str] = []
    look()
    before, children[:] = list(children), []
    run = drill.path("alone")
    with at_call(Training, "_apply", 3, look):
        code, _, err = drill.call(run)
    drill.note(code == 0 and set(children) <= set(before), f"children {children}: {err}")
    drill.note(fingerprint(run) == fingerprint(drill.whole()), "not identical")


Check = Callable[[Drill], None]
DRILLS: dict[str, Check] = {"FD12": divergence, "FD13": memory, "FD14": cadence, "FD15": workers}
