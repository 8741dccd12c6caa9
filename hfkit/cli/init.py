"""`hfkit init`: parses, calls the verb, shows what it yields."""

from pathlib import Path
from typing import Annotated

import typer

from hfkit.cli.options import Debug, Json, Offline, Pairs, Quiet, Set, overrides
from hfkit.cli.perform import Events, perform


def init(
    data: Annotated[
        str | None,
        typer.Argument(metavar="D", help="The training data: a file, a folder, or a Hub data set.", show_default=False),
    ] = None,
    pairs: Pairs = None,
    *,
    test: Annotated[
        str | None,
        typer.Option(
            "--test", metavar="D", help="The data to predict: what it lacks is the target.", show_default=False
        ),
    ] = None,
    sample: Annotated[
        Path | None,
        typer.Option(
            "--sample", metavar="F", help="A sample submission: its columns are asked for.", show_default=False
        ),
    ] = None,
    script: Annotated[
        str | None,
        typer.Option(
            "--from", metavar="COMMAND", help="Translate a command line of an example script.", show_default=False
        ),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="FILE", help="Where the recipe goes; else shown.", show_default=False),
    ] = None,
    json: Json = False,
    offline: Offline = False,
    quiet: Quiet = False,
    debug: Debug = False,
    settings: Set = None,
) -> None:
    """Write a commented recipe for your data, or from a script's command line.

    Example: hfkit init train.csv --test test.csv -o recipe.yaml
    """
    given = overrides({}, pairs, settings)

    def verb() -> Events:
        from hfkit.verbs.init import init

        return init(data, test=test, sample=sample, script=script, output=output, overrides=given, offline=offline)

    perform("init", verb, json=json, quiet=quiet, offline=offline)
