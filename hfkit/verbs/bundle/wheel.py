"""Wheels written from files: of an installed package by its RECORD, and of hfkit from wherever it runs.

No network and no build tool is needed, and equal files give equal bytes. Source: PyPA's binary distribution format and
the recording of installed projects.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import sys
import zipfile
from collections.abc import Iterable, Mapping
from importlib.metadata import Distribution, PackagePath
from pathlib import Path, PurePosixPath

from packaging.tags import Tag, parse_tag

from hfkit.errors import ResourceError, UsageError
from hfkit.files import atomic_write

EPOCH = (1980, 1, 1, 0, 0, 0)  # the oldest time that a zip file can say
OF_INSTALLER = ("RECORD", "INSTALLER", "REQUESTED", "direct_url.json", "RECORD.jws", "RECORD.p7s", "uv_cache.json")
ENTRY_GROUPS = ("console_scripts", "gui_scripts")  # the installer makes their scripts anew
Contents = Mapping[str, Path | bytes]  # path inside the wheel -> a file, or its content


def tags_of(dist: Distribution) -> frozenset[Tag]:
    """The interpreters and platforms that an installed package is for. Raises UsageError when it does not say."""
    tags = [line.partition(":")[2].strip() for line in wheel_lines(dist) if line.startswith("Tag:")]
    if not tags:
        raise UsageError(f"{label(dist)} was not installed from a wheel, so it cannot be bundled", again(dist))
    return frozenset(tag for text in tags for tag in parse_tag(text))


def wheel_lines(dist: Distribution) -> list[str]:
    """The lines of the file WHEEL."""
    return (dist.read_text("WHEEL") or "").splitlines()


def is_pure(dist: Distribution) -> bool:
    """Whether a package runs on every platform: no compiled part, by its tags; one that does not say may have some."""
    if not any(line.startswith("Tag:") for line in wheel_lines(dist)):
        return False
    return all(tag.abi == "none" and tag.platform == "any" for tag in tags_of(dist))


def label(dist: Distribution) -> str:
    """Name and version, for messages."""
    return f"{dist.metadata['Name']} {dist.version}"


def again(dist: Distribution) -> str:
    """The command that puts a package right."""
    return f"`pip install --force-reinstall --no-deps {dist.metadata['Name']}=={dist.version}`"


def rebuilt(dist: Distribution, folder: Path) -> tuple[Path, list[str]]:
    """Write the wheel of an installed package into `folder`; its path, and the files that are not as installed.

    Raises UsageError for a package that is installed in place (editable) or incomplete, ResourceError.
    """
    place = json.loads(dist.read_text("direct_url.json") or "{}")
    if place.get("dir_info", {}).get("editable"):
        raise UsageError(
            f"{label(dist)} is installed from the folder {place.get('url')} in place, so there is no wheel of it",
            "install it as a package: pip install FOLDER",
        )
    recorded = dist.files
    if not recorded:
        raise UsageError(f"{label(dist)} has no list of its files (RECORD), so it cannot be bundled", again(dist))
    contents: dict[str, Path | bytes] = {}
    changed = []
    for item in recorded:
        path = Path(str(item.locate()))
        inside = place_inside(dist, item, path)
        if inside is None:
            continue
        if not path.is_file():
            raise UsageError(f"{label(dist)}: its file {item} is missing", again(dist))
        content: Path | bytes = path
        if ".data/scripts/" in inside:
            content = for_any_interpreter(path.read_bytes())
        elif item.hash is not None and digest(path.read_bytes(), item.hash.mode) != item.hash.value:
            changed.append(str(item))
        contents[inside] = content
    return write_wheel(folder, info_name(recorded), tags_of(dist), contents), changed


def place_inside(dist: Distribution, item: PackagePath, path: Path) -> str | None:
    """Where an installed file stands in the wheel; None for what the installer made. Raises UsageError."""
    parts = item.parts
    if "__pycache__" in parts or item.suffix == ".pyc":
        return None
    if parts[0] != "..":
        made = len(parts) == 2 and parts[0].endswith(".dist-info") and parts[1] in OF_INSTALLER
        return None if made else item.as_posix()
    data = f"{info_name(dist.files or ())}.data"
    if path.parent.name in ("bin", "Scripts"):
        made_here = {entry.name for entry in dist.entry_points if entry.group in ENTRY_GROUPS}
        stem = re.sub(r"(-script\.pyw?|\.exe)(\.manifest)?$", "", path.name)
        return None if stem in made_here else f"{data}/scripts/{path.name}"
    prefix = next(
        (Path(p) for p in (sys.prefix, sys.base_prefix) if path.resolve().is_relative_to(Path(p).resolve())), None
    )
    if prefix is None:
        raise UsageError(f"{label(dist)}: its file {path} stands outside of Python's folders", again(dist))
    return f"{data}/data/{path.resolve().relative_to(prefix.resolve()).as_posix()}"


def for_any_interpreter(script: bytes) -> bytes:
    """A script whose first line names this interpreter, as a wheel has it."""
    first, newline, rest = script.partition(b"\n")
    return b"#!python" + newline + rest if first.startswith(b"#!") and b"python" in first else script


def info_name(recorded: Iterable[PackagePath | PurePosixPath]) -> str:
    """`name-version`, as the folder of a package's metadata says it."""
    folder = next(
        item.parts[0] for item in recorded if item.name == "METADATA" and item.parts[0].endswith(".dist-info")
    )
    return folder.removesuffix(".dist-info")


def write_wheel(folder: Path, info: str, tags: Iterable[Tag], contents: Contents) -> Path:
    """Write `contents` and their RECORD as a wheel into `folder`; `info` is `name-version`. Raises ResourceError."""
    name, _, version = info.rpartition("-")
    path = folder / f"{re.sub(r'[-_.]+', '_', name).lower()}-{version}-{compressed(tags)}.whl"
    record = f"{info}.dist-info/RECORD"
    lines = []
    with atomic_write(path, "wb") as handle, zipfile.ZipFile(handle, "w", zipfile.ZIP_DEFLATED) as archive:
        for inside in sorted(contents, key=lambda inside: (inside.startswith(f"{info}.dist-info/"), inside)):
            content = contents[inside]
            runs = ".data/scripts/" in inside or (isinstance(content, Path) and bool(content.stat().st_mode & 0o111))
            data = content if isinstance(content, bytes) else content.read_bytes()
            archive.writestr(member(inside, executable=runs), data)
            lines.append(f"{quoted(inside)},sha256={digest(data, 'sha256')},{len(data)}")
        archive.writestr(member(record), "".join(f"{line}\n" for line in [*lines, f"{quoted(record)},,"]))
    with zipfile.ZipFile(path) as archive:
        if (bad := archive.testzip()) is not None:
            raise ResourceError(f"{path}: {bad} is not as it was written", "look at the disk")
    return path


def member(inside: str, *, executable: bool = False) -> zipfile.ZipInfo:
    """A member of a zip file whose bytes depend on its content alone."""
    info = zipfile.ZipInfo(inside, EPOCH)
    info.compress_type = zipfile.ZIP_DEFLATED
    info.create_system = 3  # Unix, whose modes these are
    info.external_attr = (0o100755 if executable else 0o100644) << 16
    return info


def compressed(tags: Iterable[Tag]) -> str:
    """Tags as a file name says them, `py2.py3-none-any`: the interpreters, ABIs and platforms, each joined by dots."""
    kept = list(tags)
    axes = ([tag.interpreter for tag in kept], [tag.abi for tag in kept], [tag.platform for tag in kept])
    return "-".join(".".join(sorted(set(axis))) for axis in axes)


def digest(data: bytes, method: str) -> str:
    """A hash as RECORD writes it: base64 for URLs, without padding."""
    return base64.urlsafe_b64encode(hashlib.new(method, data).digest()).rstrip(b"=").decode()


def quoted(text: str) -> str:
    """A cell of a CSV file."""
    return '"' + text.replace('"', '""') + '"' if any(mark in text for mark in ',"\n') else text
