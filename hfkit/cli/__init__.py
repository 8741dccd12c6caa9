"""The command line, the only importer of typer: a command parses, calls one verb, shows its events."""

import gc
import io
import os
import sys
from collections.abc import Sequence


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns its exit code. The entry point of `hfkit` and of `python -m hfkit`."""
    from hfkit.stopping import asked, end_now, listening

    os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "1")  # reading every installed package's entry points takes 15 ms
    arguments = list(sys.argv[1:] if argv is None else argv)
    make_streams_safe()
    with listening(last_words=lambda error: _fail(error, arguments)):
        code = _run(arguments)
        if argv is None and asked():  # all is saved and said; taking down the libraries would take seconds more
            end_now(code)
    if argv is None:
        if "torch" not in sys.modules:
            _leave(code)
        gc.freeze()  # Python takes itself down, as libraries ask: a look for garbage in all of torch takes a second
    return code


def _leave(code: int) -> None:
    """End without freeing rows one by one, a tenth of a short command's time; only where no library waits for that."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def _fail(error: BaseException, arguments: Sequence[str]) -> int:
    from hfkit.cli.failure import Caller, fail

    return fail(error, Caller.of(arguments))


def _run(arguments: Sequence[str]) -> int:
    from hfkit.errors import Delegated, ReaderGone

    try:
        from hfkit.cli.app import run
        from hfkit.cli.words import checked

        code = run(checked(arguments))
    except Delegated as done:
        code = done.code
        if done.problem is not None:
            _fail(done.problem, [word for word in arguments if word != "--json" or not done.said])
    except ReaderGone as gone:
        code = gone.code
    except (Exception, KeyboardInterrupt) as error:
        code = _fail(error, arguments)
    return code if isinstance(code, int) else 0


def make_streams_safe() -> None:
    """Let no character fail on a terminal whose encoding does not have it."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")
