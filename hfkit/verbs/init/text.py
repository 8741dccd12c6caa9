"""A draft as the text of a recipe: one key a line, each with the reason why, keys to think of as comments."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from hfkit.recipe.overrides import LENGTHS, split_override
from hfkit.recipe.yaml import parse
from hfkit.tasks import TASKS, task_class

SECTIONS = ("data", *TASKS, "train", "lora", "tricks", "generate", "scratch")
COLUMN = 34  # where comments begin, if there is room


@dataclass(frozen=True, slots=True)
class Line:
    """One key of a recipe, with its reason; `on` False writes it as a comment, to be switched on."""

    key: str
    value: Any
    why: str = ""
    on: bool = True


@dataclass(slots=True)
class Draft:
    """A recipe in the making: the lines that open it, its keys in any order, and lines for the user."""

    task: str
    about: list[str] = field(default_factory=list)
    lines: list[Line] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)  # flags of a script that have no meaning here
    after: list[str] = field(default_factory=list)  # words behind `hfkit finetune recipe.yaml`
    more: list[str] = field(default_factory=list)  # commands that come after it; {recipe} is its file

    def add(self, key: str, value: Any, why: str = "", *, on: bool = True) -> None:
        """One more key."""
        self.lines.append(Line(key, value, why, on))

    def commands(self, recipe: str) -> list[str]:
        """What to type with the recipe in the file `recipe`."""
        return [" ".join(["hfkit finetune", recipe, *self.after]), *(text.format(recipe=recipe) for text in self.more)]


def recipe_text(made: Draft, name: str, overrides: Sequence[str]) -> str:
    """The text of the recipe; `overrides` replace or add keys."""
    given = dict(map(split_override, overrides))
    if isinstance(columns := given.pop("data.columns", None), dict):
        given |= {f"data.columns.{name}": column for name, column in columns.items()}
    lines = [line for line in made.lines if not any(_covers(key, line.key) for key in given)]
    lines += [Line(key if key != "max_length" else f"{made.task}.{_length(made.task)}", value, "as given")
              for key, value in given.items() if key not in ("task", "model")]  # fmt: skip
    head = [f"# {command}" for command in made.commands(name)[:1]] + [f"# {text}" for text in made.about]
    top = [line for line in lines if "." not in line.key and line.key != "model"]
    model = [Line("model", given["model"], "as given")] if "model" in given else []
    model += [line for line in lines if line.key == "model"]
    body = [_shown(line.key, line, 0) for line in [Line("task", made.task), *model[:1], *top]]
    for section in SECTIONS:
        body += _section(section, [line for line in lines if line.key.startswith(section + ".")])
    return "\n".join([*head, *body]) + "\n"


def scalar(value: Any) -> str:
    """A value on one line that the recipe's reader takes back to the same value."""
    if isinstance(value, str):
        plain = re.fullmatch(r"[\w./][\w./@+~-]*(:[\w./@+~-]+)*", value) and parse(value) == value
        return value if plain else json.dumps(value, ensure_ascii=False)
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(map(scalar, value)) + "]"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{scalar(key)}: {scalar(part)}" for key, part in value.items()) + "}"
    if isinstance(value, float):
        return f"{value:g}" if float(f"{value:g}") == value else repr(value)
    return json.dumps(value)


def _section(name: str, lines: Sequence[Line]) -> list[str]:
    """A section's lines; one that holds comments alone is a comment as a whole."""
    if not lines:
        return []
    shown = [f"{name}:"] if any(line.on for line in lines) else [f"# {name}:"]
    inner = [line for line in lines if line.key.startswith(f"{name}.columns.")]
    for line in lines:
        if line not in inner:
            shown.append(_shown(line.key.split(".", 1)[1], line, 2))
        elif line is inner[0]:
            shown += ["  columns:", *(_shown(each.key.split(".", 2)[2], each, 4) for each in inner)]
    return shown


def _shown(key: str, line: Line, indent: int) -> str:
    text = f"{' ' * indent if line.on else '# ' + ' ' * indent}{scalar(key)}: {scalar(line.value)}"
    return f"{text:<{COLUMN}}  # {line.why}" if line.why else text


def _covers(given: str, key: str) -> bool:
    return given in (key, "max_length" if key.rpartition(".")[2] in LENGTHS else key)


def _length(task: str) -> str:
    """The task's own length key, which `max_length` stands for."""
    return next(name for name in LENGTHS if name in task_class(task).Settings.model_fields)
