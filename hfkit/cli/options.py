"""Options that several commands share, each written once, and how flags become overrides of recipe keys."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated

import typer

from hfkit.errors import UsageError
from hfkit.tasks import TASKS

Json = Annotated[bool, typer.Option("--json", help="End with one JSON object on stdout.")]
Offline = Annotated[bool, typer.Option("--offline", help="Never ask the network; use what is cached.")]
Quiet = Annotated[bool, typer.Option("--quiet", help="Show warnings and errors only, besides the data.")]
Debug = Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")]
Set = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Set a recipe key; may be repeated."),
]
Pairs = Annotated[
    list[str] | None,
    typer.Argument(metavar="KEY=VALUE", help="Recipe keys, e.g. train.lr=1e-4.", show_default=False),
]

Model = Annotated[
    str,
    typer.Argument(
        metavar="MODEL",
        help="A run (folder, last, last:qa, part of its name), a checkpoint folder, a Hub name, or starter.",
        show_default=False,
    ),
]
TaskName = Annotated[
    str, typer.Option("--task", metavar="T", help=f"The task: {', '.join(TASKS)}.", show_default=False)
]
Output = Annotated[
    Path | None, typer.Option("--output", "-o", metavar="DIR", help="Folder of the run.", show_default=False)
]
OutputFile = Annotated[
    Path | None, typer.Option("--output", "-o", metavar="FILE", help="Where the predictions go.", show_default=False)
]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace what stands at the output.")]
Limit = Annotated[
    int | None,
    typer.Option("--limit", min=1, metavar="N", help="Use N rows, drawn by a fixed seed.", show_default=False),
]
Cpu = Annotated[bool, typer.Option("--cpu", help="Do not use a GPU.")]

_KEY = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*(\.[^=\s]+)?\Z")


# Recipe keys without a section that a command which finds a model takes; hfkit.recipe is too heavy for --help.
MODEL_KEYS = ("model_revision", "convert")


def split_pair(text: str) -> tuple[str, str]:
    """The key and the value of `KEY=VALUE`. Raises UsageError."""
    key, equals, value = text.partition("=")
    if not equals or not _KEY.match(key):
        raise UsageError(
            f"'{text}' is not KEY=VALUE", "write a recipe key as in train.lr=1e-4; put text with blanks in quotes"
        )
    return key, value


def models_and_overrides(words: Sequence[str], settings: Sequence[str] | None) -> tuple[list[str], list[str]]:
    """Names of models, and the KEY=VALUE words among them with `--set`; a word that exists as a path is a name."""
    names = [word for word in words if "=" not in word or Path(word).exists()]
    return names, overrides({}, [word for word in words if word not in names], settings)


def overrides(flags: Mapping[str, object], pairs: Sequence[str] | None, settings: Sequence[str] | None) -> list[str]:
    """`key=value` strings of flags (None = not given), positional pairs and `--set`. UsageError: a key given twice."""
    given = [f"{key}={as_yaml(value)}" for key, value in flags.items() if value is not None]
    given += [*(pairs or ()), *(settings or ())]
    seen: set[str] = set()
    for text in given:
        if "data.train" in flags and "=" not in text:
            _refuse_data(text)
        key, _ = split_pair(text)
        if key in seen:
            raise UsageError(f"{key} is given twice", "give it once: as a flag, as KEY=VALUE, or by --set")
        seen.add(key)
    return given


def _refuse_data(word: str) -> None:
    """A word that is or looks like a file of rows gets its flag. Raises UsageError."""
    import shlex

    from hfkit.files import ends_as_data  # not at the top: help stays without json and hashlib

    if ends_as_data(word) or Path(word).exists():
        raise UsageError(f"'{word}' is not KEY=VALUE", f"data is given by a flag: --train {shlex.quote(word)}")


def as_yaml(value: object) -> str:
    """A value as text that a YAML loader reads back as it is; JSON is YAML."""
    import json as jsonlib

    if isinstance(value, float) and value.is_integer() and abs(value) < 1e15:
        value = int(value)
    return jsonlib.dumps(value, ensure_ascii=False)


def refuse_settings(settings: Sequence[str] | None, command: str) -> None:
    """`--set` where no recipe is at work would be ignored, so it is refused. Raises UsageError."""
    if settings:
        raise UsageError(
            f"hfkit {command} uses no recipe keys, so --set {settings[0]} would do nothing", "leave --set out"
        )
