"""`hfkit compare`: parses, calls the verb, shows what it yields."""

from typing import Annotated

import typer

from hfkit.cli.options import Debug, Json, Offline, Pairs, Quiet, Set, overrides
from hfkit.cli.perform import Events, perform

_WHAT = "a run, a folder of an evaluation, or a file of predictions; seeds of one system with commas."


def compare(
    a: Annotated[str, typer.Argument(metavar="A", help=f"One system: {_WHAT}", show_default=False)],
    b: Annotated[str, typer.Argument(metavar="B", help="The other, likewise.", show_default=False)],
    pairs: Pairs = None,
    *,
    data: Annotated[
        str | None,
        typer.Option("--data", metavar="D", help="Measure anew on this data with answers.", show_default=False),
    ] = None,
    task: Annotated[
        str | None, typer.Option("--task", metavar="T", help="The task of bare files.", show_default=False)
    ] = None,
    json: Json = False,
    offline: Offline = False,
    quiet: Quiet = False,
    debug: Debug = False,
    settings: Set = None,
) -> None:
    """Say how two systems differ on the same rows, and whether that is noise.

    Example: hfkit compare run-a run-b
    """
    given = overrides({}, pairs, settings)

    def verb() -> Events:
        from hfkit.verbs.compare import compare

        return compare(a, b, data=data, task=task, overrides=given, offline=offline)

    perform("compare", verb, json=json, quiet=quiet, offline=offline)
