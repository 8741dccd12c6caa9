"""The wheels of a bundle: rebuilt from what is installed, or fetched by pip for a target of another kind."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Generator, Iterable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from packaging.utils import canonicalize_name, parse_wheel_filename

from hfkit.errors import NetworkError, UsageError
from hfkit.events import Event, progress, warning
from hfkit.verbs.bundle.own import own_wheel
from hfkit.verbs.bundle.packages import NEVER, OWN, Package
from hfkit.verbs.bundle.target import Target
from hfkit.verbs.bundle.wheel import rebuilt, tags_of

SECONDS = 900  # that pip may take to fetch


@dataclass(frozen=True)
class Plan:
    """Which packages become wheels here, which are fetched, and which the target must have."""

    rebuilt: list[Package]
    fetched: list[Package]
    needed: list[Package]


def planned(packages: Iterable[Package], target: Target, *, compiled: bool) -> Plan:
    """Divide the packages; pure ones are always rebuilt. Raises UsageError when one is not for the target's Python."""
    plan = Plan([], [], [])
    for package in packages:
        if package.name in NEVER or not (package.pure or compiled):
            plan.needed.append(package)
        elif target.native or target.fits(tags_of(package.dist)):
            python = package.dist.metadata["Requires-Python"]
            if python and not _admits(python, target.python):
                plan.fetched.append(package)
            else:
                plan.rebuilt.append(package)
        else:
            plan.fetched.append(package)
    return plan


def _admits(specifier: str, python: str) -> bool:
    from packaging.specifiers import SpecifierSet

    return SpecifierSet(specifier).contains(f"{python}.99")


def gathered(plan: Plan, target: Target, folder: Path, *, offline: bool) -> Generator[Event, None, None]:
    """Write all wheels of the plan into `folder`, made here. Yields progress and warnings. Raises HfkitError."""
    folder.mkdir()
    if plan.fetched:
        total = f"{len(plan.fetched)} wheels for {target.shown()}"
        yield progress(f"fetching {total}", 0, None, "wheels")
        fetch(plan.fetched, target, folder, offline=offline)
    for done, package in enumerate(plan.rebuilt):
        yield progress("making wheels", done, len(plan.rebuilt), "wheels")
        _, changed = own_wheel(folder) if package.name == OWN else rebuilt(package.dist, folder)
        if changed:
            more = f" and {len(changed) - 3} more" if len(changed) > 3 else ""
            shown = ", ".join(changed[:3]) + more
            yield warning(f"{package.name}: bundled as it is, though changed since it was installed: {shown}")
    yield progress("making wheels", len(plan.rebuilt), len(plan.rebuilt), "wheels")


def fetch(packages: list[Package], target: Target, folder: Path, *, offline: bool) -> None:
    """Download wheels of these very versions for the target. Raises UsageError and NetworkError."""
    names = ", ".join(f"{package.name} {package.version}" for package in packages)
    if offline:
        raise NetworkError(
            f"wheels for {target.shown()} must be fetched, and --offline forbids it: {names}",
            "leave --offline out, or bundle on a machine of that kind",
        )
    if not has_pip():
        raise UsageError(
            f"wheels for {target.shown()} are fetched by pip, which is not installed", "python -m ensurepip"
        )
    digits = target.python.replace(".", "")
    abis = [word for abi in (f"cp{digits}", "abi3", "none") for word in ("--abi", abi)]
    platforms = [word for platform in target.platforms for word in ("--platform", platform)]
    command = [
        *(sys.executable, "-m", "pip", "--disable-pip-version-check", "download", "--quiet", "--no-deps"),
        *("--only-binary=:all:", "--python-version", target.python, "--implementation", "cp", *abis, *platforms),
        *("--dest", str(folder), *(f"{package.name}=={package.version}" for package in packages)),
    ]
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, encoding="utf-8", errors="replace", check=False, timeout=SECONDS
        )
    except subprocess.TimeoutExpired as error:
        raise NetworkError(f"pip did not fetch {names} within {SECONDS // 60} minutes", "try again") from error
    got = {canonicalize_name(parse_wheel_filename(path.name)[0]) for path in folder.glob("*.whl")}
    if done.returncode or not {package.name for package in packages} <= got:
        lines = [line for line in done.stderr.splitlines() if line.startswith("ERROR")] or ["no wheel came"]
        raise NetworkError(
            f"no wheels for {target.shown()}: {lines[-1].removeprefix('ERROR: ')[:300]}",
            "look at the network, choose another --python-version or --platform, or bundle on a machine of that kind",
        )


def has_pip() -> bool:
    """Whether this interpreter can run pip."""
    return find_spec("pip") is not None
