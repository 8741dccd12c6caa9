"""The folder of a mean: what stands there already, and how a new one takes its place."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from hfkit import run as runs
from hfkit.errors import UsageError
from hfkit.files import cannot_write, sync_folder, sync_tree
from hfkit.lock import Hold
from hfkit.models.intake import read_saved
from hfkit.verbs.average.mean import AVERAGE_OF

PARTS = ("model", "eval", "run.json")  # of the folder; the last makes it a run
SCRAP = ".average.tmp"  # where they are made; what a killed process left there is no content


def check_output(output: Path, *, overwrite: bool) -> None:
    """Refuse a folder that holds something but a mean to overwrite. Raises UsageError, ResourceError."""
    if runs.is_taken(output):
        if AVERAGE_OF not in (read_saved(output / "model") or {}):
            raise UsageError(f"{output} holds something, and no average", "choose another folder with --output")
        if not overwrite:
            raise UsageError(f"{output} is not empty", "add --overwrite, or choose another folder with --output")
    runs.check_output(output)


@contextmanager
def made_in(output: Path) -> Iterator[Path]:
    """Yield an empty folder inside `output`, which is held; on success its parts take their places in `output`.

    What stood there stays until the new parts are whole and synced. The folder itself is never renamed: it may be a
    shell's. Raises UsageError when another process holds it, ResourceError.
    """
    there, place = output.exists(), output / SCRAP
    try:
        output.mkdir(parents=True, exist_ok=True)
        with Hold() as hold:
            hold.take(output)
            try:
                shutil.rmtree(place, ignore_errors=True)
                place.mkdir()
                yield place
                sync_tree(place)
                hold.check()
                _exchange(output, place)
            finally:
                shutil.rmtree(place, ignore_errors=True)
    except OSError as error:
        raise cannot_write(output, error) from error
    finally:
        if not there:
            with suppress(OSError):
                output.rmdir()  # where nothing came of it


def _exchange(output: Path, place: Path) -> None:
    """The parts in `place` for those in `output`, by renames."""
    for name in PARTS:
        if (output / name).exists():
            os.rename(output / name, place / f"old-{name}")
        if (place / name).exists():
            os.rename(place / name, output / name)
    sync_folder(output)
