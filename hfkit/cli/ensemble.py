"""`hfkit ensemble`: parses, calls the verb, shows what it yields."""

from pathlib import Path
from typing import Annotated

import typer

from hfkit.cli.options import Cpu, Debug, Json, Limit, Offline, Overwrite, Quiet, Set, models_and_overrides
from hfkit.cli.perform import Events, perform


def ensemble(
    members: Annotated[
        list[str],
        typer.Argument(
            metavar="RUN...", help="Runs and folders of cross-validations; then KEY=VALUE.", show_default=False
        ),
    ],
    *,
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="DIR", help="Folder of the ensemble.", show_default=False)
    ],
    data: Annotated[
        str | None,
        typer.Option(
            "--data", metavar="D", help="Fit weights on these rows with answers, not out of fold.", show_default=False
        ),
    ] = None,
    equal: Annotated[bool, typer.Option("--equal", help="Weigh all members alike; nothing is fitted.")] = False,
    overwrite: Overwrite = False,
    limit: Limit = None,
    cpu: Cpu = False,
    json: Json = False,
    offline: Offline = False,
    quiet: Quiet = False,
    debug: Debug = False,
    settings: Set = None,
) -> None:
    """Make one model of several, weighed by what they say of rows that they did not see.

    Example: hfkit ensemble runs/cv-a runs/cv-b -o runs/both
    """
    names, given = models_and_overrides(members, settings)

    def verb() -> Events:
        from hfkit.verbs.ensemble import ensemble

        return ensemble(
            names,
            output=output,
            data=data,
            equal=equal,
            overwrite=overwrite,
            limit=limit,
            cpu=cpu,
            overrides=given,
            offline=offline,
        )

    perform("ensemble", verb, json=json, quiet=quiet, offline=offline)
