"""The table of commands, in the order of the help page: adding one is one file here and one line below.

It imports nothing, so that a command line is checked, and one command's page shown, without loading the others.
"""

from __future__ import annotations

from collections.abc import Sequence

COMMANDS = {
    "finetune": "hfkit.cli.finetune:finetune",
    "eval": "hfkit.cli.eval:evaluate",
    "predict": "hfkit.cli.predict:predict",
    "submission": "hfkit.cli.submission:submission",
    "generate": "hfkit.cli.generate:generate",
    "sweep": "hfkit.cli.sweep:sweep",
    "score": "hfkit.cli.score:score",
    "compare": "hfkit.cli.compare:compare",
    "cv": "hfkit.cli.cv:cv",
    "compete": "hfkit.cli.compete:compete",
    "ensemble": "hfkit.cli.ensemble:ensemble",
    "average": "hfkit.cli.average:average",
    "bundle": "hfkit.cli.bundle:bundle",
    "init": "hfkit.cli.init:init",
    "convert": "hfkit.cli.convert:convert",
    "doctor": "hfkit.cli.doctor:doctor",
    "help": "hfkit.cli.help:help_",
}
# a group of commands -> where its Typer is, and the commands in it
GROUPS: dict[str, tuple[str, tuple[str, ...]]] = {
    "data": ("hfkit.cli.data:data", ("check", "show")),
    "recipes": ("hfkit.cli.recipes:recipes", ("list", "show", "copy")),
    "runs": ("hfkit.cli.runs:runs", ("list", "show", "diff", "note", "rerun")),
}


def command_names() -> dict[str, tuple[str, ...]]:
    """Every command, and the commands of the groups among them (none for a plain command)."""
    return {**dict.fromkeys(COMMANDS, ()), **{name: inner for name, (_, inner) in GROUPS.items()}}


def asked(arguments: Sequence[str]) -> list[str]:
    """The command that comes first in the arguments, alone; every command where none does, as for `hfkit --help`."""
    names = list(command_names())
    return [arguments[0]] if arguments and arguments[0] in names else names
