"""Competing: from a competition's files to a submission."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hfkit.api.given import key_words, path_of, shown, split


def compete(
    train: str | Path,
    test: str | Path,
    sample: str | Path,
    *,
    time: str,
    output: str | Path | None = None,
    quiet: bool = False,
    **options: Any,
) -> dict[str, Any]:
    """A submission for a competition's files within `time` (2h, 90m); returns what `hfkit compete --json` prints.

    `options` are the command's other flags (models as a list, metric, task, resume, overwrite, cpu, offline) and, with
    a dot, recipe keys. Raises HfkitError; the best valid file stands then, too.
    """
    from hfkit.verbs.compete import compete as verb

    given = split(options)
    task = given.pop("task", None)
    given["overrides"] += key_words({"task": task}) if task is not None else []
    made = verb(str(train), str(test), Path(sample), time_limit=time, output=path_of(output), **given)
    return shown("compete", made, quiet=quiet)
