"""`hfkit runs list | show`: parses, calls the verb, shows what it yields."""

from typing import Annotated

import typer

from hfkit.cli.options import Debug, Json, Offline, Quiet, Set, refuse_settings
from hfkit.cli.perform import Events, perform

runs = typer.Typer(help="List and show the runs of this folder (or HFKIT_RUNS).")


@runs.command("list")
def list_(
    *, json: Json = False, offline: Offline = False, quiet: Quiet = False, debug: Debug = False, settings: Set = None
) -> None:
    """List the runs, newest first.

    Example: hfkit runs list
    """
    refuse_settings(settings, "runs list")

    def verb() -> Events:
        from hfkit.verbs.runs import list_runs

        return list_runs()

    perform("runs list", verb, json=json, quiet=quiet, offline=offline)


@runs.command("show")
def show(
    run: Annotated[
        str,
        typer.Argument(metavar="RUN", help="A run folder, last, last:qa, or a part of its name.", show_default=False),
    ],
    *,
    json: Json = False,
    offline: Offline = False,
    quiet: Quiet = False,
    debug: Debug = False,
    settings: Set = None,
) -> None:
    """Show one run: what it was, how it went, what it scored.

    Example: hfkit runs show last
    """
    refuse_settings(settings, "runs show")

    def verb() -> Events:
        from hfkit.verbs.runs import show_run

        return show_run(run)

    perform("runs show", verb, json=json, quiet=quiet, offline=offline)
