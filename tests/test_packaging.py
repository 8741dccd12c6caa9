"""What pyproject.toml promises: floors that are tested, constraints that fit them, data inside the wheel."""

from __future__ import annotations

import re
import runpy
import tomllib
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import pytest
from packaging.version import Version

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
        assert program in block[1].split(" && ")[-1]
        assert "-c .ci/constraints.txt" in block[1]
    for name in ("run", "floors"):
        assert (ROOT / ".ci" / name).stat().st_mode & 0o111, f".ci/{name} is not executable"


# The first releases without a known hole that a file or a server could use, of what may be installed with hfkit:
# torch: code in spite of weights_only (CVE-2025-32434, CVE-2026-24747); transformers: a config.json that
# fetches code, save_pretrained outside of its folder (CVE-2026-4372, CVE-2026-5241, CVE-2026-9856); pyarrow: code in a
# file's metadata (CVE-2023-47248); PyYAML: loaders (CVE-2020-14343); Jinja2: sandbox (CVE-2025-27516); h11, starlette:
# requests smuggled, hosts believed (CVE-2025-43859, CVE-2026-48710); datasets: loading scripts, gone in 4.
SAFE = {
    "torch": "2.10", "transformers": "5.10", "datasets": "4.0", "pyarrow": "14.0.1", "pyyaml": "5.4", "jinja2": "3.1.6",
    "h11": "0.16", "starlette": "1.3.1",
}  # fmt: skip
STOLEN = {"lightning": ("2.6.2", "2.6.3"), "litellm": ("1.82.7", "1.82.8")}  # releases that were not their makers'


def installed(name: str) -> Version | None:
    try:
        return Version(version(name))
    except PackageNotFoundError:
        return None


@pytest.mark.parametrize("name", SAFE)
def test_no_installed_release_is_known_to_be_vulnerable(name: str) -> None:
    found = installed(name)
    if found is None:
        assert name in ("h11", "starlette", "jinja2"), f"{name} is a dependency"
        return
    assert found >= Version(SAFE[name])


@pytest.mark.parametrize("name", STOLEN)
def test_no_stolen_release_is_installed(name: str) -> None:
    assert str(installed(name)) not in STOLEN[name]


def test_the_floors_are_not_known_to_be_vulnerable(project: dict[str, Any]) -> None:
    for name, floor in floors(project).items():
        assert Version(floor) >= Version(SAFE.get(name, "0"))


def test_the_audit_fails_for_what_is_known_and_says_when_it_knows_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    judge = runpy.run_path(str(ROOT / ".ci" / "audit"))["judge"]
    sound = {"name": "a", "version": "1", "vulns": []}
    holed = {"name": "b", "version": "2", "vulns": [{"id": "CVE-1", "fix_versions": ["3"]}]}
    absent = {"name": "c", "skip_reason": "not found"}
    assert [judge([absent]), judge([sound, absent]), judge([sound, holed])] == [0, 0, 1]
    said = capsys.readouterr().out
    assert "skipped" in said and "nothing is known against 1 of 2" in said and "b 2: CVE-1 (fixed in 3)" in said
