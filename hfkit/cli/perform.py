"""Runs one verb and shows what it yields: the last step of every command."""

import os
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from hfkit.errors import Stopped

if TYPE_CHECKING:
    from hfkit.events import Event


def perform(command: str, verb: "Callable[[], Iterable[Event]]", *, json: bool, quiet: bool, offline: bool) -> None:
    """Show the events of `verb()`. `verb` imports what it needs itself, so that `--help` stays light."""
    if offline:
        for name in ("HF_HUB_OFFLINE", "HF_DATASETS_OFFLINE"):
            os.environ[name] = "1"  # read once by the libraries, when they are imported
    from hfkit.report import show

    try:
        show(verb(), command=command, mode="quiet" if quiet else None, json=json)
    except KeyboardInterrupt:
        raise Stopped("interrupted") from None
