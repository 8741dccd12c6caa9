"""A bundle where there is no network (FD23): a fresh environment that has torch and compiled packages alone.

The environment's packages are links to those that are installed here. The long form bundles every pure package, as a
folder and as a zip file, of a model and of an ensemble, and once the compiled ones too; the short form hfkit and typer.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from importlib.metadata import distribution
from pathlib import Path
from typing import Any

import engine_helpers as helpers
import tiny_models

from drills.harness import Drill, patched

BY_PIP = ("pip", "setuptools")  # what an environment has anyway
FEW = ("hfkit", "typer")  # wheels of the short form
DEAD = "http://127.0.0.1:9"  # nobody listens there


def unplugged(drill: Drill) -> None:
    """FD23: predict.py installs and answers in a fresh environment without a network, as the model does here."""
    models = drill.folder / "models"
    for name, seed in (("one", 0), ("two", 1)):
        classifier(models / name, seed)
    helpers.write_rows(drill.folder / "rows.jsonl", 9)
    drill.details["network"] = "none (unshare)" if unshared() else "dead proxy"
    one, both = str(models / "one"), str(drill.folder / "both")
    if not drill.full:
        with few_wheels():
            tried(drill, one, "bundle")
        return
    forms = ((one, "bundle", []), (both, "both.zip", []), (one, "whole", ["--compiled"]))
    code, _, err = helpers.call(["ensemble", one, str(models / "two"), "-o", both, "--equal"])
    drill.note(code == 0, err)
    for number in drill.times(len(forms), 1):
        model, output, flags = forms[number]
        tried(drill, model, output, *flags)


def classifier(folder: Path, seed: int) -> None:
    """A tiny classifier of the rows' two labels, its weights drawn."""
    labels = {0: "bread", 1: "salt"}
    tiny_models.save(
        "bert", folder, "AutoModelForSequenceClassification", num_labels=2, id2label=labels,
        label2id={name: number for number, name in labels.items()}, initializer_range=1.0 + seed,
    )  # fmt: skip
    saved = {"task": "classify", "settings": {"target": "single", "labels": list(labels.values())}}
    (folder / "hfkit.json").write_text(json.dumps(saved), encoding="utf-8")


def tried(drill: Drill, model: str, output: str, *flags: str) -> None:
    """Bundle, move the bundle elsewhere, answer with it in a fresh environment, and compare with the model here."""
    rows, place = str(drill.folder / "rows.jsonl"), drill.folder / output
    code, result, err = helpers.call(["bundle", model, "-o", str(place), *flags])
    drill.note(code == 0 and place.exists(), f"bundle {output}: {code} {err}")
    drill.details[f"{output}_bytes"] = result.get("bytes")
    moved = drill.path("moved")
    if place.suffix == ".zip":
        with zipfile.ZipFile(place) as archive:
            archive.extractall(moved)
        moved = moved / place.stem
    else:
        shutil.move(place, moved)
    there = drill.path("environment")
    python = environment(there, links(moved, everything=not flags))
    expected, answered = drill.path("expected.jsonl"), drill.path("answers.jsonl")
    code, _, err = helpers.call(["predict", model, "--data", rows, "-o", str(expected), "--cpu"])
    assert code == 0, err
    before = set(moved.rglob("*"))
    command = [str(python), str(moved / "predict.py"), "--data", rows, "-o", str(answered), "--cpu"]
    for time in ("first", "second") if drill.full else ("first",):
        answered.unlink(missing_ok=True)
        done = without_network(command)
        same = answered.is_file() and answered.read_bytes() == expected.read_bytes()
        installed = "installing hfkit" in done.stderr
        drill.note(done.returncode == 0 and same, f"{output}, {time} call: {done.returncode} {done.stderr}")
        drill.note(installed == (time == "first"), f"{output}, {time} call: installed {installed}")
    drill.note(set(moved.rglob("*")) == before, f"{output}: something was written in the bundle")
    if not drill.full:
        return
    asked = without_network([str(python), "-c", "import socket; socket.create_connection(('192.0.2.1', 80), 3)"])
    drill.note(asked.returncode != 0, "there is a network")


def links(bundle: Path, *, everything: bool) -> list[str]:
    """The packages that the environment gets by links: what the bundle says must be there, and what that needs."""
    manifest = json.loads((bundle / "manifest.json").read_text("utf-8"))
    wheels = {path.name.partition("-")[0].replace("_", "-") for path in (bundle / "wheels").iterdir()}
    needed = below([need["name"] for need in manifest["needs"]], without=wheels)
    assert everything or needed <= below(["torch"], without=wheels)
    return sorted({*needed, *BY_PIP} - wheels)


def below(names: Iterable[str], *, without: set[str]) -> set[str]:
    """These packages and all that they need, as far as they are installed."""
    from packaging.requirements import Requirement
    from packaging.utils import canonicalize_name

    found: set[str] = set()
    waiting = [canonicalize_name(name) for name in names]
    while waiting:
        name = waiting.pop()
        if name in found or name in without:
            continue
        found.add(name)
        for text in distribution(name).requires or ():
            wanted = Requirement(text)
            if wanted.marker is None or wanted.marker.evaluate({"extra": ""}):
                waiting.append(canonicalize_name(wanted.name))
    return found


def environment(folder: Path, packages: list[str]) -> Path:
    """A fresh virtual environment whose packages are links to those installed here; its Python."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", "--symlinks", folder], check=True, timeout=120)
    target = next((folder / "lib").glob("python*")) / "site-packages"
    for name in packages:
        dist = distribution(name)
        for top in {item.parts[0] for item in dist.files or () if item.parts[0] not in ("..", "__pycache__")}:
            if not (target / top).exists():
                (target / top).symlink_to(Path(str(dist.locate_file(top))))
    return folder / "bin" / "python"


def unshared() -> bool:
    """Whether processes may be started in a network of their own, which has no way out."""
    tool = shutil.which("unshare")
    return tool is not None and subprocess.run([tool, "-rn", "true"], capture_output=True, check=False).returncode == 0


def without_network(command: list[str]) -> subprocess.CompletedProcess[str]:
    """Run a command without a network; where that is not permitted, with proxies that do not answer."""
    alone = ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV", "HF_HUB_OFFLINE")
    given = {name: value for name, value in os.environ.items() if name not in alone and not name.startswith("PIP_")}
    given |= {name: DEAD for kind in ("http_proxy", "https_proxy", "all_proxy") for name in (kind, kind.upper())}
    given["HFKIT_CACHE"] = given["HF_HOME"] = str(Path(command[0]).parents[1] / "nothing-cached")
    prefix = ["unshare", "-rn"] if unshared() else []
    return subprocess.run([*prefix, *command], env=given, capture_output=True, text=True, check=False, timeout=600)


@contextlib.contextmanager
def few_wheels() -> Iterator[None]:
    """Take all packages but a few for ones that must be there."""
    import hfkit.verbs.bundle as verb

    original: Callable[..., dict[str, Any]] = verb.packages_below

    def fewer(*given: Any) -> dict[str, Any]:
        return {name: replace(one, pure=name in FEW) for name, one in original(*given).items()}

    with patched(verb, "packages_below", fewer):
        yield


DRILLS = {"FD23": unplugged}
