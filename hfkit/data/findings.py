"""What checks of rows find, in levels from good to failure, and the one error that failures become."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

from hfkit.errors import DataError

Level = Literal["good", "note", "warning", "failure"]
SHOWN = 5  # ids named in a message
CORRECT = "correct the data, or let `hfkit data check D --task T --fix FILE` write the rows that can stay"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing found in a data set: how bad it is, a stable code, the words, how many rows, and the first ids.

    A "note" is no fault but worth a line; `hint` says what to type against a failure.
    """

    level: Level
    code: str
    message: str
    count: int = 0
    ids: tuple[str, ...] = ()
    hint: str | None = None


def raise_failures(findings: Iterable[Finding]) -> list[str]:
    """Raise one DataError that names every failure; without failures, return the lines of warnings and notes."""
    found = list(findings)
    failures = [finding for finding in found if finding.level == "failure"]
    if failures:
        shown = [finding.message for finding in failures[:10]]
        shown += [f"and {len(failures) - 10} more"] if len(failures) > 10 else []
        hints = [finding.hint for finding in failures if finding.hint]
        raise DataError("\n".join(shown), hints[0] if hints else CORRECT)
    return [finding.message for finding in found if finding.level in ("warning", "note")]


def failure_of(error: DataError, code: str, count: int = 0, ids: Sequence[str] = ()) -> Finding:
    """An error of a function that stops at the first problem, as one finding among others."""
    return Finding("failure", code, error.message, count, tuple(ids[:SHOWN]), error.hint)


@contextmanager
def named(rows: Any) -> Iterator[None]:
    """Put the name of a data set in front of what is wrong with its rows."""
    try:
        yield
    except DataError as error:
        name = getattr(rows, "name", None)
        if name is None or name in error.message:
            raise
        raise DataError(f"{name}: {error.message}", error.hint) from error
