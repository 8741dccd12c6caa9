"""The facts of this machine and its software: versions, cores, memory, commit, srun's tasks. Below all that run."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

PACKAGES = ("hfkit", "torch", "transformers", "datasets", "accelerate", "tokenizers", "safetensors", "numpy")
# Slurm numbers the steps that run a user's srun from 0; its own (batch script, allocation shell, ...) stand at the top.
FIRST_RESERVED_STEP = 0xFFFFFFF0


def versions() -> dict[str, str]:
    """Versions of hfkit and of what it stands on; packages that are missing are left out."""
    return dict(_versions())


@cache
def _versions() -> dict[str, str]:
    """Read once: it takes as long as a small model's step, and every checkpoint says them."""
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return found


def machine() -> dict[str, Any]:
    """The facts of this machine that matter for repeating a run."""
    return {"system": platform.platform(), "processor": platform.processor() or platform.machine(), "cpus": cpus()}


def cpus(root: Path = Path("/")) -> int:
    """CPU cores this process may use: by its affinity and by every control group it is in, of either version.

    `root` is where proc and sys are found.
    """
    count = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    shares = [share for folder in _groups("cpu", root) if (share := _cores(folder)) is not None]
    return max(1, min([count, *map(round, shares)]))


def _cores(folder: Path) -> float | None:
    """The cores that a control group may use, a fraction too; None where it has no limit."""
    try:
        quota, period = (folder / "cpu.max").read_text(encoding="ascii").split()[:2]
    except (OSError, ValueError):
        quota, period = str(_number(folder / "cpu.cfs_quota_us")), str(_number(folder / "cpu.cfs_period_us"))
    return int(quota) / int(period) if quota.isdigit() and period.isdigit() and int(period) else None


@dataclass(frozen=True)
class Memory:
    """Bytes of main memory: what this process's group may use in all, and what of it can still be had."""

    total: int
    free: int


def memory(root: Path = Path("/")) -> Memory | None:
    """The smallest of the machine's memory and every limit of the control groups this process is in.

    Pages of files that were read do not count as used: the kernel gives them up. None where the system does not say.
    `root` is where proc and sys are found.
    """
    try:
        lines = (root / "proc/meminfo").read_text(encoding="ascii").splitlines()
        known = {name: int(rest.split()[0]) * 1024 for name, rest in (line.split(":", 1) for line in lines if line)}
        found = Memory(known["MemTotal"], known["MemAvailable"])
    except (OSError, ValueError, KeyError, IndexError):
        return _physical()
    for folder in _groups("memory", root):
        limit = _number(folder / "memory.max", folder / "memory.limit_in_bytes")
        used = _number(folder / "memory.current", folder / "memory.usage_in_bytes")
        if limit is None or used is None or limit >= found.total:  # version 1 writes "no limit" as a huge number
            continue
        idle = _files_kept(folder / "memory.stat")
        found = Memory(limit, max(0, min(found.free, limit - used + idle)))
    return found


def _physical() -> Memory | None:
    """What systems without /proc say (macOS); they do not say what is free."""
    try:
        size = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):
        return None
    return Memory(size, size)


def _groups(controller: str, root: Path) -> Iterator[Path]:
    """The folders of this process's control group and of those around it, of either version, as far as they show."""
    try:
        lines = (root / "proc/self/cgroup").read_text(encoding="utf-8").splitlines()
    except OSError:
        return
    for line in lines:
        number, names, path = line.split(":", 2)
        if number != "0" and controller not in names.split(","):
            continue
        mount = root / "sys/fs/cgroup" / ("" if number == "0" else controller)
        if not mount.is_dir():
            mount = mount.with_name(names)  # cpu,cpuacct
        inside = Path(path.lstrip("/"))
        yield from (mount / part for part in (inside, *inside.parents) if (mount / part).is_dir())


def _number(*paths: Path) -> int | None:
    """The number in the first of the files that is there; None for "max"."""
    for path in paths:
        try:
            return int(path.read_text(encoding="ascii"))
        except (OSError, ValueError):
            continue
    return None


def _files_kept(path: Path) -> int:
    """Bytes of a group's memory that hold pages of files nobody has open or touched of late."""
    try:
        known = dict(line.split() for line in path.read_text(encoding="ascii").splitlines())
    except (OSError, ValueError):
        return 0
    return int(known.get("total_inactive_file", known.get("inactive_file", 0)))


def git_commit() -> str | None:
    """The commit of the current directory's repository, with "+" when there are changes; None outside one."""
    try:
        head = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, timeout=5, check=True)
        dirty = subprocess.run(["git", "status", "--porcelain"], capture_output=True, text=True, timeout=5, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return head.stdout.strip() + ("+" if dirty.stdout.strip() else "")


def srun_tasks(environment: Mapping[str, str] = os.environ) -> int:
    """Processes that srun started together with this one; 1 outside a step.

    An sbatch script is one process but sees SLURM_PROCID=0 and its allocation's SLURM_NTASKS: only inside a step of
    srun, which SLURM_STEP_ID tells, are there others to meet. Source: srun's and sbatch's OUTPUT ENVIRONMENT VARIABLES.
    """
    step, tasks = environment.get("SLURM_STEP_ID", ""), environment.get("SLURM_STEP_NUM_TASKS")
    if not step.isdigit() or int(step) >= FIRST_RESERVED_STEP or not environment.get("SLURM_PROCID"):
        return 1
    tasks = tasks or environment.get("SLURM_NTASKS") or ""
    return int(tasks) if tasks.isdigit() else 1


def start_facts(command: str, settings: Mapping[str, Any]) -> dict[str, Any]:
    """The first content of run.json."""
    return {
        "command": command,
        "argv": sys.argv[1:],
        "status": "running",
        "started": time.time(),
        "attempt": 0,
        "versions": versions(),
        "git_commit": git_commit(),
        "machine": machine(),
        **settings,
    }


def process_seconds() -> float:
    """Seconds since this process was started; 0 where the system does not say."""
    try:
        ticks = Path("/proc/self/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()[19]
        now = float(Path("/proc/uptime").read_text(encoding="ascii").split()[0])
        return max(0.0, now - int(ticks) / os.sysconf("SC_CLK_TCK"))
    except (OSError, ValueError, IndexError, AttributeError):
        return 0.0
