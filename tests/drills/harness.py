"""What the drills share: a tiny run in its own folder, the same run as a process, and when two runs are identical."""

from __future__ import annotations

import contextlib
import json
import os
import random
import shutil
import signal
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import engine_helpers as helpers

STEPS = 12
KEYS: dict[str, Any] = {
    "max_steps": STEPS, "batch_size": 8, "micro_batch_size": 4, "lr": 0.001, "precision": "float32",
    "eval_steps": 4, "save_steps": 2, "keep_checkpoints": 9,
}  # fmt: skip


@dataclass
class Drill:
    """One drill under way: its folder, its chance, and what came of each trial."""

    name: str
    folder: Path
    full: bool
    trials: int | None = None  # of the full form, where fewer or more are wanted
    minutes: float | None = None  # after which no further trial is begun
    home: Path | None = None  # of data, model and whole run, where drills share them
    passed: int = 0
    failures: list[str] = field(default_factory=list)
    details: dict[str, Any] = field(default_factory=dict)
    draw: random.Random = field(default_factory=lambda: random.Random(5))
    _made: int = 0

    def times(self, full: int, quick: int) -> Iterator[int]:
        """The numbers of the trials; `minutes` ends them early, as `n` in the drill's line tells."""
        end = time.monotonic() + 60 * self.minutes if self.minutes else float("inf")
        for number in range((self.trials or full) if self.full else quick):
            if time.monotonic() < end:
                yield number

    def note(self, good: bool, what: str) -> None:
        """Count a trial."""
        self.passed += good
        if not good:
            self.failures.append(what[-600:])

    def line(self) -> dict[str, Any]:
        """The JSON object that the drill prints."""
        failed = len(self.failures)
        counts = {"drill": self.name, "n": self.passed + failed, "pass": self.passed, "fail": failed}
        return {**counts, **self.details, **({"failures": self.failures[:5]} if failed else {})}

    def path(self, name: str) -> Path:
        """A new path in the drill's folder."""
        self._made += 1
        return self.folder / f"{name}-{self._made}"

    @property
    def data(self) -> Path:
        """The folder of the rows and of the model to begin with."""
        return (self.home or self.folder) / "data"

    def command(self, run: Path, *extra: str, **train: Any) -> list[str]:
        """Arguments of the tiny run in `run`; data and model are made at the first call."""
        data = self.data
        if not data.exists():
            data.mkdir()
            helpers.checkpoint(data / "bert")
            helpers.write_rows(data / "train.jsonl", 61)
            helpers.write_rows(data / "validation.jsonl", 17, start=100)
            helpers.recipe_file(data)
        keys = [
            f"train.{key}={str(value).lower() if isinstance(value, bool) else value}"
            for key, value in {**KEYS, **train}.items()
        ]
        files = ["--train", str(data / "train.jsonl"), "--validation", str(data / "validation.jsonl")]
        where = ["--model", str(data / "bert"), *files, "-o", str(run), "--cpu"]
        return ["finetune", str(data / "small.yaml"), *where, *extra, *keys]

    def call(self, run: Path, *extra: str, **train: Any) -> tuple[int, dict[str, Any], str]:
        """The run in this process: exit code, JSON object, stderr."""
        return helpers.call(self.command(run, *extra, **train))

    def start(self, run: Path, *extra: str, environment: dict[str, str | None] | None = None, **train: Any) -> Any:
        """The run as a process of its own, its streams in run.out and run.err beside it."""
        largest = train.pop("largest_file", None)
        command = self.command(run, *extra, **train)
        return helpers.start(command, run.with_name(f"{run.name}-log"), environment, largest_file=largest)

    def whole(self) -> Path:
        """The run that nothing happened to."""
        run = (self.home or self.folder) / "whole"
        if not run.exists():
            code, _, err = self.call(run)
            assert code == 0, err
        return run

    def identical(self, run: Path) -> bool:
        """Whether a run ended in the weights, moments and predictions of the one that nothing happened to."""
        return fingerprint(run) == fingerprint(self.whole())

    def resume(self, run: Path, what: str, **train: Any) -> None:
        """Go on with a run to its end, and count whether it came to the same."""
        code, _, err = self.call(run, "--resume", **train)
        self.note(code == 0 and self.identical(run) and clean(run), f"{what}: resumed with {code}: {err}")

    def stopped(self, name: str, step: int) -> Path:
        """A copy of the whole run as if it had been killed right after a checkpoint."""
        run = self.path(name)
        shutil.copytree(self.whole(), run)
        shutil.rmtree(run / "model")
        for path in (run / "checkpoints").iterdir():
            if int(path.name[-8:]) > step:
                shutil.rmtree(path)
        facts = json.loads((run / "run.json").read_text("utf-8"))
        facts.pop("result")
        (run / "run.json").write_text(json.dumps({**facts, "status": "running"}), encoding="utf-8")
        return run


def fingerprint(run: Path) -> list[str]:
    """Digests of final weights, final moments and the best predictions."""
    last = run / "checkpoints" / f"step-{STEPS:08d}"
    files = (run / "model/model.safetensors", last / "model.safetensors", last / "optimizer.safetensors")
    paths = [*files, run / "eval/validation/predictions.jsonl"]
    return [helpers.sha256(path) if path.exists() else f"{path.name} is missing" for path in paths]


def clean(run: Path) -> bool:
    """Whether nothing temporary and no lock is left in a run."""
    return not [path for path in run.rglob(".*") if path.name == ".lock" or "tmp" in path.name]


def facts(run: Path) -> dict[str, Any]:
    return json.loads((run / "run.json").read_text("utf-8"))


def valid(run: Path) -> list[str]:
    """Names of the checkpoints that are as their manifests say."""
    from hfkit.models.manifest import problem_of

    return [path.name for path in sorted((run / "checkpoints").glob("step-*")) if problem_of(path, named=True) is None]


def digests(folder: Path) -> dict[str, str]:
    """Relative path -> sha256 of every file."""
    return {str(p.relative_to(folder)): helpers.sha256(p) for p in sorted(folder.rglob("*")) if p.is_file()}


def wait_for(condition: Callable[[], bool], process: Any, seconds: float = 120) -> None:
    end = time.monotonic() + seconds
    while not condition() and process.is_alive():
        assert time.monotonic() < end, "nothing happened"
        time.sleep(0.002)


def stepping(run: Path) -> bool:
    """Whether a run has done a step."""
    path = run / "events.jsonl"
    return path.exists() and '"step", "fields"' in path.read_text("utf-8", errors="replace")


@contextlib.contextmanager
def patched(owner: Any, name: str, value: Any) -> Iterator[None]:
    """An attribute replaced for a while."""
    before = getattr(owner, name)
    setattr(owner, name, value)
    try:
        yield
    finally:
        setattr(owner, name, before)


def at_call(owner: Any, name: str, number: int, action: Callable[[], Any], *, after: bool = False) -> Any:
    """Run `action` before (or after) the `number`-th call of a function, counted from 1."""
    original, count = getattr(owner, name), [0]

    def hooked(*arguments: Any, **named: Any) -> Any:
        count[0] += 1
        mine = count[0] == number
        if mine and not after:
            action()
        result = original(*arguments, **named)
        if mine and after:
            action()
        return result

    return patched(owner, name, hooked)


def signal_here(name: str) -> Callable[[], None]:
    """Send this process a signal and wait until it was heard."""

    def send() -> None:
        from hfkit.stopping import asked

        os.kill(os.getpid(), getattr(signal, name))
        end = time.monotonic() + 5
        while asked() is None and time.monotonic() < end:
            time.sleep(0.005)

    return send


def later(seconds: float, action: Callable[[], None]) -> threading.Timer:
    timer = threading.Timer(seconds, action)
    timer.daemon = True
    timer.start()
    return timer
