"""Checks a command line without running it: in the tests every command of a hint, guide or recipe goes through here."""

from collections.abc import Sequence

from hfkit.cli.app import run
from hfkit.cli.perform import no_verbs
from hfkit.cli.words import checked


def parse(arguments: Sequence[str]) -> None:
    """Resolve the command, its options and arguments, and stop before its verb. Raises what `main` would show."""
    with no_verbs():
        run(checked(arguments))
