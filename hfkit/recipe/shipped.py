"""Where recipes are found: a path, then ./recipes, then the ones shipped with hfkit."""

from __future__ import annotations

import difflib
from pathlib import Path

from hfkit.errors import UsageError

SUFFIXES = (".yaml", ".yml")


def shipped_folder() -> Path:
    """The folder of shipped recipes: inside the wheel, or at the top of a source checkout."""
    package = Path(__file__).resolve().parent.parent
    inside = package / "recipes"
    return inside if inside.is_dir() else package.parent / "recipes"


def shipped() -> list[Path]:
    """All shipped recipes, by name."""
    return sorted(shipped_folder().glob("*.yaml"))


def looks_like_path(name: str) -> bool:
    """Whether the user means a file rather than the name of a recipe."""
    return "/" in name or "\\" in name or name.startswith((".", "~")) or name.endswith(SUFFIXES)


def find_recipe(name: str) -> Path:
    """The file of a recipe. Raises UsageError with the nearest names."""
    path = Path(name).expanduser()
    if path.is_file():
        return path
    if looks_like_path(name):
        raise UsageError(f"no recipe file '{name}'", "see the shipped ones with `hfkit recipes list`")
    for folder in (Path("recipes"), shipped_folder()):
        for suffix in SUFFIXES:
            candidate = folder / (name + suffix)
            if candidate.is_file():
                return candidate
    near = difflib.get_close_matches(name, [p.stem for p in shipped()], n=1)
    meant = f"did you mean '{near[0]}'? " if near else ""
    raise UsageError(f"no recipe named '{name}'", f"{meant}see them all with `hfkit recipes list`")
