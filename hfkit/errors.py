"""What can go wrong for a user: one exception class per exit code. Imports nothing; everything may import it."""

from __future__ import annotations


class HfkitError(Exception):
    """A mistake or a condition that the user can act on.

    `message` says what is wrong and where (file and line, key, row id); `hint` says what to try next. A command inside
    a hint stands in backticks and parses as typed. The class decides the exit code and the `kind` in JSON.
    """

    code = 1
    kind = "bug"

    def __init__(self, message: str, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class UsageError(HfkitError):
    """A flag, a recipe key or an output folder is not right, or an optional package is missing."""

    code = 2
    kind = "usage"


class DataError(HfkitError):
    """A data set is missing, unreadable, or does not say what the task needs."""

    code = 3
    kind = "data"


class ModelError(HfkitError):
    """A model or checkpoint is missing, damaged, or does not fit the task."""

    code = 4
    kind = "model"


class ResourceError(HfkitError):
    """Disk or memory is exhausted, or a folder cannot be written."""

    code = 5
    kind = "resources"


class DivergenceError(HfkitError):
    """Training produced a loss, gradient or weight that is not finite."""

    code = 6
    kind = "divergence"


class NetworkError(HfkitError):
    """The Hub cannot be reached, or offline mode forbids asking it."""

    code = 7
    kind = "network"


class Delegated(Exception):
    """The work was done by child processes, who showed it; the parent ends with their exit code.

    It adds nothing, but for `problem`: a child that was killed could not say so. `said` tells whether the first child
    lived to print its own JSON.
    """

    def __init__(self, code: int, problem: HfkitError | None = None, *, said: bool = True) -> None:
        super().__init__(f"child processes ended with exit code {code}")
        self.code = code
        self.problem = problem
        self.said = said


class ReaderGone(Exception):
    """What reads stdout has gone (`| head`), and nothing else was to be made: the command ends without a word.

    `code` is what a shell says of a program that SIGPIPE ended.
    """

    code = 141


class Stopped(HfkitError):
    """The work was stopped from outside: 75 (resume me), 130 (interrupted) or 143 (terminated)."""

    kind = "stopped"

    def __init__(self, message: str, hint: str | None = None, *, code: int = 130) -> None:
        super().__init__(message, hint)
        self.code = code


def error_of(*, code: int, message: str, hint: str | None = None, kind: str | None = None) -> HfkitError:
    """The `error` of a command's JSON as the exception that it was."""
    kinds = (error for error in HfkitError.__subclasses__() if error is not Stopped)
    found = next((error for error in kinds if error.code == code), None)
    if found is not None:
        return found(message, hint)
    return Stopped(message, hint, code=code) if kind == Stopped.kind else HfkitError(message, hint)


def told(error: Exception) -> HfkitError:
    """An error as other processes hear of it, who would wait for this one otherwise: it can be pickled."""
    if isinstance(error, HfkitError):
        return error
    return HfkitError(f"another process failed: {type(error).__name__}: {error}")
