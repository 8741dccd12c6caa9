"""The Python contract: the verbs as functions, with the same errors, progress on stderr, results as plain data."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hfkit.errors import UsageError, error_of
from hfkit.events import Event


@dataclass(frozen=True)
class FinetunedRun:
    """A finished run: `path` of its folder, `metrics` of the best checkpoint, the `result` that `--json` prints.

    After a dry run there is no folder and nothing is scored: `path` is None, `result` holds the plan.
    """

    path: Path | None
    metrics: Mapping[str, float]
    result: Mapping[str, Any] = field(repr=False)

    def predict(self, rows: Any, **options: Any) -> list[dict[str, Any]]:
        """Predictions for rows (a list of mappings, a DataFrame, or a data set's name), in row order."""
        return predict(self._trained(), rows, **options)

    def evaluate(self, data: Any, **options: Any) -> dict[str, Any]:
        """Scores on data with answers."""
        return evaluate(self._trained(), data, **options)

    def _trained(self) -> Path:
        if self.path is None:
            raise UsageError("a dry run has no model", "call finetune without dry_run")
        return self.path


def finetune(
    recipe: str | Path,
    *,
    train: Any = None,
    validation: Any = None,
    model: str | Path | None = None,
    output: str | Path | None = None,
    resume: bool = False,
    overwrite: bool = False,
    dry_run: bool = False,
    cpu: bool = False,
    processes: int | None = None,
    offline: bool = False,
    quiet: bool = False,
    **keys: Any,
) -> FinetunedRun:
    """Fine-tune by a recipe's name or file. `keys` are recipe keys, e.g. `**{"train.lr": 1e-4}`.

    `train` and `validation` are a name, a path, a list of mappings, or a DataFrame; rows in memory are written to the
    cache first, so that the run can be repeated. `processes` as the command's `--processes`: more than one, or several
    GPUs without it, are child processes that do the work. `dry_run` trains nothing, its result holds the plan. Raises
    HfkitError.
    """
    from hfkit.recipe.load import load
    from hfkit.verbs.finetune import finetune as verb

    named = {"data.train": _kept(train), "data.validation": _kept(validation), "model": model}
    overrides = _overrides({**{key: value for key, value in named.items() if value is not None}, **keys})
    output = Path(output) if output is not None else None
    options = {"resume": resume, "overwrite": overwrite, "dry_run": dry_run, "cpu": cpu, "offline": offline}
    if processes is not None and processes < 1:
        raise UsageError(f"processes={processes}: at least 1 is needed", "leave it out for one per GPU")
    if processes != 1 and (processes or (not cpu and _several_devices())):
        result = _in_children(str(recipe), overrides, output, options, processes=processes, quiet=quiet)
    else:
        made = verb(load(str(recipe), overrides), output=output, processes=processes, **options)
        result = _shown("finetune", made, quiet=quiet)
    return FinetunedRun(None if dry_run else Path(result["run"]), result.get("metrics", {}), result)


def evaluate(model: str | Path, data: Any, *, quiet: bool = False, **options: Any) -> dict[str, Any]:
    """Score a model on data with answers; returns what `hfkit eval --json` prints. Raises HfkitError.

    `options` are the command's flags and, with a dot, recipe keys: `**{"qa.null_threshold": 1.5}`.
    """
    from hfkit.verbs.evaluate import evaluate as verb

    return _shown("eval", verb(str(model), data, processes=_processes(), **_split(options)), quiet=quiet)


def predict(model: str | Path, rows: Any, *, quiet: bool = True, **options: Any) -> list[dict[str, Any]]:
    """Predictions for rows (one mapping, a list of them, a DataFrame, or a data set's name), in row order.

    `options` as in `evaluate`, without a file to write. Raises HfkitError.
    """
    from hfkit.verbs.predict import predict as verb

    data = [dict(rows)] if isinstance(rows, Mapping) else rows
    return _shown("predict", verb(str(model), data=data, processes=_processes(), **_split(options)), quiet=quiet)[
        "predictions"
    ]


def generate(model: str | Path, prompts: Any, *, quiet: bool = True, **options: Any) -> list[dict[str, Any]]:
    """Completions of prompts, in their order: id, prompt, completion, finish_reason, tokens. Raises HfkitError.

    `prompts` is a text, a list of texts, or rows (a list of mappings, a DataFrame), which `generate.template` may make
    prompts of; `prompts_file` names a data set instead (prompts are then None). `options` as in `evaluate`; what
    decoding depends on are recipe keys: `**{"generate.temperature": 0}`. With `output`, which `resume` goes on with,
    the completions stand in that file alone, and the list is empty.
    """
    from hfkit.data.source import is_memory
    from hfkit.verbs.generate import generate as verb

    if is_memory(prompts):
        options, prompts = {"prompts_file": prompts, **options}, None
    texts = [prompts] if isinstance(prompts, str) else list(prompts or ())
    made = verb(str(model), texts, **{"processes": _processes(), **_split(options)})
    return _shown("generate", made, quiet=quiet).get("predictions", [])


def score(predictions: str | Path, *, data: Any, task: str, quiet: bool = True, **options: Any) -> dict[str, Any]:
    """Score a file of predictions; returns what `hfkit score --json` prints. No model, no torch. Raises HfkitError."""
    from hfkit.verbs.score import score as verb

    return _shown("score", verb(Path(predictions), data=data, task=task, **_split(options)), quiet=quiet)


def compare(a: Any, b: Any, *, data: Any = None, quiet: bool = True, **options: Any) -> dict[str, Any]:
    """How two systems differ on the same rows; returns what `hfkit compare --json` prints. No torch. Raises HfkitError.

    A system is a FinetunedRun, a run, a folder of an evaluation or a file of predictions, or a list of its seeds.
    """
    from hfkit.verbs.compare import compare as verb

    return _shown("compare", verb(_system(a), _system(b), data=data, **_split(options)), quiet=quiet)


def check(data: Any, *, task: str, fix: str | Path | None = None, quiet: bool = True, **options: Any) -> dict[str, Any]:
    """What is wrong with a data set; returns what `hfkit data check --json` prints. No torch. Raises HfkitError.

    Failures are no exception here: they stand in `failures`, and `ok` is then False. `options` are the command's flags
    (`model`, `validation`) and, with a dot, recipe keys.
    """
    from hfkit.verbs.data.check import check as verb

    found = _shown("data check", verb(_named(data), task=task, fix=_path(fix), **_split(options)), quiet=quiet)
    return {"ok": not found["failures"], **found}


def init(data: Any = None, *, output: str | Path | None = None, quiet: bool = True, **options: Any) -> dict[str, Any]:
    """A commented recipe for data, or for an example script's command line (`script`); returns what `hfkit init --json`
    prints: the text is its `recipe`, and is written to `output` if that is given. No torch. Raises HfkitError.

    `options` are the command's flags (`test`, `sample`) and, with a dot, recipe keys.
    """
    from hfkit.verbs.init import init as verb

    given = {**_split(options), "sample": _path(options.get("sample")), "output": _path(output)}
    return _shown("init", verb(_kept(data), **given), quiet=quiet)


def _named(data: Any) -> Any:
    """Data as the verbs take it: a path as its text."""
    return str(data) if isinstance(data, Path) else data


def _path(value: str | Path | None) -> Path | None:
    return None if value is None else Path(value)


def cv(
    recipe: str | Path,
    *,
    train: Any = None,
    model: str | Path | None = None,
    folds: int | None = None,
    seeds: int | None = None,
    output: str | Path | None = None,
    quiet: bool = False,
    **options: Any,
) -> dict[str, Any]:
    """Cross-validate a recipe; returns what `hfkit cv --json` prints. Raises HfkitError.

    `options` are the command's other flags (resume, overwrite, cpu, processes, offline) and, with a dot, recipe keys.
    """
    from hfkit.recipe.load import load
    from hfkit.verbs.cv import cv as verb

    named = {"data.train": _kept(train), "model": model, "data.folds": folds}
    given = _split(options)
    keys = _overrides({key: value for key, value in named.items() if value is not None})
    overrides = [*keys, *given.pop("overrides")]
    output = Path(output) if output is not None else None
    return _shown("cv", verb(load(str(recipe), overrides), seeds=seeds, output=output, **given), quiet=quiet)


def ensemble(
    members: Sequence[Any], output: str | Path, *, data: Any = None, quiet: bool = False, **options: Any
) -> dict[str, Any]:
    """One model of several runs (FinetunedRun, names, paths) and folders of cross-validations, in the folder `output`.

    Returns what `hfkit ensemble --json` prints; `options` are the command's other flags, and recipe keys with a dot.
    Raises HfkitError.
    """
    from hfkit.verbs.ensemble import ensemble as verb

    names = [_system(member) for member in members]
    return _shown("ensemble", verb(names, output=Path(output), data=data, **_split(options)), quiet=quiet)


def _system(value: Any) -> str:
    """Seeds joined by commas, runs by their paths."""
    if isinstance(value, (list, tuple)):
        return ",".join(map(_system, value))
    return str(value.path if isinstance(value, FinetunedRun) else value)


def _shown(command: str, events: Iterator[Event], *, quiet: bool) -> dict[str, Any]:
    from hfkit.report import show

    return dict(show(events, command=command, mode="quiet" if quiet else None, data=False))


def _split(options: Mapping[str, Any]) -> dict[str, Any]:
    """Options by name as they are; recipe keys (with a dot, or how a model is found) as overrides."""
    from hfkit.recipe.keys import MODEL_KEYS

    keys = {name: value for name, value in options.items() if "." in name or name in MODEL_KEYS}
    plain = {name: value for name, value in options.items() if name not in keys}
    return {**plain, "overrides": [*plain.get("overrides", ()), *_overrides(keys)]}


def _processes() -> int | None:
    """1: this process answers alone, however many GPUs there are, unless a launcher started it with others."""
    from hfkit.engine.world import launched

    return None if launched() else 1


def _overrides(keys: Mapping[str, Any]) -> list[str]:
    """KEY=VALUE words; JSON is read back as YAML to the same value."""
    return [f"{key}={json.dumps(value, ensure_ascii=False, default=_plain)}" for key, value in keys.items()]


def _plain(value: Any) -> Any:
    """numpy numbers as Python's, paths as text."""
    return value.item() if hasattr(value, "item") else str(value)


def _kept(data: Any) -> Any:
    """Names and paths as they are; rows in memory become a file in the cache, named by their content."""
    from hfkit.data.source import is_memory, locate

    if data is None:
        return None
    if not is_memory(data):
        return [str(part) for part in data] if isinstance(data, (list, tuple)) else str(data)
    from hfkit.data.cache import entry
    from hfkit.run import digest

    records = [record for place in locate(data) for record in place.records or ()]
    text = "".join(json.dumps(dict(record), ensure_ascii=False, default=_plain) + "\n" for record in records)

    def write(folder: Path) -> None:
        (folder / "rows.jsonl").write_text(text, encoding="utf-8", newline="\n")

    return str(entry("given", digest(text), write) / "rows.jsonl")


def _several_devices() -> bool:
    import torch

    return torch.cuda.device_count() > 1


def _in_children(
    recipe: str,
    overrides: Sequence[str],
    output: Path | None,
    options: Mapping[str, bool],
    *,
    processes: int | None = None,
    quiet: bool,
) -> dict[str, Any]:
    """The same work as a command: a process that may start one child per device, never a fork of this one."""
    flags = [f"--{name.replace('_', '-')}" for name, on in options.items() if on]
    flags += ["--processes", str(processes)] if processes is not None else []
    place = ["--output", str(output)] if output is not None else []
    command = [sys.executable, "-m", "hfkit", "finetune", recipe, *overrides, *place, *flags, "--json"]
    done = subprocess.run(
        command, check=False, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL if quiet else None, encoding="utf-8"
    )
    lines = done.stdout.strip().split("\n")
    answer = (
        json.loads(lines[-1]) if lines[-1] else {"error": {"code": done.returncode, "message": "finetune was killed"}}
    )
    if answer.get("ok"):
        return answer
    raise error_of(**answer["error"])
