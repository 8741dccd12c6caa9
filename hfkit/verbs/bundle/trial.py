"""What a bundle is tried with before it gets its name: a dry run of pip on its wheels, and an answer of its model."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from packaging.tags import parse_tag

from hfkit.errors import DataError, ModelError, UsageError
from hfkit.tasks.base import Task
from hfkit.verbs.bundle.gather import has_pip
from hfkit.verbs.bundle.packages import Package
from hfkit.verbs.bundle.script import OURS
from hfkit.verbs.bundle.target import Target
from hfkit.verbs.bundle.wheel import write_wheel
from hfkit.verbs.generate import generate
from hfkit.verbs.predict import predict

WORD = "one"


def resolves(requirement: str, wheels: Path, needed: Iterable[Package], target: Target) -> str | None:
    """None when pip resolves `requirement` from the wheels alone; a line when pip cannot be asked.

    For what the target must have there stand empty packages of the same names and versions. Raises UsageError.
    """
    if not target.native:
        return f"not tried with pip, which reads the markers of packages for its own Python: {target.shown()}"
    if not has_pip():
        return "not tried with pip, which is not installed here"
    with tempfile.TemporaryDirectory(prefix="hfkit-bundle-") as name:
        for package in needed:
            write_empty(package, Path(name))
        command = [
            *(sys.executable, "-m", "pip", "--disable-pip-version-check", "install", "--dry-run", "--quiet"),
            *("--ignore-installed", "--no-cache-dir", "--no-index", "--find-links", str(wheels), "--find-links", name),
            requirement,
        ]
        environment = {name: value for name, value in os.environ.items() if name not in OURS}
        environment["PIP_CONFIG_FILE"] = os.devnull
        done = subprocess.run(
            command, env=environment, capture_output=True, text=True, encoding="utf-8", errors="replace", check=False
        )
    if done.returncode:
        lines = [line.removeprefix("ERROR: ") for line in done.stderr.splitlines() if line.strip()]
        raise UsageError(
            "pip cannot install the bundle from its wheels:\n  " + "\n  ".join(lines[-6:]),
            "`pip check` says which packages here do not go together",
        )
    return None


def write_empty(package: Package, folder: Path) -> None:
    """A wheel with the name and version of a package, and nothing in it."""
    info = f"{package.name.replace('-', '_')}-{package.version}"
    texts = {
        "METADATA": f"Metadata-Version: 2.1\nName: {package.name}\nVersion: {package.version}\n",
        "WHEEL": "Wheel-Version: 1.0\nGenerator: hfkit\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    contents = {f"{info}.dist-info/{name}": text.encode() for name, text in texts.items()}
    write_wheel(folder, info, parse_tag("py3-none-any"), contents)


def answers(model: Path, task: Task, shown: Path, keys: list[str]) -> None:
    """Let the model in the bundle answer a row; `shown` is where the bundle will stand. Raises HfkitError."""
    try:
        if task.head == "causal-lm" and task.blocks:
            one = [f"generate.{key}" for key in ("max_new_tokens=1", "temperature=0")]
            events = list(generate(str(model), [WORD], cpu=True, processes=1, overrides=one, offline=True))
        else:
            rows = [row_for(task)]
            events = list(predict(str(model), data=rows, cpu=True, processes=1, overrides=keys, offline=True))
    except (UsageError, DataError, ModelError) as error:
        message = error.message.replace(str(model.parent), str(shown))
        raise type(error)(f"the bundled model does not answer: {message}", error.hint) from error
    if events[-1].kind != "result" or not events[-1].fields.get("predictions"):
        raise ModelError(
            f"{shown}: the bundled model does not answer a row", "try it: `hfkit predict MODEL --data FILE`"
        )


def row_for(task: Task) -> dict[str, Any]:
    """A row with something in each column that the task reads."""
    listed = getattr(task.settings, "choices_column", None)
    asked = [column.name for column in task.columns if column.required and not column.gold]
    return {"id": "0", **{name: [WORD, "two"] if name == listed else WORD for name in asked}}
