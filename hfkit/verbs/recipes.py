"""`recipes list | show | copy`: the recipes there are, what they say, and a copy to change."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from hfkit.errors import UsageError
from hfkit.events import Event
from hfkit.files import cannot_write, write_text
from hfkit.recipe.describe import describe
from hfkit.recipe.keys import Recipe
from hfkit.recipe.load import as_dict, load
from hfkit.recipe.shipped import SUFFIXES, find_recipe, shipped
from hfkit.tasks import task_class


def list_recipes() -> Iterator[Event]:
    """Recipes in ./recipes first (they win over shipped ones of the same name), then the shipped ones."""
    here = Path("recipes")
    own = sorted(path for path in here.iterdir() if path.suffix in SUFFIXES) if here.is_dir() else []
    found: dict[str, dict[str, Any]] = {}
    for path in [*own, *shipped()]:
        if path.stem in found:
            continue
        try:
            recipe = load(str(path))
        except UsageError as error:
            yield Event("warning", {"text": f"{path}: not a recipe: {error.message.splitlines()[0]}"})
            continue
        found[path.stem] = {
            "name": path.stem,
            "task": recipe.task,
            "model": recipe.model,
            "about": about(path),
            "path": str(path.absolute()),
        }
    if found:
        yield Event("next", {"commands": [f"hfkit recipes show {next(iter(found))}"]})
    yield Event("result", {"recipes": sorted(found.values(), key=lambda recipe: recipe["name"])})


def show_recipe(name: str, *, keys: bool = False, overrides: Sequence[str] = ()) -> Iterator[Event]:
    """A recipe's text as it stands in its file; with `keys` every key and its value here."""
    path = find_recipe(name)
    recipe = load(name, overrides)
    fields: dict[str, Any] = {"name": path.stem, "path": str(path.absolute()), "recipe": as_dict(recipe)}
    if keys:
        fields["keys"] = all_keys(recipe)
    else:
        if overrides:
            raise UsageError(
                "--set changes no text of a recipe's file", f"see its effect with `hfkit recipes show {name} --keys`"
            )
        fields["text"] = path.read_text(encoding="utf-8-sig")
    yield Event("result", fields)


def copy_recipe(name: str, path: Path | None = None) -> Iterator[Event]:
    """Copy a recipe's file, comments and all. Raises UsageError when the target exists, ResourceError."""
    source = find_recipe(name)
    target = path or Path(f"{source.stem}.yaml")
    if target.is_dir():
        target = target / f"{source.stem}.yaml"
    if target.suffix not in SUFFIXES:
        raise UsageError(
            f"{target}: a recipe's file ends in .yaml", f"copy it with `hfkit recipes copy {source.stem} {target}.yaml`"
        )
    if target.exists():
        raise UsageError(f"{target} is there already", "give another name as the second argument")
    try:
        write_text(target, source.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise cannot_write(target, error) from error
    yield Event("saved", {"what": "recipe", "path": str(target)})
    yield Event("next", {"commands": [f"hfkit finetune {shlex.quote(str(target))}"]})
    yield Event("result", {"name": target.stem, "path": str(target.absolute())})


def all_keys(recipe: Recipe) -> list[dict[str, Any]]:
    """Every key of the recipe: dotted name, value here, type, range, default (null where none), one line of help."""
    values = as_dict(recipe)
    task = task_class(recipe.task)
    described = [*describe(Recipe), *describe(task.Settings, f"{task.name}.")]
    found = []
    for key in described:
        value: Any = values
        for part in key.key.split("."):
            value = value[part]
        default = None if key.required else key.default
        shown = {"type": key.type, "range": key.range or None, "default": default, "required": key.required}
        found.append({"key": key.key, "value": value, **shown, "help": key.help})
    return found


def about(path: Path) -> str:
    """The first sentence of the comment that opens a recipe, which is not a command line."""
    for line in path.read_text(encoding="utf-8-sig").splitlines():
        text = line.lstrip("# ").strip()
        if not line.startswith("#"):
            break
        if text and not text.startswith("hfkit "):
            return text
    return ""
