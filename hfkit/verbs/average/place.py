"""The folder of a mean: what stands there already, and how a new one takes its place."""

from __future__ import annotations

import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from hfkit import run as runs
from hfkit.errors import UsageError
from hfkit.files import cannot_write, sync_folder, sync_tree
from hfkit.lock import Hold
from hfkit.models.intake import read_saved
from hfkit.stopping import saving_first
from hfkit.verbs.average.mean import AVERAGE_OF

PARTS = ("run.json", "model", "eval")  # of the folder; the first makes it a run
SCRAP = ".average-*.tmp"  # where they are made; what a killed process left there is no content


def check_output(output: Path, *, overwrite: bool) -> None:
    """Refuse a folder that holds something but a mean to overwrite. Raises UsageError, ResourceError."""
    if runs.is_taken(output):
        if AVERAGE_OF not in (read_saved(output / "model") or {}):
            raise UsageError(f"{output} holds something, and no average", "choose another folder with --output")
        if not overwrite:
            raise UsageError(f"{output} is not empty", "add --overwrite, or choose another folder with --output")
    runs.check_output(output)


@contextmanager
def made_in(output: Path, *, overwrite: bool) -> Iterator[Path]:
    """Yield an empty folder inside `output`, which is held; on success its parts take their places in `output`.

    What stood there stays until the new parts are whole and synced. The folder itself is never renamed: it may be a
    shell's. Raises UsageError when another process holds it, or has filled it meanwhile, and ResourceError.
    """
    there, place = output.exists(), output / SCRAP.replace("*", uuid.uuid4().hex[:8])
    with _writing(output):
        output.mkdir(parents=True, exist_ok=True)
    try:
        with Hold() as hold:
            hold.take(output)
            check_output(output, overwrite=overwrite)
            for scrap in output.glob(SCRAP):
                shutil.rmtree(scrap, ignore_errors=True)
            try:
                with _writing(output):
                    place.mkdir()
                yield place
                hold.check()
                with _writing(output):
                    sync_tree(place)
                    _exchange(output, place)
            finally:
                shutil.rmtree(place, ignore_errors=True)
    finally:
        if not there:
            with suppress(OSError):
                output.rmdir()  # where nothing came of it


@contextmanager
def _writing(output: Path) -> Iterator[None]:
    """Inside, nothing is done but writing to `output`."""
    try:
        yield
    except OSError as error:
        raise cannot_write(output, error) from error


def _exchange(output: Path, place: Path) -> None:
    """The parts in `place` for those in `output`, by renames, all or none; a request to stop waits for its end."""
    moves = [(output / name, place / f"old-{name}") for name in PARTS if (output / name).exists()]
    moves += [(place / name, output / name) for name in reversed(PARTS) if (place / name).exists()]
    done: list[tuple[Path, Path]] = []
    with saving_first():
        try:
            for source, target in moves:
                os.rename(source, target)
                done.append((source, target))
        except BaseException:
            for source, target in reversed(done):
                os.rename(target, source)
            raise
        sync_folder(output)
