"""`hfkit help TOPIC`: parses, calls the verb, shows what it yields."""

from typing import Annotated

import typer

from hfkit.cli.options import Debug, Json, Offline, Quiet, Set, refuse_settings
from hfkit.cli.perform import Events, perform


def help_(
    topic: Annotated[
        str | None,
        typer.Argument(metavar="TOPIC", help="A guide; without it, the list of guides.", show_default=False),
    ] = None,
    *,
    json: Json = False,
    offline: Offline = False,
    quiet: Quiet = False,
    debug: Debug = False,
    settings: Set = None,
) -> None:
    """Read a guide, or the help of a command; no network is used.

    Example: hfkit help
    """
    refuse_settings(settings, "help")
    from hfkit.cli.app import app, command_names
    from hfkit.verbs.guide import topics

    if topic in command_names() and topic not in topics():
        app([topic, "--help"], prog_name="hfkit", standalone_mode=False)
        return

    def verb() -> Events:
        from hfkit.verbs.guide import list_guides, show_guide

        return list_guides() if topic is None else show_guide(topic)

    perform("help", verb, json=json, quiet=quiet, offline=offline)
