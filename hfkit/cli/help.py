"""`hfkit help TOPIC`: parses, calls the verb, shows what it yields."""

import io
from contextlib import redirect_stdout
from typing import Annotated

import typer

from hfkit.cli.commands import command_names
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

    def verb() -> Events:
        from hfkit.events import Event
        from hfkit.verbs.guide import list_guides, show_guide, topics

        if topic in command_names() and topic not in topics():
            return [Event("result", {"topic": topic, "text": page(topic)})]
        return list_guides() if topic is None else show_guide(topic)

    perform("help", verb, json=json, quiet=quiet, offline=offline)


def page(command: str) -> str:
    """What `hfkit COMMAND --help` prints."""
    from hfkit.cli.app import run

    text = io.StringIO()
    with redirect_stdout(text):
        run([command, "--help"])
    return text.getvalue()
