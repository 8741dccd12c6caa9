"""`hfkit average`: parses, calls the verb, shows what it yields."""

from pathlib import Path
from typing import Annotated

import typer

from hfkit.cli.options import Cpu, Debug, Json, Limit, Offline, Overwrite, Quiet, Set, models_and_overrides
from hfkit.cli.perform import Events, perform


def average(
    members: Annotated[
        list[str],
        typer.Argument(metavar="RUN...", help="Runs and model folders; then KEY=VALUE.", show_default=False),
    ],
    *,
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="DIR", help="Folder of the new run.", show_default=False)
    ],
    data: Annotated[
        str | None,
        typer.Option(
            "--data", metavar="D", help="Average only those that help on these rows with answers.", show_default=False
        ),
    ] = None,
    overwrite: Overwrite = False,
    limit: Limit = None,
    cpu: Cpu = False,
    json: Json = False,
    offline: Offline = False,
    quiet: Quiet = False,
    debug: Debug = False,
    settings: Set = None,
) -> None:
    """Average the weights of runs that began from one model: a model as large and as fast as each of them.

    Example: hfkit average runs/first runs/second -o runs/mean --data dev.json
    """
    names, given = models_and_overrides(members, settings)

    def verb() -> Events:
        from hfkit.verbs.average import average

        return average(
            names,
            output=output,
            data=data,
            overwrite=overwrite,
            limit=limit,
            cpu=cpu,
            overrides=given,
            offline=offline,
        )

    perform("average", verb, json=json, quiet=quiet, offline=offline)
