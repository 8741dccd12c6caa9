"""Where a bundle goes: a folder or a zip file, whole or not at all."""

from __future__ import annotations

import shutil
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from hfkit.errors import ResourceError, UsageError
from hfkit.files import atomic_folder, atomic_write, cannot_write, remove_folder, sha256_of
from hfkit.run import probe_writable
from hfkit.verbs.bundle.wheel import member

MANIFEST = "manifest.json"
STORED = (".whl", ".safetensors")  # what does not get smaller


def check_place(output: Path, *, overwrite: bool) -> None:
    """Refuse what is there already, unless it is a bundle to overwrite. Raises UsageError, ResourceError."""
    if is_zip(output):
        if output.is_dir():
            raise UsageError(f"{output} is a folder", "choose another name with --output")
        if output.exists() and not overwrite:
            raise UsageError(f"{output} exists already", "add --overwrite, or choose another file with --output")
        if output.exists() and not _is_bundle_zip(output):
            raise UsageError(f"{output} is not a bundle, so it is not overwritten", "choose another file with --output")
    elif output.exists() and not output.is_dir():
        raise UsageError(f"{output} is a file", "choose a folder, or a name that ends with .zip, with --output")
    elif output.is_dir() and any(output.iterdir()):
        if not overwrite:
            raise UsageError(f"{output} is not empty", "add --overwrite, or choose another folder with --output")
        if not (output / MANIFEST).is_file() or not (output / "wheels").is_dir():
            raise UsageError(
                f"{output} is not a bundle, so it is not overwritten", "choose another folder with --output"
            )
    probe_writable(output.absolute().parent)


def is_zip(output: Path) -> bool:
    """Whether a bundle of this name is a zip file."""
    return output.suffix.lower() == ".zip"


def _is_bundle_zip(path: Path) -> bool:
    try:
        with zipfile.ZipFile(path) as archive:
            return any(name.endswith(f"/{MANIFEST}") for name in archive.namelist())
    except (OSError, zipfile.BadZipFile):
        return False


@contextmanager
def placed(output: Path, *, overwrite: bool) -> Iterator[Path]:
    """Yield an empty folder to build in; on success it takes the place of `output`. Raises ResourceError."""
    if not is_zip(output):
        with atomic_folder(output) as folder:
            yield folder
            if overwrite:
                remove_folder(output)  # last: until here the old one stands
            elif output.is_dir():
                output.rmdir()  # empty, as check_place saw
        return
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(prefix=f".tmp-{output.name}-", dir=output.parent) as name:
            folder = Path(name) / output.stem
            folder.mkdir()
            yield folder
            write_zip(folder, output)
    except OSError as error:
        raise cannot_write(output, error) from error


def write_zip(folder: Path, output: Path) -> None:
    """Write a folder as a zip file, under its own name, and read it back. Raises ResourceError."""
    with atomic_write(output, "w+b") as handle:
        with zipfile.ZipFile(handle, "w") as archive:
            for path in files_of(folder):
                info = member(f"{folder.name}/{path.relative_to(folder).as_posix()}")
                info.compress_type = zipfile.ZIP_STORED if path.suffix in STORED else zipfile.ZIP_DEFLATED
                info.file_size = path.stat().st_size
                with open(path, "rb") as source, archive.open(info, "w") as target:
                    shutil.copyfileobj(source, target, 1 << 20)
        with zipfile.ZipFile(handle) as archive:
            if (bad := archive.testzip()) is not None:
                raise ResourceError(f"{output}: {bad} is not as it was written", "look at the disk")


def files_of(folder: Path) -> list[Path]:
    """Every file below a folder, in the order of their paths."""
    return sorted(path for path in folder.rglob("*") if path.is_file())


def listed(folder: Path) -> dict[str, dict[str, Any]]:
    """Path in the folder -> size and sha256 of every file."""
    return {
        path.relative_to(folder).as_posix(): {"size": path.stat().st_size, "sha256": sha256_of(path)}
        for path in files_of(folder)
    }
