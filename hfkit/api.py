"""The Python contract: the commands' verbs as functions, with the same errors, progress on stderr, results as plain data."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hfkit.events import Event


@dataclass(frozen=True)
class FinetunedRun:
    """A finished run: `path` of its folder, `metrics` of the best checkpoint, the whole `result` as `--json` prints it."""

    path: Path
    metrics: Mapping[str, float]
    result: Mapping[str, Any] = field(repr=False)

    def predict(self, rows: Any, **options: Any) -> list[dict[str, Any]]:
        """Predictions for rows (a list of mappings, a DataFrame, or a data set's name), in row order."""
        return predict(str(self.path), rows, **options)

    def evaluate(self, data: Any, **options: Any) -> dict[str, Any]:
        """Scores on data with answers."""
        return evaluate(str(self.path), data, **options)


def finetune(
    recipe: str,
    *,
    train: Any = None,
    validation: Any = None,
    model: str | None = None,
    output: str | Path | None = None,
    resume: bool = False,
    overwrite: bool = False,
    cpu: bool = False,
    offline: bool = False,
    quiet: bool = False,
    **keys: Any,
) -> FinetunedRun:
    """Fine-tune by a recipe's name or file. `keys` are recipe keys, e.g. `**{"train.lr": 1e-4}`.

    `train` and `validation` are a name, a path, a list of mappings, or a DataFrame; rows in memory are written to the
    cache first, so that the run can be repeated. On several GPUs the work is done by child processes. Raises HfkitError.
    """
    from hfkit.recipe.load import load
    from hfkit.verbs.finetune import finetune as verb

    given = {"data.train": _kept(train), "data.validation": _kept(validation), "model": model, **keys}
    overrides = [f"{key}={_yaml(value)}" for key, value in given.items() if value is not None]
    output = Path(output) if output is not None else None
    options = {"resume": resume, "overwrite": overwrite, "cpu": cpu, "offline": offline}
    if not cpu and _several_devices():
        result = _in_children(recipe, overrides, output, options, quiet=quiet)
    else:
        events = verb(load(recipe, overrides), output=output, **options)
        result = _shown("finetune", events, quiet=quiet)
    return FinetunedRun(Path(result["run"]), result["metrics"], result)


def evaluate(model: str, data: Any, *, quiet: bool = False, **options: Any) -> dict[str, Any]:
    """Score a model on data with answers; returns what `hfkit eval --json` prints. Raises HfkitError."""
    from hfkit.verbs.evaluate import evaluate as verb

    return _shown("eval", verb(str(model), data, **options), quiet=quiet)


def predict(model: str, rows: Any, *, quiet: bool = True, **options: Any) -> list[dict[str, Any]]:
    """Predictions for rows (one mapping, a list of them, a DataFrame, or a data set's name), in row order."""
    from hfkit.verbs.predict import predict as verb

    data = [dict(rows)] if isinstance(rows, Mapping) else rows
    return _shown("predict", verb(str(model), data=data, **options), quiet=quiet)["predictions"]


def generate(model: str, prompts: str | Sequence[str], *, quiet: bool = True, **options: Any) -> list[dict[str, Any]]:
    """Completions of prompts, in their order: id, prompt, completion, finish_reason, tokens."""
    from hfkit.verbs.generate import generate as verb

    texts = [prompts] if isinstance(prompts, str) else list(prompts)
    return _shown("generate", verb(str(model), texts, **options), quiet=quiet)["predictions"]


def score(predictions: str | Path, *, data: Any, task: str, quiet: bool = True, **options: Any) -> dict[str, Any]:
    """Score a file of predictions; returns what `hfkit score --json` prints. No model, no torch."""
    from hfkit.verbs.score import score as verb

    return _shown("score", verb(Path(predictions), data=data, task=task, **options), quiet=quiet)


def _shown(command: str, events: Iterator[Event], *, quiet: bool) -> dict[str, Any]:
    from hfkit.report import show

    return dict(show(events, command=command, mode="quiet" if quiet else None, data=False))


def _kept(data: Any) -> Any:
    """Names and paths as they are; rows in memory become a file in the cache, named by their content."""
    if data is None or isinstance(data, str) or (isinstance(data, list) and all(isinstance(d, str) for d in data)):
        return data
    if isinstance(data, Path):
        return str(data)
    from hfkit.data.cache import entry
    from hfkit.run import digest, json_line

    rows = data.to_dict("records") if hasattr(data, "to_dict") else [dict(row) for row in data]
    text = "".join(map(json_line, rows))

    def write(folder: Path) -> None:
        (folder / "rows.jsonl").write_text(text, encoding="utf-8", newline="\n")

    return str(entry("given", digest(text), write) / "rows.jsonl")


def _yaml(value: Any) -> str:
    """A value as YAML reads it back on one line."""
    import json

    return json.dumps(value, ensure_ascii=False)


def _several_devices() -> bool:
    import torch

    return torch.cuda.device_count() > 1


def _in_children(
    recipe: str, overrides: Sequence[str], output: Path | None, options: Mapping[str, bool], *, quiet: bool
) -> dict[str, Any]:
    """The same work as a command: a process that may start one child per device, never a fork of this one."""
    import json

    from hfkit.errors import HfkitError

    flags = [f"--{name}" for name, on in options.items() if on and name != "cpu"]
    place = ["--output", str(output)] if output is not None else []
    command = [sys.executable, "-m", "hfkit", "finetune", recipe, *overrides, *place, *flags, "--json"]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL if quiet else None, text=True)
    answer = json.loads(done.stdout.strip().splitlines()[-1])
    if answer.get("ok"):
        return answer
    failure = HfkitError(answer["error"]["message"], answer["error"].get("hint"))
    failure.code, failure.kind = answer["error"]["code"], answer["error"]["kind"]
    raise failure
