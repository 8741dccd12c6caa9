"""The manifest of a checkpoint folder: size and sha256 of every file, and its own digest: no damage is silent."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from hfkit.files import sha256_of, sync_tree, write_json
from hfkit.run import digest

MANIFEST = "manifest.json"
NEEDED = ("config.json", "optimizer.safetensors", "state.json")  # besides the weights, which may be several files


def step_name(step: int) -> str:
    """The name of a checkpoint's folder."""
    return f"step-{step:08d}"


def write_manifest(folder: Path, facts: Mapping[str, Any]) -> None:
    """Sync what is in `folder`, then write its manifest, which opens with `facts` ("step" among them)."""
    sync_tree(folder)
    listed = {**facts, "files": dict(_files(folder))}
    write_json(folder / MANIFEST, {**listed, "digest": digest(listed)})


def _files(folder: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    for path in sorted(p for p in folder.rglob("*") if p.is_file()):
        yield path.relative_to(folder).as_posix(), {"size": path.stat().st_size, "sha256": sha256_of(path)}


def problem_of(path: Path, *, thorough: bool = True, named: bool = False) -> str | None:
    """Why a checkpoint cannot be trusted; None when every file is as its manifest says.

    Without `thorough` the sizes are compared and not the contents, which is quick; `named` wants the folder to have
    the name of its step too.
    """
    try:
        manifest = json.loads((path / MANIFEST).read_text(encoding="utf-8"))
        whole = manifest.pop("digest") == digest(manifest)
        known = {name: (int(facts["size"]), str(facts["sha256"])) for name, facts in manifest["files"].items()}
        name = step_name(int(manifest["step"]))
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return f"no readable {MANIFEST}"
    if not whole:
        return f"{MANIFEST} differs from its own digest"
    if named and path.name != name:
        return f"{MANIFEST} is of {name}"
    if not set(NEEDED) <= set(known):
        return f"{MANIFEST} does not list {', '.join(sorted(set(NEEDED) - set(known)))}"
    problems = (f"{name} {wrong}" for name, facts in known.items() if (wrong := _wrong(path / name, facts, thorough)))
    return next(problems, None)


def _wrong(target: Path, facts: tuple[int, str], thorough: bool) -> str | None:
    """How a file differs from its (bytes, sha256)."""
    size, sha256 = facts
    try:
        found = target.stat().st_size if target.is_file() else None
        if found is None:
            return "is missing"
        if found != size:
            return f"has {found:,} bytes instead of {size:,}"
        return "differs from its sha256" if thorough and sha256_of(target) != sha256 else None
    except OSError as error:
        return f"cannot be read ({error.strerror or error})"
