"""The facts of this machine and its software: versions, cores, the commit, srun's tasks. Below all that run."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
import time
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

PACKAGES = ("hfkit", "torch", "transformers", "datasets", "accelerate", "tokenizers", "safetensors", "numpy")
# Slurm numbers the steps that run a user's srun from 0; its own (batch script, allocation shell, ...) stand at the top.
FIRST_RESERVED_STEP = 0xFFFFFFF0


def versions() -> dict[str, str]:
    """Versions of hfkit and of what it stands on; packages that are missing are left out."""
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


def cpus() -> int:
    """CPU cores this process may use: the smaller of affinity and cgroup limit."""
    count = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    limit = Path("/sys/fs/cgroup/cpu.max")
    try:
        quota, period = limit.read_text(encoding="ascii").split()[:2]
    except (OSError, ValueError):
        return count
    return count if quota == "max" else max(1, min(count, round(int(quota) / int(period))))


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
