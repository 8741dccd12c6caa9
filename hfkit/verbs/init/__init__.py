"""`hfkit init`: a commented recipe, made from data or from a script's command line; no torch, no model."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence
from pathlib import Path

import yaml

from hfkit.data.peek import Peek, peek
from hfkit.data.source import own_validation
from hfkit.data.submission import Submission
from hfkit.errors import UsageError
from hfkit.events import Event, note, warning
from hfkit.files import cannot_write, write_text
from hfkit.recipe.keys import Data
from hfkit.recipe.load import build
from hfkit.recipe.overrides import section_from_overrides, split_override
from hfkit.recipe.shipped import SUFFIXES
from hfkit.recipe.yaml import parse
from hfkit.verbs.init.draft import Draft, draft
from hfkit.verbs.init.script import translate
from hfkit.verbs.init.text import recipe_text


def init(
    data: str | None,
    *,
    test: str | None = None,
    sample: Path | None = None,
    script: str | None = None,
    output: Path | None = None,
    overrides: Sequence[str] = (),
    offline: bool = False,
) -> Iterator[Event]:
    """Write a recipe to `output`, or give its text. Either `data` or `script` (a command line) is needed.

    Overrides are keys of the recipe that are known already; they are written as given. Raises HfkitError.
    """
    check_output(output)
    if script is not None:
        if data is not None or test is not None or sample is not None:
            raise UsageError("--from reads a command line, not data", "give D, --test and --sample without it")
        made = translate(script)
        yield from map(warning, made.left_out)
    elif data is not None:
        made = from_data(data, test, sample, overrides, offline=offline)
    else:
        raise UsageError("no data is named", "give a file, a folder or a Hub name, or --from with a script's command")
    text = recipe_text(made, shlex.quote(str(output or "recipe.yaml")), overrides)
    check_recipe(text)
    yield from map(note, made.notes)
    yield from written(text, output)
    commands = made.commands(shlex.quote(str(output or "recipe.yaml")))
    if output is None:
        commands = [again(data, test, sample, script, overrides), *commands]
    yield Event("next", {"commands": commands})
    yield Event(
        "result",
        {
            "task": made.task,
            "recipe": text,
            "path": str(output.absolute()) if output else None,
            "notes": made.notes,
            "left_out": made.left_out,
            "commands": commands,
        },
    )


def again(data: str | None, test: str | None, sample: Path | None, script: str | None, overrides: Sequence[str]) -> str:
    """The command that was typed, with a file to write."""
    given = {"--test": test, "--sample": sample, "--from": script}
    words = [*([str(data)] if data is not None else []), *overrides]
    words += [word for flag, value in given.items() if value is not None for word in (flag, str(value))]
    return " ".join(["hfkit init", *map(shlex.quote, words), "-o recipe.yaml"])


def from_data(data: str, test: str | None, sample: Path | None, overrides: Sequence[str], *, offline: bool) -> Draft:
    """The draft for data, with what the competition's other files say."""
    reading = [text for text in overrides if text.startswith("data.") and not text.startswith("data.group")]
    keys: Data = section_from_overrides(Data, "data", reading)
    train = peek(data, keys, "train", offline=offline)
    asked: Peek | None = peek(test, keys, "test", offline=offline, most=1000) if test is not None else None
    shape = Submission.read(sample) if sample is not None else None
    own = own_validation(data, offline=offline) is not None
    given = dict(map(split_override, overrides))
    return draft(data, train, asked, shape, own_validation=own, given=given)


def check_output(output: Path | None) -> None:
    """Raise UsageError for a file that is there or has another ending."""
    if output is None:
        return
    if output.suffix not in SUFFIXES:
        raise UsageError(f"{output}: a recipe's file ends in .yaml", "choose a name such as -o recipe.yaml")
    if output.exists():
        raise UsageError(f"{output} is there already", "choose another name with -o")


def check_recipe(text: str) -> None:
    """The recipe that was written must be one. Raises UsageError for overrides that do not fit."""
    try:
        build(parse(text))
    except yaml.YAMLError as error:  # of a value that was given
        raise UsageError(f"the recipe would not be YAML ({error})", "look at the keys given to init") from error


def written(text: str, output: Path | None) -> Iterator[Event]:
    """Write the file, if there is one to write."""
    if output is None:
        return
    try:
        write_text(output, text)
    except OSError as error:
        raise cannot_write(output, error) from error
    yield Event("saved", {"what": "recipe", "path": str(output)})
