"""`hfkit convert`: parses, calls the verb, shows what it yields."""

from pathlib import Path
from typing import Annotated

import typer

from hfkit.cli.options import Debug, Json, Offline, Quiet, Set, refuse_settings
from hfkit.cli.perform import Events, perform


def convert(
    model: Annotated[
        str,
        typer.Argument(metavar="M", help="A checkpoint folder or a Hub name with pickle weights.", show_default=False),
    ],
    *,
    output: Annotated[
        Path,
        typer.Option("--output", "-o", metavar="DIR", help="Folder of the converted checkpoint.", show_default=False),
    ],
    json: Json = False,
    offline: Offline = False,
    quiet: Quiet = False,
    debug: Debug = False,
    settings: Set = None,
) -> None:
    """Turn pickle weights into safetensors, once, safely.

    Example: hfkit convert my_checkpoint -o my_checkpoint_safe
    """
    refuse_settings(settings, "convert")

    def verb() -> Events:
        from hfkit.verbs.convert import convert

        return convert(model, output, offline=offline)

    perform("convert", verb, json=json, quiet=quiet, offline=offline)
