"""KEY=VALUE words: read, refused where a command does not use them, put into a section or a recipe."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from pydantic import BaseModel

from hfkit.errors import UsageError
from hfkit.recipe.check import COMMAND_LINE, checked, hint
from hfkit.recipe.describe import is_text
from hfkit.recipe.keys import Recipe
from hfkit.recipe.section import Section
from hfkit.tasks import TASKS, task_class

# Keys of `data` that say how one set is read; the others divide a training set.
READING = ("columns", "names", "encoding", "limit", "on_bad_row", "max_bad_rows")
SCORING = ("data.group", "data.slices")  # and these say how scores of it are broken down
NULLS = ("", "null", "~")
LENGTHS = ("max_length", "block_size", "max_source_length")  # a task has one of them


def split_override(text: str) -> tuple[str, Any]:
    """("section.key", value) of "section.key=value"; the value is read as YAML. Raises UsageError.

    The value of a key that is text stands as it is, unless it is quoted, empty or says null.
    """
    from hfkit.recipe.yaml import YAMLError, parse  # not at the top: commands without overrides start 10 ms earlier

    dotted, equals, value = text.partition("=")
    if not equals or not dotted:
        raise UsageError(f"'{text}' is not KEY=VALUE", "write for example train.epochs=3")
    dotted = dotted.strip()
    # YAML makes a mapping of a colon or a brace, takes # for a comment, and drops the blank at the end of a prefix.
    if value not in NULLS and not value.lstrip().startswith(('"', "'")) and _is_text(dotted):
        return dotted, value
    try:
        return dotted, parse(value)
    except YAMLError:
        return dotted, value


def _is_text(dotted: str) -> bool:
    """Whether a key, by its full name, is text; False for a key that is not known here."""
    section, _, name = dotted.rpartition(".")
    fields: Mapping[str, Any] = Recipe.model_fields
    if section in TASKS:
        fields = task_class(section).Settings.model_fields
    elif section:
        inner = fields[section].annotation if section in fields else None
        fields = getattr(inner, "model_fields", {})
    return name in fields and is_text(fields[name])


def override_settings(settings: Section, section: str, overrides: Sequence[str], *, task: str | None = None) -> Section:
    """A section with the overrides that name it; of a task's own it is the task's name. Raises UsageError.

    `task` is the one whose recipe the error's hint shows, where the section is no task's own.
    """
    values = settings.model_dump()
    for dotted, value in own_keys(map(split_override, overrides), section, type(settings)):
        if dotted.partition(".")[0] == section:
            assign(values, dotted.partition(".")[2], value)
    found, problems = checked(type(settings), values, COMMAND_LINE, prefix=f"{section}.")
    if problems or found is None:
        raise UsageError("\n".join(problems), hint(task or section))
    return found


def section_from_overrides(
    model: type[Section], section: str, overrides: Sequence[str], *, task: str | None = None
) -> Any:
    """A section (Generate, Data, ...) from its defaults and the overrides that name it. Raises UsageError."""
    return override_settings(model(), section, overrides, task=task)


def check_override_sections(overrides: Sequence[str], allowed: Sequence[str]) -> None:
    """Refuse overrides that a command does not use, instead of ignoring them. Raises UsageError.

    `allowed` are sections and single keys; of `data` a command that names it takes what says how a set is read.
    """
    for dotted, _ in map(split_override, overrides):
        head, _, rest = dotted.partition(".")
        if dotted in allowed:
            continue
        if head == "data" and rest.partition(".")[0] not in READING:
            known = [*(f"data.{key}" for key in READING), *(key for key in allowed if key.startswith("data."))]
            keys = ", ".join(known)
            raise UsageError(f"'{dotted}' has no effect on this command", f"of data, these have: {keys}")
        if head not in allowed:
            raise UsageError(
                f"'{dotted}' has no effect on this command", f"keys of these sections do: {', '.join(allowed)}"
            )


def check_scoring_keys(overrides: Sequence[str], section: str, settings: type[Section]) -> None:
    """Refuse overrides that do nothing where answers which were given before are scored. Raises UsageError.

    `section` and `settings` are the task's.
    """
    check_override_sections(overrides, (section, "data", *SCORING))
    if settings.of_scoring is None:
        return
    kinds = (kind for kind in settings.__mro__ if issubclass(kind, Section) and "of_scoring" in vars(kind))
    declared = next(kinds).model_fields  # a user's subclass may add keys, which may act
    acting = [f"{section}.{name}" for name in sorted(settings.of_scoring)]
    for dotted, _ in map(split_override, overrides):
        head, name = (*dotted.split("."), "")[:2]
        if head == section and name in declared and f"{head}.{name}" not in acting:
            raise UsageError(
                f"'{dotted}' acts where a model answers: the answers are given here",
                f"answer anew: hfkit eval MODEL --data D {dotted}=...; here these act: {', '.join(acting) or 'none'}",
            )


def own_keys(pairs: Iterable[tuple[str, Any]], section: str, settings: type[BaseModel]) -> list[tuple[str, Any]]:
    """The pairs by the task's own keys. Raises UsageError for two spellings of one key that say different things."""
    found: list[tuple[str, Any]] = []
    spelled: dict[str, tuple[str, Any]] = {}
    for dotted, value in pairs:
        own = own_key(dotted, section, settings)
        before, said = spelled.setdefault(own, (dotted, value))
        if before != dotted and said != value:
            raise two_spellings(f"{before}={said}", f"{dotted}={value}")
        found.append((own, value))
    return found


def own_key(dotted: str, section: str, settings: type[BaseModel]) -> str:
    """`max_length` alone stands for the task's own length key."""
    if dotted != "max_length":
        return dotted
    own = next((name for name in LENGTHS if name in settings.model_fields), "max_length")
    return f"{section}.{own}"


def two_spellings(one: str, other: str) -> UsageError:
    """The error for two KEY=VALUE words that are about one key."""
    return UsageError(f"{one} and {other}: two spellings of one key", "give it once (--max-length is max_length)")


def assign(values: dict[str, Any], dotted: str, value: Any) -> list[str]:
    """Put a value at section.key (data.columns.NAME is a third level); returns problems."""
    parts = dotted.split(".", 2)
    target = values
    for part in parts[:-1]:
        inner = target.get(part)
        if inner is None:
            inner = target[part] = {}
        if not isinstance(inner, dict):
            return [f"command line: '{part}' in '{dotted}' is not a section"]
        inner = target[part] = dict(inner)
        target = inner
    target[parts[-1]] = value
    return []
