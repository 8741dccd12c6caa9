"""`hfkit bundle`: a model, hfkit and what it stands on in one folder or zip file, for a machine without a network.

One command in it installs and predicts.

In the order of the work: target (for which Python and platform), packages (what hfkit stands on), contents (the model),
gather and wheel (the wheels), page and script (README.md, predict.py), trial (pip's dry run, an answer), place (whole
or not at all).
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from hfkit import __version__
from hfkit.errors import UsageError
from hfkit.events import Event, note, warning
from hfkit.files import write_json, write_text
from hfkit.models import Checkpoint
from hfkit.recipe.keys import MODEL_KEYS
from hfkit.run import shown_path
from hfkit.tasks.base import Task, example_fields
from hfkit.verbs.bundle import contents, trial
from hfkit.verbs.bundle.gather import Plan, gathered, planned
from hfkit.verbs.bundle.packages import OWN, packages_below
from hfkit.verbs.bundle.page import page, parts_of
from hfkit.verbs.bundle.place import MANIFEST, check_place, listed, placed
from hfkit.verbs.bundle.target import Target, target_of
from hfkit.verbs.trained import find_trained

SCRIPT = "predict.py"
WHEELS = "wheels"
KEYS = ("task", *MODEL_KEYS)


def bundle(
    model: str,
    *,
    output: Path,
    compiled: bool = False,
    python_version: str | None = None,
    platform: str | None = None,
    overwrite: bool = False,
    overrides: Sequence[str] = (),
    offline: bool = False,
) -> Iterator[Event]:
    """Write the bundle of a trained model to `output`, a folder or FILE.zip.

    Pure packages are always bundled, `compiled` ones when asked; torch never. With `python_version` or `platform` of
    another machine, wheels that differ there are fetched by pip. Yields events, last "result" with `output`, `bytes`,
    `parts`, `needs` (what the target must have), `wheels`. Raises HfkitError.
    """
    started = time.time()
    output = Path(output)
    check_place(output, overwrite=overwrite)
    for text in overrides:
        if (name := text.partition("=")[0].strip()) not in KEYS:
            raise UsageError(f"{name} has no effect on a bundle", f"give it to {SCRIPT}, as to predict")
    target = target_of(python_version, platform)
    found, task_name, task, _ = find_trained(model, None, overrides, offline=offline)
    contents.check_answers(found, task_name, task)
    extras = contents.extras_of(found)
    plan = planned(packages_below(extras, target).values(), target, compiled=compiled)
    facts: dict[str, Any] = {
        "format": 1,
        "command": "generate" if writes_on(task) else "predict",
        "task": task_name,
        "model": contents.safe_name(found),
        "requirement": f"{OWN}[{','.join(extras)}]=={__version__}" if extras else f"{OWN}=={__version__}",
        "target": target.shown(),
        "keys": [] if writes_on(task) else [text for text in overrides if text.partition("=")[0].strip() == "task"],
        "needs": [{"name": p.name, "requirement": p.requirement(), "version": p.version} for p in plan.needed],
    }
    yield from map(note, found.notes)
    yield shown_plan(plan, target, facts)
    with placed(output, overwrite=overwrite) as folder:
        yield from filled(folder, found, plan, target, offline=offline)
        if (line := trial.resolves(facts["requirement"], folder / WHEELS, plan.needed, target)) is not None:
            yield note(line)
        trial.answers(folder / contents.MODEL, task, output, facts["keys"])
        example = "'Once upon a time'" if writes_on(task) else example_fields(task)
        manifest = described(folder, facts, example)
    yield from ended(output, manifest, plan, example, started)


def writes_on(task: Task) -> bool:
    """Whether a model continues prompts, with `hfkit generate`, instead of answering rows."""
    return task.head == "causal-lm" and task.blocks


def filled(folder: Path, found: Checkpoint, plan: Plan, target: Target, *, offline: bool) -> Iterator[Event]:
    """Write model, wheels and predict.py."""
    left_out = contents.copy_model(found, folder)
    if left_out:
        yield warning(f"not part of the model, so left out: {', '.join(left_out[:8])}")
    yield from gathered(plan, target, folder / WHEELS, offline=offline)
    shutil.copyfile(Path(trial.__file__).with_name("script.py"), folder / SCRIPT)


def described(folder: Path, facts: dict[str, Any], example: str) -> dict[str, Any]:
    """Write README.md and the manifest, which is returned."""
    wheel = next((folder / WHEELS).glob(f"{OWN}-*.whl"))
    facts = {**facts, "wheel": f"{WHEELS}/{wheel.name}"}
    write_text(folder / "README.md", page({**facts, "files": listed(folder)}, example))
    manifest = {**facts, "files": listed(folder)}
    write_json(folder / MANIFEST, manifest)
    return manifest


def shown_plan(plan: Plan, target: Target, facts: dict[str, Any]) -> Event:
    """What goes in, and what the target must have."""
    wheels = f"{len(plan.rebuilt)} of what is installed here"
    items = {
        "model": f"{facts['model']}, {facts['task']}",
        "for": target.shown(),
        "wheels": f"{wheels}, {len(plan.fetched)} fetched" if plan.fetched else wheels,
        "must be there": ", ".join(need["requirement"] for need in facts["needs"]),
    }
    return Event("plan", {"title": "bundle", "items": items})


def ended(output: Path, manifest: dict[str, Any], plan: Plan, example: str, started: float) -> Iterator[Event]:
    """Where it is, how big, and what to type there."""
    parts = parts_of(manifest["files"])
    size = output.stat().st_size if output.is_file() else sum(size for _, _, size in parts)
    shares = ", ".join(f"{name.rstrip('/')} {size / 1e6:.1f} MB" for name, _, size in parts if name.endswith("/"))
    yield Event("saved", {"what": f"bundle of {size / 1e6:.1f} MB ({shares})", "path": shown_path(output)})
    where = shown_path(output if output.is_dir() else output.with_suffix(""))
    yield Event("next", {"commands": [f"python {where}/{SCRIPT} {example}"]})
    names = ("model", "task", "command", "requirement", "target", "needs")
    yield Event(
        "result",
        {
            **{name: manifest[name] for name in names},
            "output": str(output.absolute()),
            "bytes": size,
            "files": len(manifest["files"]) + 1,
            "parts": {name: size for name, _, size in parts},
            "wheels": {"rebuilt": len(plan.rebuilt), "fetched": len(plan.fetched)},
            "throughput": {"seconds": time.time() - started},
        },
    )
