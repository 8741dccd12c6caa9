"""The machine that a bundle is for: its Python and its platform, as pip and the markers of packages name them."""

from __future__ import annotations

import platform as here
import re
import sys
from collections.abc import Iterable
from dataclasses import dataclass

from packaging.markers import default_environment
from packaging.tags import Tag, compatible_tags, cpython_tags, mac_platforms, platform_tags, sys_tags

from hfkit.errors import UsageError

LEGACY = {"manylinux2014": 17, "manylinux2010": 12, "manylinux1": 5}  # glibc 2.N
SYSTEMS = (  # how a platform tag begins -> os.name, sys.platform, platform.system()
    (("manylinux", "linux", "musllinux"), "posix", "linux", "Linux"),
    (("macosx",), "posix", "darwin", "Darwin"),
    (("win",), "nt", "win32", "Windows"),
)


@dataclass(frozen=True)
class Target:
    """`python` as "3.12"; `platforms` from the newest tag; `native`: this interpreter on this machine."""

    python: str
    platforms: tuple[str, ...]
    native: bool

    def tags(self) -> frozenset[Tag]:
        """Every tag that a wheel may have there."""
        if self.native:
            return frozenset(sys_tags())
        version = tuple(map(int, self.python.split(".")))
        interpreter = f"cp{version[0]}{version[1]}"
        plain = compatible_tags(version, interpreter, self.platforms)
        return frozenset([*cpython_tags(version, platforms=self.platforms), *plain])

    def fits(self, tags: Iterable[Tag]) -> bool:
        """Whether a wheel with these tags can be installed there."""
        return not self.tags().isdisjoint(tags)

    def environment(self) -> dict[str, str]:
        """What the markers of a requirement are held against, without `extra`."""
        known = {name: str(value) for name, value in default_environment().items()}
        if self.native:
            return known
        first = self.platforms[0]
        _, os_name, sys_platform, system = next(row for row in SYSTEMS if first.startswith(row[0]))
        machine = re.sub(r"^(manylinux\w*?|musllinux|linux|macosx|win)(_\d+)*_(?=[a-z])", "", first)
        return known | {
            "python_version": self.python, "python_full_version": f"{self.python}.0",
            "implementation_version": f"{self.python}.0", "os_name": os_name, "sys_platform": sys_platform,
            "platform_system": system, "platform_machine": machine,
        }  # fmt: skip

    def shown(self) -> str:
        """One line for people."""
        return f"Python {self.python} on {self.platforms[0]}"


def target_of(python: str | None, platform: str | None) -> Target:
    """The target that is asked for, by default this interpreter and machine. Raises UsageError."""
    mine = f"{sys.version_info[0]}.{sys.version_info[1]}"
    wanted = python or mine
    if not re.fullmatch(r"3\.\d+", wanted):
        raise UsageError(f"--python-version {wanted}: not a version of Python", "write it as 3.12")
    if int(wanted.partition(".")[2]) < 11:
        raise UsageError(f"--python-version {wanted}: hfkit needs Python 3.11 or newer", "write 3.11 or newer")
    platforms = tuple(platform_tags()) if platform is None else expanded(platform)
    native = wanted == mine and platforms == tuple(platform_tags()) and here.python_implementation() == "CPython"
    return Target(wanted, platforms, native)


def expanded(platform: str) -> tuple[str, ...]:
    """A platform tag and the older ones that it takes too. Raises UsageError for what is none."""
    if found := re.fullmatch(r"(manylinux_2_(\d+)|manylinux2014|manylinux2010|manylinux1)_([a-z]\w+)", platform):
        name, glibc, machine = found.groups()
        newest = int(glibc) if glibc else LEGACY[name]
        tags = []
        for minor in range(newest, 4, -1):
            tags.append(f"manylinux_2_{minor}_{machine}")
            tags += [f"{old}_{machine}" for old, number in LEGACY.items() if number == minor]
        return (*tags, f"linux_{machine}")
    if found := re.fullmatch(r"macosx_(\d+)_(\d+)_(\w+)", platform):
        return tuple(mac_platforms((int(found[1]), int(found[2])), found[3]))
    if re.fullmatch(r"win32|win_amd64|win_arm64|(linux|musllinux_\d+_\d+)_[a-z]\w+", platform):
        return (platform,)
    raise UsageError(
        f"--platform {platform}: not a platform tag",
        "examples: manylinux_2_28_x86_64, macosx_14_0_arm64, win_amd64",
    )
