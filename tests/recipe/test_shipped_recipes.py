"""Every shipped recipe loads, opens with its command, and says score, time and memory."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from hfkit.cli.parse import parse
from hfkit.recipe.load import load
from hfkit.recipe.shipped import shipped
from hfkit.tasks import TASKS
from hfkit.verbs.recipes import about, list_recipes

RECIPES = shipped()
NAMED = {
    "quickstart", "quickstart-zh", "qa", "nli", "classify", "lm", "squad", "squad2", "snli", "mnli", "sst2",
    "banking77", "wikitext2", "tinyshakespeare", "cmrc2018", "ocnli", "seq2seq", "multi30k", "qa-generation",
}  # fmt: skip


def header(path: Path) -> list[str]:
    """The comment that opens a recipe, without its marks."""
    lines = path.read_text(encoding="utf-8").splitlines()
    return [line.lstrip("#").strip() for line in lines[: next(i for i, line in enumerate(lines) if line[:1] != "#")]]


def test_the_promised_recipes_are_there() -> None:
    assert {path.stem for path in RECIPES} >= NAMED


def test_every_task_has_a_recipe_of_its_name() -> None:
    assert {path.stem for path in RECIPES} >= set(TASKS)


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_it_loads_and_opens_with_its_command(path: Path) -> None:
    recipe = load(str(path))
    lines = header(path)
    assert lines[0].startswith(f"hfkit finetune {path.stem}")
    assert recipe.name == path.stem
    if recipe.data.train is None:
        assert "--train FILE" in lines[0]
    assert about(path) == lines[1]


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_its_commands_parse(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = [match for line in header(path) for match in re.findall(r"(?:^|: )(hfkit .*)$", line)]
    assert found
    for command in found:
        parse(shlex.split(command)[1:])


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_it_names_score_time_and_memory(path: Path) -> None:
    text = "\n".join(header(path))
    for word in ("Expected score", "Time", "Memory"):
        assert re.search(rf"^{word}: \S", text, re.MULTILINE), word


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_it_is_listed_with_what_it_is(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    listed = {item["name"]: item for item in list(list_recipes())[-1].fields["recipes"]}
    assert listed[path.stem]["about"].endswith(".")
