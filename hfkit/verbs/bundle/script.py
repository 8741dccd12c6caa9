"""Answers rows with the model of this bundle; installs what is missing from its wheels first, without a network.

    python predict.py --data test.csv -o answers.jsonl     what `hfkit predict` takes (for a language model: generate)
    python predict.py --install                            installs, and leaves the rest to `hfkit`
    python predict.py --check                              compares every file with its sha256

Only Python's own modules are used here: nothing else is sure to be there yet. Exit codes are those of hfkit: 2 what is
needed cannot be installed, 4 the bundle is damaged.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import zipfile
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
OURS = ("PIP_CONSTRAINT", "PIP_FIND_LINKS", "PIP_REQUIREMENT", "PIP_TARGET", "PIP_PREFIX", "PIP_DRY_RUN")


def main(arguments: list[str]) -> int:
    """Check, install, answer; the exit code."""
    if not arguments:
        return said(2, (__doc__ or "").strip())
    manifest = json.loads((HERE / "manifest.json").read_text(encoding="utf-8"))
    damaged = [name for name, facts in manifest["files"].items() if differs(HERE / name, facts)]
    if damaged:
        return said(4, f"error: not as they were bundled: {', '.join(damaged[:8])}\nhint: copy the bundle again")
    if arguments == ["--check"]:
        return said(0, f"{len(manifest['files'])} files are as they were bundled")
    wheel = HERE / manifest["wheel"]
    if not is_installed(wheel) and (problem := install(manifest, wheel)):
        return said(2, problem)
    if arguments == ["--install"]:
        return said(0, f"installed; hfkit {manifest['command']} takes {HERE / 'model'} as its model, and --offline")
    command = [manifest["command"], str(HERE / "model"), *arguments, *manifest["keys"], "--offline"]
    return subprocess.run([sys.executable, "-P", "-m", "hfkit", *command], env=offline(), check=False).returncode


def said(code: int, text: str) -> int:
    """A line for people, on stderr; the code."""
    sys.stderr.write(f"{text}\n")
    return code


def differs(path: Path, facts: dict[str, Any]) -> bool:
    """Whether a file is not the one that was bundled."""
    if not path.is_file() or path.stat().st_size != facts["size"]:
        return True
    with open(path, "rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest() != facts["sha256"]


def is_installed(wheel: Path) -> bool:
    """Whether this very hfkit is installed, and with it what it needs: its files are those of the wheel."""
    try:
        recorded = set((distribution("hfkit").read_text("RECORD") or "").splitlines())
    except PackageNotFoundError:
        return False
    with zipfile.ZipFile(wheel) as archive:
        name = next(name for name in archive.namelist() if name.endswith(".dist-info/RECORD"))
        lines = archive.read(name).decode("utf-8").splitlines()
    return {line for line in lines if not line.endswith("RECORD,,")} <= recorded


def install(manifest: dict[str, Any], wheel: Path) -> str | None:
    """Install from the wheels; None, or what went wrong and what to do about it."""
    said(0, f"installing {manifest['requirement']} from {HERE / 'wheels'}, without a network")
    pip = [
        sys.executable,
        "-m",
        "pip",
        "--disable-pip-version-check",
        "install",
        "--quiet",
        "--no-index",
        "--no-compile",
    ]
    done = run([*pip, "--find-links", str(HERE / "wheels"), manifest["requirement"]])
    if done.returncode == 0 and not is_installed(wheel):  # another hfkit of the same version was there
        done = run([*pip, "--no-deps", "--force-reinstall", str(wheel)])
    if done.returncode == 0:
        return None
    needs = [f"  {need['requirement']}  (made with {need['version']})" for need in manifest["needs"]]
    return "\n".join(
        [
            done.stderr.strip(),
            f"error: what {manifest['requirement']} needs cannot all be installed here: this is Python "
            f"{sys.version_info[0]}.{sys.version_info[1]}, the bundle is for {manifest['target']}",
            *(["this machine must have:", *needs] if needs else []),
            "hint: install these beforehand, or make the bundle with --compiled (and --python-version, --platform)",
        ]
    )


def run(command: list[str]) -> subprocess.CompletedProcess[str]:
    """pip by its arguments alone: no index, constraint or folder of this machine's configuration."""
    environment = {name: value for name, value in os.environ.items() if name not in OURS}
    environment["PIP_CONFIG_FILE"] = os.devnull
    return subprocess.run(command, env=environment, capture_output=True, text=True, encoding="utf-8", check=False)


def offline() -> dict[str, str]:
    """This environment with the Hub switched off."""
    return {**os.environ, "HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1"}


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
