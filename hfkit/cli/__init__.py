"""The command line, the only importer of typer: a command parses, calls one verb, shows its events."""

import os
import sys
from collections.abc import Sequence


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns its exit code. The entry point of `hfkit` and of `python -m hfkit`."""
    from hfkit.cli.failure import Caller, fail, make_streams_safe
    from hfkit.errors import Delegated

    os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "1")  # reading every installed package's entry points takes 15 ms
    arguments = list(sys.argv[1:] if argv is None else argv)
    make_streams_safe()
    caller = Caller.of(arguments)
    try:
        from hfkit.cli.app import app
        from hfkit.cli.words import checked

        code = app(checked(arguments), prog_name="hfkit", standalone_mode=False)
    except Delegated as done:
        code = done.code
    except (Exception, KeyboardInterrupt) as error:
        code = fail(error, caller)
    return code if isinstance(code, int) else 0
