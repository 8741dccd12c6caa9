"""`hfkit bundle`: parses, calls the verb, shows what it yields."""

from pathlib import Path
from typing import Annotated

import typer

from hfkit.cli.options import Debug, Json, Model, Offline, Overwrite, Quiet, Set, overrides
from hfkit.cli.perform import Events, perform


def bundle(
    model: Model,
    pairs: Annotated[
        list[str] | None,
        typer.Argument(metavar="KEY=VALUE", help="task, model_revision or convert.", show_default=False),
    ] = None,
    *,
    output: Annotated[
        Path,
        typer.Option("--output", "-o", metavar="DIR|FILE.zip", help="Folder or zip of the bundle.", show_default=False),
    ],
    compiled: Annotated[
        bool, typer.Option("--compiled", help="Bundle compiled packages too (never torch), not pure ones alone.")
    ] = False,
    python_version: Annotated[
        str | None,
        typer.Option("--python-version", metavar="V", help="Python of the target, e.g. 3.12; else this one's."),
    ] = None,
    platform: Annotated[
        str | None,
        typer.Option("--platform", metavar="TAG", help="Platform of the target, e.g. manylinux_2_28_x86_64."),
    ] = None,
    overwrite: Overwrite = False,
    json: Json = False,
    offline: Offline = False,
    quiet: Quiet = False,
    debug: Debug = False,
    settings: Set = None,
) -> None:
    """Pack a trained model with hfkit and its packages for a machine without a network.

    Example: hfkit bundle last -o my_bundle
    """
    given = overrides({}, pairs, settings)

    def verb() -> Events:
        from hfkit.verbs.bundle import bundle

        return bundle(
            model,
            output=output,
            compiled=compiled,
            python_version=python_version,
            platform=platform,
            overwrite=overwrite,
            overrides=given,
            offline=offline,
        )

    perform("bundle", verb, json=json, quiet=quiet, offline=offline)
