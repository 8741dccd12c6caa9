"""The two streams and who may write: data to stdout, the rest to stderr, only from the first process of a world."""

from __future__ import annotations

import errno
import os
import shutil
import sys
from typing import TextIO

from hfkit.errors import ResourceError
from hfkit.machine import srun_tasks


def rank() -> int:
    """This process's place in its world, as torchrun, a pod or srun say; 0 when it is alone.

    A RANK without a world, or outside it, is a mistake that must be shown, so it hides nothing.
    """
    text = os.environ.get("RANK")
    if text is not None and not int_or_zero(text) < int_or_zero(os.environ.get("WORLD_SIZE")):
        return 0
    if text is None and srun_tasks() > 1:
        text = os.environ.get("SLURM_PROCID")
    return int_or_zero(text)


def int_or_zero(text: str | None) -> int:
    """A number from the environment; what is not one is the joining rule's business, not the screen's."""
    return int(text) if text and text.isdigit() else 0


def write(stream: TextIO, text: str) -> bool:
    """Write and flush; a reader that went away (`| head`) is no error and ends no training: False says it.

    Raises ResourceError when the disk that the stream was sent to is full.
    """
    try:
        stream.write(text)
        stream.flush()
    except BrokenPipeError:
        close_quietly(stream)
        return False
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise
        close_quietly(stream)
        raise ResourceError(f"{stream.name}: cannot be written ({error.strerror})", "free some space there") from error
    return True


def close_quietly(stream: TextIO) -> None:
    """Point the stream's descriptor at nothing, so that later writes and the flush at exit succeed."""
    nothing = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nothing, stream.fileno())
    finally:
        os.close(nothing)


def can_say(text: str, stream: TextIO) -> bool:
    """Whether the stream's encoding has every character of `text`."""
    try:
        text.encode(stream.encoding or "utf-8")
    except (UnicodeEncodeError, LookupError):
        return False
    return True


def to_data(text: str) -> bool:
    """A piece of data, as it is, to stdout; False when nothing reads it any more."""
    return rank() != 0 or write(sys.stdout, text)


def columns_there() -> int | None:
    """The columns of the terminal that data is shown on (COLUMNS where it is set); None where stdout is none."""
    return max(shutil.get_terminal_size().columns, 40) if sys.stdout.isatty() else None


def is_terminal(stream: TextIO) -> bool:
    """Whether the stream is a terminal that can move its cursor."""
    return stream.isatty() and os.environ.get("TERM") != "dumb"
