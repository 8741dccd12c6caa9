"""Where recipes are found: a path, then ./recipes, then the ones shipped with hfkit."""

from __future__ import annotations

import difflib
import re
import shlex
from pathlib import Path

from hfkit.errors import UsageError
from hfkit.files import ends_as_data

SUFFIXES = (".yaml", ".yml")
MAX_BYTES = 50_000  # of a recipe


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
    if ends_as_data(name) and not _holds_recipe(path):
        shown = shlex.quote(name)
        raise UsageError(
            f"'{name}' is no recipe but data by its name",
            f"name a recipe, as in `hfkit finetune classify --train {shown}`; `hfkit init {shown}` writes one for it",
        )
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


def _holds_recipe(path: Path) -> bool:
    """Whether a file with a name as data has it holds a recipe: YAML may be written as JSON, in a .txt too."""
    try:
        with path.open(encoding="utf-8-sig") as handle:
            return re.search(r"""(?m)^[\s{,]*["']?task["']?\s*:""", handle.read(MAX_BYTES)) is not None
    except (OSError, UnicodeDecodeError):
        return False
