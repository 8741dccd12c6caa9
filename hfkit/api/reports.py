"""What needs no model: data checked, recipes drafted, predictions scored and compared."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hfkit.api.given import kept, name_of, named, path_of, shown, split


def score(predictions: str | Path, *, data: Any, task: str, quiet: bool = True, **options: Any) -> dict[str, Any]:
    """Score a file of predictions; returns what `hfkit score --json` prints. No model, no torch. Raises HfkitError."""
    from hfkit.verbs.score import score as verb

    return shown("score", verb(Path(predictions), data=data, task=task, **split(options)), quiet=quiet)


def compare(a: Any, b: Any, *, data: Any = None, quiet: bool = True, **options: Any) -> dict[str, Any]:
    """How two systems differ on the same rows; returns what `hfkit compare --json` prints. No torch. Raises HfkitError.

    A system is a FinetunedRun, a run, a folder of an evaluation or a file of predictions, or a list of its seeds.
    """
    from hfkit.verbs.compare import compare as verb

    return shown("compare", verb(name_of(a), name_of(b), data=data, **split(options)), quiet=quiet)


def check(data: Any, *, task: str, fix: str | Path | None = None, quiet: bool = True, **options: Any) -> dict[str, Any]:
    """What is wrong with a data set; returns what `hfkit data check --json` prints. No torch. Raises HfkitError.

    Failures are no exception here: they stand in `failures`, and `ok` is then False. `options` are the command's flags
    (`model`, `validation`) and, with a dot, recipe keys.
    """
    from hfkit.verbs.data.check import check as verb

    found = shown("data check", verb(named(data), task=task, fix=path_of(fix), **split(options)), quiet=quiet)
    return {"ok": not found["failures"], **found}


def init(data: Any = None, *, output: str | Path | None = None, quiet: bool = True, **options: Any) -> dict[str, Any]:
    """A commented recipe for data, or for an example script's command line (`script`); returns what `hfkit init --json`
    prints: the text is its `recipe`, and is written to `output` if that is given. No torch. Raises HfkitError.

    `options` are the command's flags (`test`, `sample`) and, with a dot, recipe keys.
    """
    from hfkit.verbs.init import init as verb

    given = {**split(options), "sample": path_of(options.get("sample")), "output": path_of(output)}
    return shown("init", verb(kept(data), **given), quiet=quiet)
