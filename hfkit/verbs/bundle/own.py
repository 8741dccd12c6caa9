"""hfkit's own wheel: rebuilt where it was installed as a package, else made of the source tree that runs."""

from __future__ import annotations

import tomllib
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path

from packaging.requirements import Requirement
from packaging.tags import parse_tag

import hfkit
from hfkit.errors import UsageError
from hfkit.recipe.shipped import shipped_folder
from hfkit.verbs.bundle.wheel import info_name, rebuilt, write_wheel

AGAIN = "install it again: pip install -e . (in a checkout), or `pip install hfkit`"
FROM_METADATA = ("METADATA", "WHEEL", "entry_points.txt")


def own_distribution() -> Distribution:
    """The metadata of the hfkit that runs. Raises UsageError when there is none, or it is of another version."""
    try:
        found = distribution("hfkit")
    except PackageNotFoundError as error:
        raise UsageError(
            "hfkit runs from a folder without being installed, so no wheel of it can be made", AGAIN
        ) from error
    if found.version != hfkit.__version__:
        raise UsageError(f"hfkit {hfkit.__version__} runs, but {found.version} is installed", AGAIN)
    return found


def own_wheel(folder: Path) -> tuple[Path, list[str]]:
    """Write hfkit's wheel into `folder`: its path, and the files that are not as installed. Raises HfkitError."""
    dist = own_distribution()
    package = Path(hfkit.__file__).resolve().parent
    recorded = dist.files or []
    start = next((item for item in recorded if item.as_posix() == "hfkit/__init__.py"), None)
    if start is not None and Path(str(start.locate())).resolve() == package / "__init__.py":
        return rebuilt(dist, folder)
    check_dependencies(dist, package.parent / "pyproject.toml")
    contents: dict[str, Path | bytes] = {f"hfkit/{inside}": path for inside, path in sources(package)}
    contents |= {f"hfkit/recipes/{inside}": path for inside, path in sources(shipped_folder())}
    info = info_name(recorded)
    for item in recorded:
        if item.parts[0] == f"{info}.dist-info" and (item.name in FROM_METADATA or len(item.parts) > 2):
            contents[item.as_posix()] = Path(str(item.locate()))
    return write_wheel(folder, info, parse_tag("py3-none-any"), contents), []


def sources(folder: Path) -> list[tuple[str, Path]]:
    """Every file below a folder by its path in it; no caches, nothing hidden."""
    found = ((path.relative_to(folder), path) for path in sorted(folder.rglob("*")) if path.is_file())
    return [
        (inside.as_posix(), path)
        for inside, path in found
        if path.suffix != ".pyc" and not any(part.startswith(".") or part == "__pycache__" for part in inside.parts)
    ]


def check_dependencies(dist: Distribution, project: Path) -> None:
    """The metadata of a source tree is as old as its installation: what it asks for may have changed since."""
    if not project.is_file():
        return
    asked = tomllib.loads(project.read_text(encoding="utf-8"))["project"]["dependencies"]
    known = [text for text in dist.requires or () if "extra ==" not in text]
    if {str(Requirement(text)) for text in asked} != {str(Requirement(text)) for text in known}:
        raise UsageError(f"{project} asks for other packages than when hfkit was installed", AGAIN)
