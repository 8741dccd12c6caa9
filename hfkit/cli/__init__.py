"""The command line, the only importer of typer: a command parses, calls one verb, shows its events."""

import io
import os
import sys
from collections.abc import Sequence


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns its exit code. The entry point of `hfkit` and of `python -m hfkit`."""
    from hfkit.errors import Delegated

    os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "1")  # reading every installed package's entry points takes 15 ms
    arguments = list(sys.argv[1:] if argv is None else argv)
    make_streams_safe()
    try:
        from hfkit.cli.app import run
        from hfkit.cli.words import checked

        code = run(checked(arguments))
    except Delegated as done:
        code = done.code
    except (Exception, KeyboardInterrupt) as error:
        from hfkit.cli.failure import Caller, fail

        code = fail(error, Caller.of(arguments))
    return code if isinstance(code, int) else 0


def make_streams_safe() -> None:
    """Let no character fail on a terminal whose encoding does not have it."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")
