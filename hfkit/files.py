"""Files that are either whole or absent: written under a temporary name, synced, renamed; and the cache's folder."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import re
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from hfkit.errors import HfkitError, ResourceError

DATA_SUFFIXES = (".csv", ".tsv", ".jsonl", ".ndjson", ".json", ".parquet", ".txt")


def sync_folder(path: Path) -> None:
    """Make a rename inside `path` survive a power cut. A no-op where folders cannot be opened (Windows)."""
    if os.name == "nt":
        return
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def as_os_error(error: Exception) -> OSError:
    """The system's error inside the message of a library that wraps it (safetensors: "... (os error 28)")."""
    found = re.search(r"os error (\d+)", str(error))
    return OSError(int(found.group(1)), os.strerror(int(found.group(1)))) if found else OSError(str(error))


def cannot_write(path: Path, error: OSError) -> HfkitError:
    """The user's words for a failed write."""
    if error.errno in (errno.ENOSPC, getattr(errno, "EDQUOT", None)):
        return ResourceError(
            f"{path}: no space left on the disk", "free some space, or choose another place with --output"
        )
    return ResourceError(
        f"{path}: cannot be written ({error.strerror or error})", "choose a folder you may write to with --output"
    )


@contextmanager
def atomic_write(path: Path, mode: str = "w") -> Iterator[IO[Any]]:
    """Open a temporary file beside `path`; on success it is synced and takes the name `path`, otherwise it is removed.

    Raises ResourceError when the disk is full or the folder cannot be written.
    """
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.tmp")
    text = "b" not in mode
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(temporary, mode, encoding="utf-8" if text else None, newline="\n" if text else None) as handle:
            yield handle
            handle.flush()
            os.fsync(handle.fileno())
        os.replace(temporary, path)
        sync_folder(path.parent)
    except OSError as error:
        raise cannot_write(path, error) from error
    finally:
        if temporary.exists():
            temporary.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write `text` to `path`, whole or not at all."""
    with atomic_write(path) as handle:
        handle.write(text)


def write_json(path: Path, value: Any) -> None:
    """Write `value` as indented JSON to `path`, whole or not at all. Floats round-trip; NaN is refused."""
    write_text(path, json.dumps(value, ensure_ascii=False, indent=2, allow_nan=False) + "\n")


def json_line(value: Any) -> str:
    """One line of a JSON-lines file. Floats round-trip."""
    return json.dumps(value, ensure_ascii=False, allow_nan=False) + "\n"


@contextmanager
def atomic_folder(path: Path) -> Iterator[Path]:
    """Yield an empty temporary folder beside `path`; on success it is synced file by file and takes the name `path`.

    `path` must not exist. Raises ResourceError when the disk is full or the folder cannot be written.
    """
    temporary = path.with_name(f".tmp-{path.name}-{uuid.uuid4().hex[:8]}")
    try:
        temporary.mkdir(parents=True)
        yield temporary
        sync_tree(temporary)
        os.rename(temporary, path)
        sync_folder(path.parent)
    except OSError as error:
        raise cannot_write(path, error) from error
    finally:
        if temporary.exists():
            shutil.rmtree(temporary, ignore_errors=True)


def copy_files(folder: Path, target: Path) -> None:
    """The files of `folder`, which has no folders in it, also in the new folder `target`. Raises OSError."""
    target.mkdir(exist_ok=True)
    for path in folder.iterdir():
        shutil.copyfile(path, target / path.name)


def remove_folder(path: Path) -> None:
    """Remove a folder, if it is there, by a rename first: no half of it ever stands under its name."""
    if path.exists():
        doomed = path.with_name(f".tmp-del-{path.name}-{uuid.uuid4().hex[:8]}")
        path.rename(doomed)
        shutil.rmtree(doomed, ignore_errors=True)


def sync_tree(folder: Path) -> None:
    """Sync every file and folder below `folder`."""
    for root, _, names in os.walk(folder):
        for name in names:
            with open(os.path.join(root, name), "rb+") as handle:
                os.fsync(handle.fileno())
        sync_folder(Path(root))


def sha256_of(path: Path) -> str:
    """The sha256 of a file's bytes, as 64 hex digits."""
    with open(path, "rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def cache_folder() -> Path:
    """$HFKIT_CACHE, else ~/.cache/hfkit; made for this user only (0700). Raises ResourceError."""
    path = Path(os.environ.get("HFKIT_CACHE") or "~/.cache/hfkit").expanduser()
    try:
        path.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as error:
        raise cache_unwritable(path, error.strerror or str(error)) from error
    return path


def cache_unwritable(path: Path, reason: str) -> ResourceError:
    """The user's words for a cache that cannot be written."""
    return ResourceError(
        f"the cache {path} cannot be written ({reason})", "set HFKIT_CACHE to a folder you may write to"
    )


def ends_as_data(word: str) -> bool:
    """Whether a word ends as the names of files of rows do: a.csv, b.jsonl.gz."""
    return word.lower().removesuffix(".gz").endswith(DATA_SUFFIXES)
