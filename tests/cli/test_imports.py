"""Who may import whom, and that help stays light."""

from __future__ import annotations

import ast
import graphlib
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[2] / "hfkit"
HEAVY = {"torch", "transformers", "datasets", "accelerate"}

# a part of hfkit -> the parts it may import, at the top or inside a function; a part may always import itself
ALLOWED = {
    "errors": set(),
    "machine": set(),
    "events": set(),
    "files": {"errors"},
    "lock": {"errors", "files"},
    "stopping": {"errors"},
    "metrics": {"errors"},
    "recipe": {"errors", "files", "tasks"},
    "run": {"errors", "events", "files"},
    "tasks": {"errors", "recipe", "metrics", "data", "models"},  # validators of rows, positions of a config
    "data": {"errors", "files", "recipe", "tasks"},
    "models": {"errors", "files", "recipe", "run", "tasks"},
    "engine": {
        "errors",
        "stopping",
        "events",
        "files",
        "recipe",
        "machine",
        "run",
        "tasks",
        "data",
        "models",
        "metrics",
    },
    "verbs": {
        "errors",
        "events",
        "files",
        "lock",
        "stopping",
        "recipe",
        "machine",
        "run",
        "tasks",
        "data",
        "models",
        "metrics",
        "engine",
        "card",
    },
    "card": {"recipe", "run", "tasks"},
    "report": {"errors", "events", "machine"},
    "cli": {"errors", "stopping", "events", "files", "tasks", "recipe", "verbs", "report"},
    "api": {"errors", "events", "engine", "recipe", "run", "report", "verbs", "data", "tasks", "models", "files"},
}
MAY_BE_HEAVY_AT_THE_TOP = ("engine/", "models/", "data/arrow.py")
ONLY_HERE = {"typer": "cli", "rich": "report"}


def files() -> list[Path]:
    found = sorted(PACKAGE.rglob("*.py"))
    assert len(found) > 20
    return found


def part(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imports(tree: ast.AST, *, inside_functions: bool, types: bool = False) -> Iterator[str]:
    """Dotted names that are imported, without those for type checkers alone unless `types` says so."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test) and not types:
            continue
        if isinstance(node, ast.FunctionDef) and not inside_functions:
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        else:
            yield from imports(node, inside_functions=inside_functions, types=types)


@pytest.mark.parametrize("path", files(), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_a_file_imports_only_what_its_part_may(path):
    here = part(path)
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for name in imports(tree, inside_functions=True):
        words = name.split(".")
        if words[0] == "hfkit" and len(words) > 1 and here not in ("__init__", "__main__"):
            other = words[1]
            if other == "__version__" or other == here:
                continue
            assert other in ALLOWED[here], f"{here} may not import hfkit.{other}"
        assert ONLY_HERE.get(words[0], here) == here, f"{words[0]} belongs to {ONLY_HERE.get(words[0])}"


@pytest.mark.parametrize("path", files(), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_heavy_libraries_are_not_imported_at_the_top(path):
    if str(path.relative_to(PACKAGE).as_posix()).startswith(MAY_BE_HEAVY_AT_THE_TOP):
        return
    tree = ast.parse(path.read_text(encoding="utf-8"))
    assert HEAVY.isdisjoint(name.split(".")[0] for name in imports(tree, inside_functions=False))


def test_no_imports_go_in_circles():
    """Nothing calls back up the way of the data, not even inside a function, or names types of what uses it."""
    modules = {".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts): path for path in files()}
    modules = {name.removesuffix(".__init__"): path for name, path in modules.items()}

    def file_of(name: str) -> str:
        while name not in modules:
            name = name.rpartition(".")[0]
        return name

    graph = {}
    for module, path in modules.items():
        named = imports(ast.parse(path.read_text(encoding="utf-8")), inside_functions=True, types=True)
        graph[module] = {file_of(name) for name in named if name.startswith("hfkit.")} - {module}
    graphlib.TopologicalSorter(graph).prepare()  # raises CycleError, which names the circle


def test_nobody_prints_but_the_screen():
    for path in files():
        if part(path) in ("cli", "report"):
            continue
        calls = [node for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))) if isinstance(node, ast.Call)]
        assert not any(isinstance(call.func, ast.Name) and call.func.id == "print" for call in calls), path


def loaded_by(code: str) -> set[str]:
    """The names in sys.modules after `code` ran in a fresh interpreter."""
    program = f"import sys\n{code}\nprint('LOADED', *sorted(sys.modules))"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=120, cwd=PACKAGE.parent
    )
    line = next(line for line in done.stdout.splitlines() if line.startswith("LOADED"))
    return set(line.split()[1:])


@pytest.mark.parametrize(
    "command",
    [
        [],
        ["finetune"],
        ["eval"],
        ["predict"],
        ["submission"],
        ["sweep"],
        ["generate"],
        ["score"],
        ["compare"],
        ["cv"],
        ["compete"],
        ["ensemble"],
        ["average"],
        ["bundle"],
        ["recipes"],
        ["runs"],
        ["doctor"],
        ["convert"],
        ["init"],
        ["data"],
        ["data", "check"],
    ],
)
def test_help_loads_nothing_heavy(command):
    loaded = loaded_by(f"from hfkit.cli import main\nassert main({[*command, '--help']!r}) == 0")
    assert HEAVY.isdisjoint(loaded)
    assert loaded.isdisjoint(
        {"yaml", "numpy", "huggingface_hub", "rich", "hfkit.recipe", "hfkit.report", "hfkit.verbs"}
    )


@pytest.mark.parametrize(
    "module",
    [
        "hfkit",
        "hfkit.recipe.load",
        "hfkit.machine",
        "hfkit.run",
        "hfkit.engine.processes.world",
        "hfkit.report",
        "hfkit.metrics",
        "hfkit.tasks.base",
    ],
)
def test_light_modules_load_nothing_heavy(module):
    assert HEAVY.isdisjoint(loaded_by(f"import {module}"))


@pytest.mark.parametrize("recipe", ["quickstart", "quickstart-zh", "nli", "classify"])
def test_a_metric_that_no_task_has_is_refused_before_torch(recipe):
    words = ["finetune", recipe, "train.metric=f2", "--train", "README.md"]
    assert HEAVY.isdisjoint(loaded_by(f"from hfkit.cli import main\nassert main({words!r}) == 2"))


def test_names_of_the_package_load_on_use():
    import hfkit
    from hfkit.errors import HfkitError

    assert hfkit.HfkitError is HfkitError
    assert "finetune" in dir(hfkit)
    with pytest.raises(AttributeError, match="no_such"):
        hfkit.no_such  # noqa: B018
