"""From a recipe's name and overrides to a checked Recipe, and back to text; recipe/check.py says what is wrong."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from hfkit.errors import UsageError
from hfkit.recipe.check import COMMAND_LINE, checked, hint
from hfkit.recipe.keys import Recipe, Tricks
from hfkit.recipe.overrides import assign, own_keys, split_override
from hfkit.recipe.shipped import MAX_BYTES, find_recipe
from hfkit.tasks import TASKS, task_class

SHAPE = "a recipe is a YAML file; see one with `hfkit recipes show qa`"
# What decides when to save or whom to tell, not what is computed: left out of a run's identity.
CADENCE = ("save_steps", "save_minutes", "keep_checkpoints", "trackers")
ON_THE_WAY = ("eval_steps", "micro_batch_size", "time")  # may change between two attempts of a run, and are said then


def load(name: str, overrides: Sequence[str] = ()) -> Recipe:
    """Read the recipe `name` (a path or a shipped name) and apply "section.key=value" overrides, later ones winning.

    The pseudo key `max_length` means the task's own length key. Raises UsageError listing all problems.
    """
    path = find_recipe(name)
    return build(read_mapping(path), overrides, name=path.stem, where=str(path))


def build(
    values: Mapping[str, Any], overrides: Sequence[str] = (), *, name: str = "recipe", where: str = "recipe"
) -> Recipe:
    """Check plain data as a recipe. Raises UsageError listing all problems."""
    merged = {k: dict(v) if isinstance(v, Mapping) else v for k, v in values.items()}
    pairs = [split_override(text) for text in overrides]
    task_name = next((v for k, v in reversed(pairs) if k == "task"), merged.get("task"))
    if not isinstance(task_name, str):
        raise UsageError(f"{where}: 'task' is missing", f"give it as task: {' | '.join(TASKS)}")
    task = task_class(task_name)
    problems: list[str] = []
    own_pairs = own_keys(pairs, task.name, task.Settings)
    for dotted, value in own_pairs:
        problems += assign(merged, dotted, value)
    for section in set(TASKS) - {task.name}:
        if section in merged:
            place = where if section in values else COMMAND_LINE
            problems.append(f"{place}: '{section}' holds keys of another task; this recipe's task is {task.name}")
            del merged[section]
    section_values = merged.pop(task.name, None)
    if "name" in merged:
        problems.append(
            f"{where if 'name' in values else COMMAND_LINE}: unknown key 'name' (a recipe's name is its file's)"
        )
    if "settings" in merged:
        problems.append(f"{where}: unknown key 'settings' (the section of the task is called '{task.name}')")
        del merged["settings"]
    typed = {dotted for dotted, _ in own_pairs}
    settings, found = checked(task.Settings, section_values or {}, where, prefix=f"{task.name}.", typed=typed)
    problems += found
    recipe, found = checked(
        Recipe, {**merged, "name": name, "settings": settings or task.Settings()}, where, task=task.name, typed=typed
    )
    problems += found
    if problems or recipe is None:
        raise UsageError("\n".join(problems), hint(task.name))
    return recipe


def read_mapping(path: Path) -> dict[str, Any]:
    """The plain data of a recipe file. Raises UsageError naming the line."""
    from hfkit.recipe.yaml import YAMLError, parse

    try:
        if path.stat().st_size > MAX_BYTES:
            raise UsageError(f"{path}: larger than {MAX_BYTES:,} bytes, so not a recipe", SHAPE)
        values = parse(path.read_text(encoding="utf-8-sig"))
    except YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f":{mark.line + 1}:{mark.column + 1}" if mark else ""
        raise UsageError(f"{path}{line}: {getattr(error, 'problem', None) or 'not YAML'}", SHAPE) from error
    except (UnicodeDecodeError, OSError, RecursionError) as error:
        raise UsageError(f"{path}: cannot be read as a recipe ({error})", SHAPE) from error
    if not isinstance(values, dict) or not all(isinstance(k, str) for k in values):
        raise UsageError(f"{path}: a recipe is a mapping of keys to values", SHAPE)
    return values


def as_dict(recipe: Recipe) -> dict[str, Any]:
    """The recipe as plain data in the file's own shape: the task's section under the task's name."""
    values = recipe.model_dump(mode="json", exclude={"name", "settings"})
    section = {task_class(recipe.task).name: recipe.settings.model_dump(mode="json")}
    tail = ("train", "lora", "tricks", "generate", "scratch")
    head = {k: v for k, v in values.items() if k not in tail}
    return {**head, **section, **{k: values[k] for k in tail}}


def dump(recipe: Recipe) -> str:
    """YAML text with every default written out; `load` reads it back to an equal recipe."""
    from hfkit.recipe import yaml

    return yaml.dump(as_dict(recipe))


def identity(recipe: Recipe) -> str:
    """8 hex digits of what the recipe computes: without cadence and trackers."""
    return digits_of(as_dict(recipe))


def digits_of(values: Mapping[str, Any]) -> str:
    """`identity` of a recipe as plain data."""
    computed = {**values, "train": {k: v for k, v in values["train"].items() if k not in CADENCE}}
    return hashlib.sha256(json.dumps(computed, sort_keys=True).encode()).hexdigest()[:8]


def as_known(recipe: Recipe, path: Path) -> dict[str, Any] | None:
    """The recipe as plain data, of the keys that the file at `path` has: those of the hfkit that wrote it.

    None where a key that it lacks says something here, and where it cannot be read.
    """
    try:
        known = read_mapping(path)
    except UsageError:
        return None
    now, plain = as_dict(recipe), as_dict(build({"task": recipe.task}))
    if (found := _among(known, now, plain)) is None:
        return None
    sections = {k: _among(known[k], v, plain[k]) for k, v in found.items() if isinstance(v, Mapping)}
    if None in sections.values():
        return None
    if (tricks := sections.get("tricks")) is not None:  # a default may have changed since, of what changes nothing
        tricks |= {key: known["tricks"][key] for key in recipe.tricks.idle() if key in tricks}
    return {**found, **sections}


def _among(known: Any, values: Mapping[str, Any], plain: Mapping[str, Any]) -> dict[str, Any] | None:
    """`values` of the keys that are `known`; None where another is not `plain`, its default."""
    if not isinstance(known, Mapping) or any(values[key] != plain[key] for key in values if key not in known):
        return None
    return {key: value for key, value in values.items() if key in known}


def differences(values: Mapping[str, Any], path: Path) -> tuple[list[str], list[str]]:
    """What a recipe computes differently from the one at `path`, as lines `key: then -> now`; cadence is left out.

    Two lists: what a run cannot go on with, and what it can.
    """
    # Read as a recipe, so that a key which a file is too old to have stands there with what it means.
    before = build(read_mapping(path), where=str(path))
    then, now = flat(as_dict(before)), flat(values)
    idle = set(before.tricks.idle()) & set(Tricks(**values["tricks"]).idle())
    ignored = {*(f"train.{key}" for key in CADENCE), *(f"tricks.{key}" for key in idle)}
    keys = [k for k in {**then, **now} if k not in ignored and then.get(k) != now.get(k)]
    mild = {f"train.{key}" for key in ON_THE_WAY}
    lines = {k: f"{k}: {then.get(k)!r} -> {now.get(k)!r}" for k in keys}
    return [lines[k] for k in keys if k not in mild], [lines[k] for k in keys if k in mild]


def flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested keys as `section.key`."""
    found: dict[str, Any] = {}
    for name, value in values.items():
        found |= flat(value, f"{prefix}{name}.") if isinstance(value, Mapping) and value else {f"{prefix}{name}": value}
    return found
