"""From any exception to a message, a hint, an exit code and, with `--json`, one JSON object. Used by `main` alone."""

import errno
from collections.abc import Sequence
from dataclasses import dataclass

import typer

from hfkit.cli.commands import GROUPS
from hfkit.errors import HfkitError, ResourceError, Stopped, UsageError


@dataclass(frozen=True, slots=True)
class Caller:
    """What the user typed, as far as an error must know it even when the arguments cannot be parsed."""

    command: str
    json: bool
    quiet: bool
    debug: bool

    @classmethod
    def of(cls, arguments: Sequence[str]) -> "Caller":
        """Read from the raw arguments; words after `--` are data."""
        words = list(arguments)
        flags = words[: words.index("--")] if "--" in words else words
        command = words[0] if words and not words[0].startswith("-") else "hfkit"
        if command in GROUPS and len(words) > 1 and not words[1].startswith("-"):
            command = f"{command} {words[1]}"
        return cls(command, "--json" in flags, "--quiet" in flags, "--debug" in flags)


def fail(error: BaseException, caller: Caller) -> int:
    """Show what went wrong; returns the exit code."""
    from hfkit.report import show_error

    if caller.debug:
        import traceback

        traceback.print_exception(error)
    problem = as_hfkit_error(error, caller.command)
    show_error(problem, command=caller.command, json=caller.json)
    return problem.code


def as_hfkit_error(error: BaseException, command: str) -> HfkitError:
    """The user's words for an exception that reached the top."""
    if isinstance(error, HfkitError):
        return error
    if isinstance(error, typer.TyperException):
        from hfkit.cli.words import usage_error

        return usage_error(error, command)
    if isinstance(error, (KeyboardInterrupt, typer.Abort)):
        return Stopped("interrupted")
    if isinstance(error, MemoryError):
        return ResourceError("out of memory", "try a smaller batch, e.g. train.micro_batch_size=4")
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return ResourceError(
            f"no space left on the disk ({error.filename or error})", "free some space, then start again"
        )
    if isinstance(error, ModuleNotFoundError) and not (error.name or "hfkit").startswith("hfkit"):
        return UsageError(
            f"the package '{error.name}' is not installed", "`hfkit doctor` says what is missing and what to type"
        )
    return HfkitError(
        f"this is a bug in hfkit: {type(error).__name__}: {error}",
        "add --debug to the command to see the traceback, and report it with the command",
    )
