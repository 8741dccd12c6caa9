"""Runs one verb and shows what it yields: the last step of every command."""

import gc
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING

import typer

from hfkit.errors import Stopped
from hfkit.stopping import AskedToStop

if TYPE_CHECKING:
    from hfkit.events import Event

Events = Iterable["Event"]
_only_parse: ContextVar[bool] = ContextVar("only_parse", default=False)


@contextmanager
def no_verbs() -> Iterator[None]:
    """Commands called inside parse and check their arguments, and stop there."""
    token = _only_parse.set(True)
    try:
        yield
    finally:
        _only_parse.reset(token)


def perform(command: str, verb: Callable[[], Events], *, json: bool, quiet: bool, offline: bool) -> None:
    """Show the events of `verb()`. `verb` imports what it needs itself, so that `--help` stays light."""
    if _only_parse.get():
        return
    if offline:
        for name in ("HF_HUB_OFFLINE", "HF_DATASETS_OFFLINE"):
            os.environ[name] = "1"  # the libraries read it once, when they are imported
    from hfkit.report import show

    gc.set_threshold(50_000, 20, 50)  # rows are many small objects that stay: looking for garbage among them is slow
    try:
        result = show(verb(), command=command, mode="quiet" if quiet else None, json=json)
    except AskedToStop as request:  # typer would make of it an interruption, whichever signal it was
        raise Stopped(f"stopped by {request.name}", code=request.code) from None
    except KeyboardInterrupt:
        raise Stopped("interrupted") from None
    if "error" in result:  # a command that found out what it was asked for, and that it is bad (doctor)
        raise typer.Exit(result["error"]["code"])
