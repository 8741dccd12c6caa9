"""`hfkit recipes list | show | copy`: parses, calls the verb, shows what it yields."""

from pathlib import Path
from typing import Annotated

import typer

from hfkit.cli.options import Debug, Json, Offline, Quiet, Set, refuse_settings
from hfkit.cli.perform import Events, perform

recipes = typer.Typer(help="List, show and copy the shipped recipes.")

Name = Annotated[
    str, typer.Argument(metavar="NAME", help="A recipe file, or the name of a shipped recipe.", show_default=False)
]


@recipes.command("list")
def list_(
    *, json: Json = False, offline: Offline = False, quiet: Quiet = False, debug: Debug = False, settings: Set = None
) -> None:
    """List the shipped recipes and those in ./recipes.

    Example: hfkit recipes list
    """
    refuse_settings(settings, "recipes list")

    def verb() -> Events:
        from hfkit.verbs.recipes import list_recipes

        return list_recipes()

    perform("recipes list", verb, json=json, quiet=quiet, offline=offline)


@recipes.command("show")
def show(
    name: Name,
    *,
    keys: Annotated[bool, typer.Option("--keys", help="Every key: value, type, range, default, help.")] = False,
    json: Json = False,
    offline: Offline = False,
    quiet: Quiet = False,
    debug: Debug = False,
    settings: Set = None,
) -> None:
    """Show a recipe as it stands in its file, or all its keys.

    Example: hfkit recipes show qa --keys
    """

    def verb() -> Events:
        from hfkit.verbs.recipes import show_recipe

        return show_recipe(name, keys=keys, overrides=settings or ())

    perform("recipes show", verb, json=json, quiet=quiet, offline=offline)


@recipes.command("copy")
def copy(
    name: Name,
    path: Annotated[
        Path | None, typer.Argument(metavar="PATH", help="Where to; else NAME.yaml here.", show_default=False)
    ] = None,
    *,
    json: Json = False,
    offline: Offline = False,
    quiet: Quiet = False,
    debug: Debug = False,
    settings: Set = None,
) -> None:
    """Copy a recipe, to change it.

    Example: hfkit recipes copy qa my.yaml
    """
    refuse_settings(settings, "recipes copy")

    def verb() -> Events:
        from hfkit.verbs.recipes import copy_recipe

        return copy_recipe(name, path)

    perform("recipes copy", verb, json=json, quiet=quiet, offline=offline)
