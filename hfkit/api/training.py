"""Training: one run, cross-validations, ensembles of runs, means of their weights, sweeps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hfkit.api.answering import evaluate, predict
from hfkit.api.children import in_children, several_devices
from hfkit.api.given import kept, key_words, name_of, path_of, shown, split
from hfkit.errors import UsageError


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

    named = {"data.train": kept(train), "data.validation": kept(validation), "model": model}
    overrides = key_words({**{key: value for key, value in named.items() if value is not None}, **keys})
    output = path_of(output)
    options = {"resume": resume, "overwrite": overwrite, "dry_run": dry_run, "cpu": cpu, "offline": offline}
    if processes is not None and processes < 1:
        raise UsageError(f"processes={processes}: at least 1 is needed", "leave it out for one per GPU")
    if processes != 1 and (processes or (not cpu and several_devices())):
        result = in_children(["finetune", str(recipe), *overrides], output, options, processes=processes, quiet=quiet)
    else:
        made = verb(load(str(recipe), overrides), output=output, processes=processes, **options)
        result = shown("finetune", made, quiet=quiet)
    return FinetunedRun(None if dry_run else Path(result["run"]), result.get("metrics", {}), result)


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

    `options` are the command's other flags (resume, overwrite, dry_run, cpu, processes, offline) and, with a dot,
    recipe keys.
    """
    from hfkit.recipe.load import load
    from hfkit.verbs.cv import cv as verb

    named = {"data.train": kept(train), "model": model, "data.folds": folds}
    given = split(options)
    keys = key_words({key: value for key, value in named.items() if value is not None})
    overrides = [*keys, *given.pop("overrides")]
    made = verb(load(str(recipe), overrides), seeds=seeds, output=path_of(output), **given)
    return shown("cv", made, quiet=quiet)


def ensemble(
    members: Sequence[Any], output: str | Path, *, data: Any = None, quiet: bool = False, **options: Any
) -> dict[str, Any]:
    """One model of several runs (FinetunedRun, names, paths) and folders of cross-validations, in the folder `output`.

    Returns what `hfkit ensemble --json` prints; `options` are the command's other flags, and recipe keys with a dot.
    Raises HfkitError.
    """
    from hfkit.verbs.ensemble import ensemble as verb

    names = [name_of(member) for member in members]
    return shown("ensemble", verb(names, output=Path(output), data=data, **split(options)), quiet=quiet)


def average(
    members: Sequence[Any], output: str | Path, *, data: Any = None, quiet: bool = False, **options: Any
) -> dict[str, Any]:
    """The mean of the weights of `members` (FinetunedRun, names, paths) as the run `output`.

    With `data`, of those that help on these rows. Returns what `hfkit average --json` prints; `options` are the
    command's other flags, and recipe keys with a dot. Raises HfkitError.
    """
    from hfkit.verbs.average import average

    names = [name_of(member) for member in members]
    return shown("average", average(names, output=Path(output), data=data, **split(options)), quiet=quiet)


def sweep(
    recipe: str | Path,
    search: Mapping[str, Any],
    *,
    train: Any = None,
    validation: Any = None,
    model: str | Path | None = None,
    trials: int | None = None,
    time: str | None = None,
    noise_seeds: int = 3,
    output: str | Path | None = None,
    quiet: bool = False,
    **options: Any,
) -> dict[str, Any]:
    """Search the values of recipe keys; returns what `hfkit sweep --json` prints. Raises HfkitError.

    `search` has for each key a list of values, or a range as it is typed: `{"train.lr": [1e-5, 3e-5], "train.epochs":
    "2..4"}`. `options` are the command's other flags (resume, overwrite, cpu, processes, offline) and, with a dot,
    recipe keys.
    """
    from hfkit.recipe.load import load
    from hfkit.verbs.sweep import sweep as verb
    from hfkit.verbs.sweep.space import axis_of

    axes = []
    for key, values in search.items():
        words = values if isinstance(values, str) else ",".join(map(_word, values))
        if (axis := axis_of(f"{key}={words}")) is None:
            raise UsageError(f"{key}={words} is one value", f"give a plain key as it is: **{{'{key}': ...}}")
        axes.append(axis)
    named = {"data.train": kept(train), "data.validation": kept(validation), "model": model}
    given = split(options)
    fixed = [*key_words({k: v for k, v in named.items() if v is not None}), *given.pop("overrides")]
    made = verb(
        load(str(recipe), fixed), axes, fixed=fixed, trials=trials, time_limit=time, noise_seeds=noise_seeds,
        output=path_of(output), **given,
    )  # fmt: skip
    return shown("sweep", made, quiet=quiet)


def _word(value: Any) -> str:
    """A value as it is typed among others: texts and paths bare where nothing in them would be misread."""
    text = str(value) if isinstance(value, (str, Path)) else ""
    return text if text and not set(text) & set(",[]{}'\"") else key_words({"": value})[0][1:]
