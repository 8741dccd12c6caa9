"""What hfkit stands on, as installed here: every package below it, torch apart, with what is asked of each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import Distribution, PackageNotFoundError, distribution

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

from hfkit.errors import UsageError
from hfkit.verbs.bundle.own import own_distribution
from hfkit.verbs.bundle.target import Target
from hfkit.verbs.bundle.wheel import is_pure

OWN = "hfkit"
NEVER = ("torch",)  # gigabytes, and of a build that only its machine knows; what torch alone needs is left out with it


@dataclass(frozen=True)
class Package:
    """An installed package: what the others ask of its version, and whether it runs on every platform."""

    name: str
    dist: Distribution
    asked: SpecifierSet
    pure: bool

    @property
    def version(self) -> str:
        return str(self.dist.version)

    def requirement(self) -> str:
        """`name>=1,<2`, as pip reads it."""
        return f"{self.name}{self.asked}"


def packages_below(extras: Sequence[str], target: Target) -> dict[str, Package]:
    """hfkit with these extras and all that it needs on the target, by canonical name; torch without what it needs.

    Raises UsageError when one is missing here, or is not the version that another asks for.
    """
    environment = target.environment()
    found: dict[str, Distribution] = {OWN: own_distribution()}
    asked: dict[str, SpecifierSet] = {OWN: SpecifierSet()}
    seen: set[tuple[str, frozenset[str]]] = set()
    waiting = [(OWN, frozenset(extras))]
    while waiting:
        name, of_extras = waiting.pop()
        if (name, of_extras) in seen:
            continue
        seen.add((name, of_extras))
        for wanted in requirements(found[name], of_extras, environment):
            other = canonicalize_name(wanted.name)
            dist = found.get(other) or installed(wanted, name)
            if not wanted.specifier.contains(dist.version, prereleases=True):
                raise UsageError(
                    f"{name} asks for {wanted}, and {dist.version} is installed",
                    f"`pip install '{other}{wanted.specifier}'`",
                )
            found[other] = dist
            asked[other] = asked.get(other, SpecifierSet()) & wanted.specifier
            if other not in NEVER:
                waiting.append((other, frozenset(wanted.extras)))
    return {name: Package(name, found[name], asked[name], is_pure(found[name])) for name in sorted(found)}


def requirements(dist: Distribution, extras: frozenset[str], environment: Mapping[str, str]) -> list[Requirement]:
    """What a package with these extras needs in an environment."""
    all_of_it = [Requirement(text) for text in dist.requires or ()]
    return [
        wanted
        for wanted in all_of_it
        if wanted.marker is None
        or any(wanted.marker.evaluate({**environment, "extra": extra}) for extra in ("", *sorted(extras)))
    ]


def installed(wanted: Requirement, by: str) -> Distribution:
    """The package that a requirement names. Raises UsageError."""
    try:
        return distribution(wanted.name)
    except PackageNotFoundError as error:
        raise UsageError(
            f"{by} needs {wanted}, which is not installed here, so it cannot be bundled",
            f"`pip install '{wanted.name}{wanted.specifier}'`",
        ) from error
