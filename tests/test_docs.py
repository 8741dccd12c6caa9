"""The documents are true: their commands parse, every command and key is covered, lists and tables match the code."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest

from hfkit import errors
from hfkit.cli.commands import command_names
from hfkit.cli.parse import parse
from hfkit.recipe.describe import describe
from hfkit.recipe.keys import Recipe
from hfkit.tasks import TASKS, task_class
from hfkit.verbs.guide import topics

ROOT = Path(__file__).resolve().parents[1]
READMES = [ROOT / "README.md", ROOT / "README.zh.md"]
GUIDES = sorted(topics().values())
TYPED = re.compile(r"^(?:.*?(?:-m|\.venv/bin/)\s*)?(hfkit .*)$")


def typed_commands(path: Path) -> Iterator[str]:
    """Every hfkit command in a document: lines of its code blocks, and what stands in backticks."""
    text = path.read_text(encoding="utf-8")
    blocks = re.findall(r"^```\w*\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
    for line in "\n".join(blocks).splitlines():
        if (found := TYPED.match(line)) and not line.startswith(("hfkit/", "docker ")):
            yield found[1]
    outside = re.sub(r"^```.*?^```", "", text, flags=re.DOTALL | re.MULTILINE)
    yield from re.findall(r"`(hfkit [^`]*)`", outside)


def all_keys() -> list[tuple[str, str]]:
    """(key, its line in the table of the guide) of every recipe key."""
    rows = [*describe(Recipe)]
    for name in TASKS:
        task = task_class(name)
        rows += describe(task.Settings, f"{task.name}.")
    return [
        (key.key, f"| `{key.key}` | {default_text(key.default)} | " + key.help.replace("|", r"\|") + " |")
        for key in rows
    ]


def default_text(value: object) -> str:
    """A default as a recipe writes it."""
    if "Undefined" in repr(value):
        return "(required)"
    if value is None or isinstance(value, bool | list | dict):
        return json.dumps(value)
    return str(value)


COMMANDS = sorted({(path.name, command) for path in [*READMES, *GUIDES] for command in typed_commands(path)})


@pytest.mark.parametrize(("name", "command"), COMMANDS, ids=lambda value: value)
def test_every_command_parses(name: str, command: str, capsys: pytest.CaptureFixture[str]) -> None:
    words = shlex.split(command, comments=True)[1:]
    if words[:1] and words[0] in command_names() and len(words) == 1:
        words.append("--help")  # a command that is only named
    parse(words)


def test_many_commands_were_found() -> None:
    assert len(COMMANDS) > 60
    assert {name for name, _ in COMMANDS} >= {path.name for path in GUIDES} | {"README.md", "README.zh.md"}


@pytest.mark.parametrize("command", command_names())
def test_every_command_stands_in_the_readme_and_in_a_guide(command: str) -> None:
    assert f"`hfkit {command}`" in READMES[0].read_text(encoding="utf-8")
    assert any(f"hfkit {command}" in path.read_text(encoding="utf-8") for path in GUIDES)


def test_the_readme_names_every_guide() -> None:
    text = READMES[0].read_text(encoding="utf-8")
    listed = re.search(r"shows one: (.*?)\. They", text, re.DOTALL)
    assert listed
    assert sorted(re.split(r",\s+", listed[1])) == sorted(topics())


def test_the_guide_has_a_table_of_all_keys() -> None:
    text = (ROOT / "hfkit" / "guide" / "recipes.md").read_text(encoding="utf-8")
    table = text.split("<!-- keys -->\n")[1]
    expected = "| key | default | what it does |\n|---|---|---|\n" + "".join(line + "\n" for _, line in all_keys())
    assert table == expected, f"the table at the end of hfkit/guide/recipes.md should be\n{expected}"


@pytest.mark.parametrize("path", GUIDES, ids=lambda path: path.stem)
def test_every_key_a_guide_names_exists(path: Path) -> None:
    known = {key for key, _ in all_keys()}
    sections = {key.partition(".")[0] for key in known if "." in key}
    pattern = r"\b(" + "|".join(sections) + r")\.([a-z_]+)(?:\.[a-z_]+)?(?==|`)"
    named = re.findall(pattern, path.read_text(encoding="utf-8"))
    assert {f"{section}.{key}" for section, key in named} <= known


def test_exit_codes_are_those_of_the_errors() -> None:
    kinds = {cls.kind: cls.code for cls in errors.HfkitError.__subclasses__() if cls is not errors.Stopped}
    guide = (ROOT / "hfkit" / "guide" / "errors-and-exit-codes.md").read_text(encoding="utf-8")
    readme = READMES[0].read_text(encoding="utf-8")
    for kind, code in kinds.items():
        assert f"| {code} | {kind} |" in guide
    for code in (0, 1, *kinds.values(), 75, 130, 143):
        assert re.search(rf"\b{code} [a-z]", readme.split("Exit codes:")[1])


def test_the_tree_of_the_readme_is_the_package() -> None:
    text = READMES[0].read_text(encoding="utf-8").split("## Where things are")[1]
    named = set(re.findall(r"^  ([a-z_]+(?:\.py|/)) ", text, re.MULTILINE))
    package = ROOT / "hfkit"
    folders = {f"{path.name}/" for path in package.iterdir() if path.is_dir() and path.name != "__pycache__"}
    files = {path.name for path in package.glob("[a-z]*.py")}
    assert named == folders | files


@pytest.mark.parametrize("path", [*READMES, *GUIDES], ids=lambda path: path.name)
def test_lines_are_short_enough_to_read(path: Path) -> None:
    lines = path.read_text(encoding="utf-8").splitlines()
    long = [line for line in lines if len(line) > 130 and not line.startswith(("|", "hfkit", "python3"))]
    assert long == []


def test_the_two_commands_of_the_readme_are_the_same_in_both_languages() -> None:
    english, chinese = (path.read_text(encoding="utf-8") for path in READMES)
    commands = re.findall(r"<!-- ci: \w+ -->\n```\n(.*?)\n```", english)
    assert len(commands) == 2
    assert all(command in chinese for command in commands)
