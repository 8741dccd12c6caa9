"""The Typer application, made of the commands that are asked for: `hfkit predict` need not load the other nine."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from typing import Annotated, Any

import typer

from hfkit import __version__
from hfkit.cli.commands import COMMANDS, GROUPS, asked, command_names


def show_version(given: bool) -> None:
    """Print the version and stop."""
    if given:
        typer.echo(f"hfkit {__version__}")
        raise typer.Exit()


def top(
    version: Annotated[
        bool, typer.Option("--version", help="Show the version.", callback=show_version, is_eager=True)
    ] = False,
) -> None:
    """Fine-tune BERT and GPT-2 models on your data, score them honestly, and use them."""


def application(names: Sequence[str] | None = None) -> typer.Typer:
    """The application with these commands, by default all of them."""
    app = typer.Typer(name="hfkit", add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)
    app.callback()(top)
    for name in command_names() if names is None else names:
        if name in GROUPS:
            app.add_typer(_load(GROUPS[name][0]), name=name)
        else:
            app.command(name)(_load(COMMANDS[name]))
    return app


def run(arguments: Sequence[str]) -> Any:
    """Parse the arguments and run their command. Raises what went wrong; returns an exit code or None."""
    return application(asked(arguments))(list(arguments), prog_name="hfkit", standalone_mode=False)


def _load(target: str) -> Any:
    module, _, attribute = target.partition(":")
    return getattr(importlib.import_module(module), attribute)
