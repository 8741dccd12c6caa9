"""What a machine says of its memory and its cores, under control groups of both versions."""

from __future__ import annotations

from pathlib import Path

import pytest

from hfkit.machine import Memory, cpus, memory

MEMINFO = "MemTotal: 16000000 kB\nMemFree: 1 kB\nMemAvailable: 12000000 kB\nHugePages_Total: 0\n"


def write(root: Path, name: str, text: object) -> None:
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"{text}\n", encoding="ascii")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    write(tmp_path, "proc/meminfo", MEMINFO)
    return tmp_path


def test_without_groups_it_is_the_machines(root: Path) -> None:
    assert memory(root) == Memory(16_000_000 * 1024, 12_000_000 * 1024)


def test_the_narrowest_group_of_version_2(root: Path) -> None:
    write(root, "proc/self/cgroup", "0::/slice/job/step")
    group = "sys/fs/cgroup/slice"
    write(root, f"{group}/job/step/memory.max", "max")
    write(root, f"{group}/job/step/memory.current", 5)
    write(root, f"{group}/job/memory.max", 4 * 10**9)
    write(root, f"{group}/job/memory.current", 3 * 10**9)
    write(root, f"{group}/job/memory.stat", f"anon 5\ninactive_file {10**9}")
    write(root, f"{group}/memory.max", 8 * 10**9)
    write(root, f"{group}/memory.current", 3 * 10**9)
    assert memory(root) == Memory(4 * 10**9, 2 * 10**9)


def test_version_1_and_its_way_of_saying_no_limit(root: Path) -> None:
    write(root, "proc/self/cgroup", "9:name=systemd:/\n4:memory,x:/box/one\n3:cpu:/box\n0::/")
    group = "sys/fs/cgroup/memory"
    write(root, f"{group}/memory.limit_in_bytes", 9223372036854771712)
    write(root, f"{group}/memory.usage_in_bytes", 10**9)
    assert memory(root) == Memory(16_000_000 * 1024, 12_000_000 * 1024)
    # a container sees its own group at the top, whatever the path says
    write(root, f"{group}/memory.limit_in_bytes", 2 * 10**9)
    assert memory(root) == Memory(2 * 10**9, 10**9)


@pytest.fixture
def eight(monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that may run on eight cores."""
    monkeypatch.setattr("os.sched_getaffinity", lambda process: set(range(8)), raising=False)


@pytest.mark.usefixtures("eight")
def test_cores_without_a_quota_are_those_of_the_affinity(root: Path) -> None:
    assert cpus(root) == 8
    write(root, "proc/self/cgroup", "0::/")
    write(root, "sys/fs/cgroup/cpu.max", "max 100000")
    assert cpus(root) == 8


@pytest.mark.usefixtures("eight")
@pytest.mark.parametrize(("quota", "cores"), [("300000 100000", 3), ("50000 100000", 1), ("99000000 100000", 6)])
def test_the_narrowest_quota_of_version_2(root: Path, quota: str, cores: int) -> None:
    write(root, "proc/self/cgroup", "0::/slice/job/step")
    write(root, "sys/fs/cgroup/slice/job/step/cpu.max", "max 100000")
    write(root, "sys/fs/cgroup/slice/job/cpu.max", quota)
    write(root, "sys/fs/cgroup/slice/cpu.max", "600000 100000")
    assert cpus(root) == cores


@pytest.mark.usefixtures("eight")
def test_the_quota_of_version_1(root: Path) -> None:
    write(root, "proc/self/cgroup", "4:memory:/box\n3:cpu,cpuacct:/box/one")
    write(root, "sys/fs/cgroup/cpu/box/one/cpu.cfs_quota_us", -1)
    write(root, "sys/fs/cgroup/cpu/box/one/cpu.cfs_period_us", 100000)
    assert cpus(root) == 8
    write(root, "sys/fs/cgroup/cpu/box/cpu.cfs_quota_us", 200000)
    write(root, "sys/fs/cgroup/cpu/box/cpu.cfs_period_us", 100000)
    assert cpus(root) == 2


def test_here() -> None:
    assert cpus() >= 1
    found = memory()
    assert found is None or 0 < found.free <= found.total
