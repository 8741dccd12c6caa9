"""What the tests of the engine share: rows, a small checkpoint, runs of the command line here and in processes."""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import multiprocessing
import os
import runpy
import sys
import traceback
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import tiny_models as tiny

PRELOAD = [
    "torch",
    "transformers",
    "accelerate",
    "datasets",
    "hfkit.cli.app",
    "hfkit.verbs.finetune",
    "hfkit.engine.train",
]
RESAMPLES = 50  # of intervals: 1,000 of them take longer than a tiny run has for everything else
WORLD = (
    "RANK",
    "WORLD_SIZE",
    "LOCAL_RANK",
    "LOCAL_WORLD_SIZE",
    "MASTER_ADDR",
    "MASTER_PORT",
    "HFKIT_STARTED_BY",
)
WORDS = [
    "the",
    "small",
    "river",
    "runs",
    "behind",
    "old",
    "mill",
    "and",
    "stands",
    "still",
    "bread",
    "salt",
    "letters",
    "boat",
    "town",
]


def rows(count: int, *, start: int = 0) -> list[dict[str, str]]:
    """Rows of text whose label is the one of two words that stands in it; lengths differ."""
    made = []
    for number in range(start, start + count):
        label = ("bread", "salt")[number % 3 == 0]
        rest = [WORDS[(number * 7 + place * 3) % len(WORDS)] for place in range(2 + number % 9)]
        made.append(
            {"text": " ".join([*(word for word in rest if word not in ("bread", "salt")), label]), "label": label}
        )
    return made


def write_rows(path: Path, count: int, *, start: int = 0) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows(count, start=start)), encoding="utf-8")
    return path


def checkpoint(folder: Path, family: str = "bert", **changes: Any) -> Path:
    """A checkpoint of two layers; dropout as transformers sets it unless changed."""
    changes = {"initializer_range": 0.02, **changes}
    return tiny.save(family, folder, **changes)


def recipe_file(folder: Path, **train: Any) -> Path:
    """A recipe of the task classify whose train section is given."""
    lines = ["task: classify", "train:", *(f"  {key}: {json.dumps(value)}" for key, value in train.items())]
    path = folder / "small.yaml"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def call(arguments: Sequence[str]) -> tuple[int, dict[str, Any], str]:
    """Run a command in this process with --json; returns its exit code, its JSON object, and stderr."""
    from hfkit.cli import main

    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = main([*arguments, "--json"])
    text = out.getvalue().strip()
    return code, json.loads(text.splitlines()[-1]) if text else {}, err.getvalue()


def start(
    arguments: Sequence[str],
    log: Path,
    environment: Mapping[str, str | None] | None = None,
    *,
    largest_file: int | None = None,
    module: str | None = None,
) -> Any:
    """A process of its own that runs a command with --json, its two streams in `log`.out and `log`.err.

    It is forked from a server that has imported torch once, so that it starts in no time. Files larger than
    `largest_file` bytes cannot be written by it. `module` is run with these arguments instead of hfkit, a launcher for
    example: what that starts are new interpreters.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(PRELOAD)
    variables = {
        k: os.environ.get(k) for k in ("HFKIT_CACHE", "HF_HOME", "HF_HUB_OFFLINE", "HFKIT_RUNS", "OMP_NUM_THREADS")
    }
    process = context.Process(
        target=_run, args=(list(arguments), str(log), {**variables, **(environment or {})}, largest_file, module)
    )
    process.start()
    return process


class Child:
    """What engine/processes/launch.py takes for a child: a process like those of `start` in place of a new interpreter.

    `launched(log)` stands in for the module subprocess there; the streams of rank N are in `log`-N.out and .err.
    """

    def __init__(self, log: Path, command: Sequence[str], env: Mapping[str, str]) -> None:
        given = {name: env.get(name) for name in WORLD}
        arguments = [word for word in command[3:] if word != "--json"]  # behind python -m hfkit
        self._process = start(arguments, log.with_name(f"{log.name}-{env['RANK']}"), given)
        self.pid = self._process.pid

    @property
    def returncode(self) -> int | None:
        return self._process.exitcode

    def poll(self) -> int | None:
        return self._process.exitcode

    def wait(self) -> None:
        self._process.join()

    def kill(self) -> None:
        self._process.kill()

    def send_signal(self, number: int) -> None:
        os.kill(self.pid, number)


def launched(log: Path) -> Any:
    """The module subprocess as engine/processes/launch.py uses it, with children that start in no time."""
    return SimpleNamespace(Popen=partial(Child, log))


def _run(
    arguments: list[str], log: str, environment: dict[str, str | None], largest_file: int | None, module: str | None
) -> None:
    for name, value in environment.items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value
    for path, descriptor in ((f"{log}.out", 1), (f"{log}.err", 2)):
        opened = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(opened, descriptor)
    sys.stdout = os.fdopen(1, "w", encoding="utf-8", closefd=False)
    sys.stderr = os.fdopen(2, "w", encoding="utf-8", closefd=False)
    import torch

    from hfkit.cli import main
    from hfkit.tasks import scoring

    torch.set_num_threads(1)
    scoring.RESAMPLES = RESAMPLES
    if largest_file is not None:
        import resource

        resource.setrlimit(resource.RLIMIT_FSIZE, (largest_file, largest_file))
    code = main([*arguments, "--json"]) if module is None else _code_of(module, arguments)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def _code_of(module: str, arguments: list[str]) -> int:
    """The exit code of `python -m MODULE ARGUMENTS`."""
    sys.argv = [module, *arguments]
    try:
        runpy.run_module(module, run_name="__main__", alter_sys=True)
    except SystemExit as ended:
        return ended.code if isinstance(ended.code, int) else int(ended.code is not None)
    except Exception:
        traceback.print_exc()
        return 1
    return 0


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def weights(folder: Path) -> str:
    """The sha256 of a model's weights."""
    return sha256(folder / "model.safetensors")


def refused(command: Callable[..., list[str]], run: Path, keys: Sequence[str], message: str) -> None:
    """`finetune` with these keys ends with 2 and the message, and leaves no folder; model=NAME stands for --model."""
    model = [key.removeprefix("model=") for key in keys if key.startswith("model=")]
    arguments = command(run, *(key for key in keys if not key.startswith("model=")))
    if model:
        arguments[arguments.index("--model") + 1] = model[0]
    code, result, _ = call(arguments)
    assert code == 2, result
    assert message in result["error"]["message"]
    assert not run.exists()
