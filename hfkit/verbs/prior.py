"""What to go on with: a run, sweep or competition is known by 8 hex digits of what it was started with.

These are counted over every key of the recipe, so a changed default gives others, and so would a key that is new. A
folder that an older hfkit made is therefore asked by the keys that there were then, which its recipe.yaml holds.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hfkit.errors import UsageError
from hfkit.recipe import Recipe
from hfkit.recipe.load import as_dict, as_known, digits_of
from hfkit.run import Run, check_output, is_taken, runs_folder

NAMED = re.compile(r"-([0-9a-f]{8})(-\d+)?$")  # the end of a folder's name, perhaps with a number


@dataclass(frozen=True)
class Identity:
    """What is started: a recipe, and `digits`, which makes 8 hex digits of it as plain data and of all else that
    counts."""

    recipe: Recipe
    digits: Callable[[Mapping[str, Any]], str] = digits_of

    @property
    def suffix(self) -> str:
        """The digits, today."""
        return self.digits(as_dict(self.recipe))

    def began(self, folder: Path) -> bool:
        """Whether the run in `folder` was started with this, by whatever hfkit."""
        try:
            said = Run(folder).facts().get("identity")
        except (OSError, ValueError):  # another's run, damaged
            return False
        if said == self.suffix:
            return True
        then = as_known(self.recipe, folder / "recipe.yaml")
        return then is not None and self.digits(then) == said

    def newest(self) -> Path | None:
        """The newest run below the runs folder that was started with this; None when there is none."""
        suffix, found = self.suffix, list(_named())
        return next((path for path, digits in found if digits == suffix), None) or next(
            (path for path, _ in found if self.began(path)), None
        )


def _named() -> Iterator[tuple[Path, str]]:
    """The runs whose names hold 8 digits, newest first, and these."""
    folder = runs_folder()
    for path in sorted(folder.iterdir(), reverse=True) if folder.is_dir() else ():
        if (match := NAMED.search(path.name)) and (path / "run.json").exists():
            yield path, match[1]


def prior_of(
    identity: Identity, output: Path | None, *, resume: bool, overwrite: bool, kind: str, of: str
) -> Run | None:
    """The sweep or competition (`kind`) to go on with, if any.

    Raises UsageError when the folder holds something else; `of` says what it would have to be started with.
    """
    if not resume:
        if output is not None and is_taken(output) and not overwrite:
            raise UsageError(f"{output} is not empty", "add --resume or --overwrite, or choose another folder with -o")
        check_output(output if output is not None else runs_folder())
        return None
    path = output if output is not None else identity.newest()
    if path is None or not (path / "run.json").exists():
        return None
    if not identity.began(path):
        raise UsageError(f"{path} was started with {of}", f"start a new {kind} without --resume")
    return Run(path.absolute())
