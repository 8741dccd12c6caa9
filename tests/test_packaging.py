"""What pyproject.toml promises: floors that are tested, constraints that fit them, data inside the wheel."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def project() -> dict[str, Any]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def pins(name: str) -> dict[str, str]:
    """The versions that a file of constraints names."""
    lines = (ROOT / ".ci" / name).read_text(encoding="utf-8").splitlines()
    return dict(line.split("==") for line in lines if line and not line.startswith("#"))


def floors(project: dict[str, Any]) -> dict[str, str]:
    """The oldest release of each core dependency that is admitted."""
    found = (re.match(r"([a-z]+)>=([0-9.]+)", text) for text in project["project"]["dependencies"])
    return {match[1]: match[2] for match in found if match}


def numbers(version: str) -> list[int]:
    return [int(part) for part in version.split(".")]


def test_the_core_dependencies_are_the_eight_of_the_design(project: dict[str, Any]) -> None:
    assert set(floors(project)) == {
        "torch", "transformers", "datasets", "accelerate", "typer", "rich", "pydantic", "pyyaml",
    }  # fmt: skip
    assert set(project["project"]["optional-dependencies"]) >= {"starter", "test", "sentencepiece"}


def test_the_tested_floors_are_those_that_are_promised(project: dict[str, Any]) -> None:
    tested = pins("floors.txt")
    for name in ("transformers", "datasets", "accelerate"):
        floor = numbers(floors(project)[name])
        assert numbers(tested[name])[: len(floor)] == floor


def test_the_tested_set_is_admitted(project: dict[str, Any]) -> None:
    tested = pins("constraints.txt")
    for name, floor in floors(project).items():
        if name in tested:
            assert numbers(tested[name]) >= numbers(floor)


def test_recipes_go_into_the_wheel(project: dict[str, Any]) -> None:
    wheel = project["tool"]["hatch"]["build"]["targets"]["wheel"]
    assert wheel["force-include"] == {"recipes": "hfkit/recipes"}
    assert wheel["packages"] == ["hfkit"]


def test_the_check_of_a_checkout_finds_its_commands() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    for name, program in (("run", "hfkit finetune quickstart"), ("test", "pytest")):
        block = re.search(rf"<!-- ci: {name} -->\n```\n([^\n]*)\n```", text)
        assert block
        assert block[1].endswith(program)
        assert "-c .ci/constraints.txt" in block[1]
    for name in ("run", "floors"):
        assert (ROOT / ".ci" / name).stat().st_mode & 0o111, f".ci/{name} is not executable"
