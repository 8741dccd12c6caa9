"""A model's answers: scored, predicted, generated, put into the form of a competition."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hfkit.api.given import alone, name_of, named, path_of, shown, split


def evaluate(model: str | Path, data: Any, *, quiet: bool = False, **options: Any) -> dict[str, Any]:
    """Score a model on data with answers; returns what `hfkit eval --json` prints. Raises HfkitError.

    `options` are the command's flags and, with a dot, recipe keys: `**{"qa.null_threshold": 1.5}`.
    """
    from hfkit.verbs.evaluate import evaluate as verb

    return shown("eval", verb(str(model), data, processes=alone(), **split(options)), quiet=quiet)


def predict(model: str | Path, rows: Any, *, quiet: bool = True, **options: Any) -> list[dict[str, Any]]:
    """Predictions for rows (one mapping, a list of them, a DataFrame, or a data set's name), in row order.

    `options` as in `evaluate`, without a file to write. Raises HfkitError.
    """
    from hfkit.verbs.predict import predict as verb

    data = [dict(rows)] if isinstance(rows, Mapping) else rows
    return shown("predict", verb(str(model), data=data, processes=alone(), **split(options)), quiet=quiet)[
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
    made = verb(str(model), texts, **{"processes": alone(), **split(options)})
    return shown("generate", made, quiet=quiet).get("predictions", [])


def submission(
    model: Any, *, test: Any, sample: str | Path, output: str | Path, quiet: bool = True, **options: Any
) -> dict[str, Any]:
    """A model's answers to the rows of `test` in the form of a sample submission, written to `output` and checked.

    Returns what `hfkit submission --json` prints; `options` as in `evaluate`: oof, metric, overwrite, cpu, recipe keys.
    Raises HfkitError.
    """
    from hfkit.verbs.submission import submission as verb

    given = {"processes": alone(), **split(options), "oof": path_of(options.get("oof"))}
    made = verb(name_of(model), test=named(test), sample=Path(sample), output=Path(output), **given)
    return shown("submission", made, quiet=quiet)
