"""The README of a bundle: the exact lines to type, what the machine must have, what is inside and how big."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import Any

FILE_OF_ROWS = {"predict": "--data test.csv -o answers.jsonl", "generate": "--prompts prompts.csv -o texts.jsonl"}


def page(manifest: Mapping[str, Any], example: str) -> str:
    """Markdown from the manifest; `example` is what is typed after `python predict.py` for one row or prompt."""
    command = manifest["command"]
    submission = ["python predict.py --data test.csv --sample sample_submission.csv -o submission.csv"]
    parts = parts_of(manifest["files"])
    lines = [
        f"# {manifest['model']}: a model for {manifest['task']}, to be used without a network",
        "",
        "```",
        f"python predict.py {FILE_OF_ROWS[command]}",
        *(submission if command == "predict" else []),
        f"python predict.py {example}",
        "```",
        "",
        "The first call installs hfkit and what it needs from `wheels/`, without a network, into the Python that runs",
        "it. Packages that are there and fit are left as they are; others are replaced. What may follow `predict.py`",
        f"is what may follow the model in `hfkit {command} --help`. The bundle may stand where nothing can be written,",
        "as in a notebook: `!python /kaggle/input/NAME/predict.py ...`.",
        "",
        "By hand, in this folder:",
        "",
        "```",
        f"python -m pip install --no-index --find-links wheels '{manifest['requirement']}'",
        " ".join(["hfkit", command, "model", example, *manifest["keys"], "--offline"]),
        "```",
        "",
        "## What the machine must have",
        "",
        f"{manifest['target']}, pip, and these packages, which are not bundled:",
        "",
        "| package | needed | made with |",
        "|---|---|---|",
        *(f"| {need['name']} | `{need['requirement']}` | {need['version']} |" for need in manifest["needs"]),
        "",
        "Where other versions of transformers, pydantic and the like are installed already and fit hfkit, what they",
        "ask for counts instead.",
        "",
        "## What is inside",
        "",
        "| part | files | bytes |",
        "|---|---|---|",
        *(f"| {name} | {count} | {size:,} |" for name, count, size in parts),
        "",
        "`manifest.json` holds size and sha256 of every file; `python predict.py --check` compares them.",
        "",
        *(f"- {wheel}" for wheel in wheels_of(manifest["files"])),
    ]
    return "\n".join(lines) + "\n"


def parts_of(files: Mapping[str, Mapping[str, Any]]) -> list[tuple[str, int, int]]:
    """(part, files, bytes) of model, wheels, and the rest."""
    found: dict[str, tuple[int, int]] = {}
    for name, facts in files.items():
        part = f"{PurePosixPath(name).parts[0]}/" if "/" in name else "at the top"
        count, size = found.get(part, (0, 0))
        found[part] = count + 1, size + facts["size"]
    return [(part, *numbers) for part, numbers in sorted(found.items())]


def wheels_of(files: Mapping[str, Any]) -> list[str]:
    """The names of the wheels."""
    return sorted(PurePosixPath(name).name for name in files if name.endswith(".whl"))
