"""`hfkit data check | show`: parses, calls the verb, shows what it yields."""

from pathlib import Path
from typing import Annotated

import typer

from hfkit.cli.options import Debug, Json, Offline, Pairs, Quiet, Set, TaskName, overrides
from hfkit.cli.perform import Events, perform

data = typer.Typer(help="Check a data set before training, and show what a model sees of it.")

D = Annotated[
    str, typer.Argument(metavar="D", help="A file, a folder, shipped:NAME, or a Hub data set.", show_default=False)
]


@data.command("check")
def check(
    data: D,
    pairs: Pairs = None,
    *,
    task: TaskName,
    model: Annotated[
        str | None,
        typer.Option(
            "--model", metavar="M", help="Its tokenizer shows lengths and unknown tokens.", show_default=False
        ),
    ] = None,
    validation: Annotated[
        str | None,
        typer.Option(
            "--validation", metavar="D", help="Validation data to compare with; else the set's own.", show_default=False
        ),
    ] = None,
    fix: Annotated[
        Path | None,
        typer.Option("--fix", metavar="FILE", help="Write repaired rows (.jsonl or .json).", show_default=False),
    ] = None,
    json: Json = False,
    offline: Offline = False,
    quiet: Quiet = False,
    debug: Debug = False,
    settings: Set = None,
) -> None:
    """Find what is wrong with a data set; no weights are loaded.

    Example: hfkit data check train.json --task qa --model starter
    """
    given = overrides({}, pairs, settings)

    def verb() -> Events:
        from hfkit.verbs.data.check import check

        return check(data, task=task, model=model, validation=validation, fix=fix, overrides=given, offline=offline)

    perform("data check", verb, json=json, quiet=quiet, offline=offline)


@data.command("show")
def show(
    data: D,
    pairs: Pairs = None,
    *,
    task: TaskName,
    model: Annotated[
        str, typer.Option("--model", metavar="M", help="The model whose tokenizer reads the row.")
    ] = "starter",
    row: Annotated[int, typer.Option("--row", metavar="N", min=0, help="The row's number, from 0.")] = 0,
    json: Json = False,
    offline: Offline = False,
    quiet: Quiet = False,
    debug: Debug = False,
    settings: Set = None,
) -> None:
    """Show a row as the model sees it: windows, tokens, label, what is cut.

    Example: hfkit data show train.json --task qa --row 7
    """
    given = overrides({}, pairs, settings)

    def verb() -> Events:
        from hfkit.verbs.data.show import show

        return show(data, task=task, model=model, row=row, overrides=given, offline=offline)

    perform("data show", verb, json=json, quiet=quiet, offline=offline)
