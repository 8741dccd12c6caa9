"""Which process of how many this is: read from the environment of torchrun, accelerate, Slurm or Kubeflow. No torch."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass

from hfkit.errors import UsageError
from hfkit.machine import srun_tasks

RENDEZVOUS = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT")


@dataclass(frozen=True)
class World:
    """This process's place: `rank` of `size` overall, `local_rank` of `local_size` on this machine."""

    rank: int = 0
    size: int = 1
    local_rank: int = 0
    local_size: int = 1
    nodes: int = 1
    how: str = "single process"
    even: bool = True  # whether all machines have as many as this one

    @property
    def main(self) -> bool:
        """Whether this is the one process that prints and writes."""
        return self.rank == 0

    def line(self) -> str:
        """The first line printed, e.g. `world 16 = 2 nodes x 8 (slurm)`."""
        nodes = "1 node" if self.nodes == 1 else f"{self.nodes} nodes"
        if not self.even:
            return f"world {self.size} = {nodes}, {self.local_size} processes on the first ({self.how})"
        return f"world {self.size} = {nodes} x {self.local_size} ({self.how})"

    def environment(self, master: str, port: int) -> dict[str, str]:
        """The variables that torch.distributed reads to join this world."""
        return {
            "RANK": str(self.rank),
            "WORLD_SIZE": str(self.size),
            "LOCAL_RANK": str(self.local_rank),
            "LOCAL_WORLD_SIZE": str(self.local_size),
            "MASTER_ADDR": master,
            "MASTER_PORT": str(port),
        }


@dataclass(frozen=True)
class Launch:
    """This process is a parent: it starts `local_size` copies of itself, ranks from `first_rank` of `size`."""

    local_size: int
    size: int
    first_rank: int
    nodes: int
    master: str
    port: int  # 0: a free one is chosen
    how: str

    def place(self, local_rank: int) -> World:
        """The world as the child `local_rank` sees it."""
        return World(self.first_rank + local_rank, self.size, local_rank, self.local_size, self.nodes, self.how)


def find_place(environment: Mapping[str, str], *, devices: int, processes: int | None) -> World | Launch:
    """Join what a launcher prepared, or start one process per device.

    `devices` is the number of local GPUs (1 for CPU), `processes` what the user asked for. Raises UsageError when the
    launcher's variables are incomplete or contradict `processes`.
    """
    given = [name for name in RENDEZVOUS if environment.get(name)]
    if len(given) == len(RENDEZVOUS):
        return _checked(_joined(environment), processes)
    if {"RANK", "WORLD_SIZE"} <= set(given) and "LOCAL_RANK" not in given:
        return _pod(environment, processes or devices, given)
    if srun_tasks(environment) > 1 and {"MASTER_ADDR", "MASTER_PORT"} >= set(given):
        return _checked(_slurm(environment), processes)
    if given:
        missing = [name for name in RENDEZVOUS if name not in given]
        raise UsageError(
            f"the environment sets {', '.join(given)} but not {', '.join(missing)}",
            "start hfkit through torchrun, accelerate launch or srun, or unset these variables",
        )
    wanted = processes or devices
    if wanted > 1:
        return Launch(wanted, wanted, 0, 1, "127.0.0.1", 0, "started here")
    return World()


def launched(environment: Mapping[str, str] = os.environ) -> bool:
    """Whether a launcher started this process as one of a world, by the same signs as `find_place`."""
    return bool(environment.get("WORLD_SIZE")) or srun_tasks(environment) > 1


def several(processes: int | None) -> bool:
    """Whether this process is one of several, or will only start them, as far as is known without a look at devices."""
    return launched() or (processes or 1) > 1


def slurm_master(environment: Mapping[str, str]) -> tuple[str, int]:
    """Address and port on which the ranks of a Slurm job meet: the first host of the job, a port from the job id."""
    hosts = (
        environment.get("SLURM_STEP_NODELIST")
        or environment.get("SLURM_JOB_NODELIST")
        or environment.get("SLURM_NODELIST")
    )
    if not hosts:
        raise UsageError(
            "SLURM_NTASKS is set but SLURM_JOB_NODELIST is not", "start hfkit with srun inside the allocation"
        )
    port = 20000 + _number(environment, "SLURM_JOB_ID", 0) % 20000
    return environment.get("MASTER_ADDR") or first_host(hosts), _number(environment, "MASTER_PORT", port)


def first_host(hosts: str) -> str:
    """The first host of a Slurm node list: `node[003-007,9]` gives `node003`, `a1,b2` gives `a1`."""
    match = re.match(r"([^,\[]+)(?:\[([^\]]+)\])?([^,\[]*)", hosts)
    if not match:
        raise UsageError(f"cannot read the Slurm node list '{hosts}'", "set MASTER_ADDR to the first node's address")
    stem, numbers, tail = match.group(1), match.group(2), match.group(3)
    return stem + re.split(r"[-,]", numbers)[0] + tail if numbers else stem


def join(world: World, environment: Mapping[str, str] = os.environ) -> dict[str, str]:
    """The variables to set before torch.distributed starts; empty when a launcher set them or there is one process."""
    if world.how != "slurm":
        return {}
    master, port = slurm_master(environment)
    return world.environment(master, port)


def _joined(environment: Mapping[str, str]) -> World:
    rank, size = _rank_and_size(environment)
    local_size = _count(environment, "LOCAL_WORLD_SIZE", size)
    nodes = _number(environment, "GROUP_WORLD_SIZE", -(-size // local_size))  # torchrun says it
    how = environment.get("HFKIT_STARTED_BY") or ("torchrun" if "TORCHELASTIC_RUN_ID" in environment else "environment")
    local_rank = _number(environment, "LOCAL_RANK")
    return World(rank, size, local_rank, local_size, nodes, how, even=nodes * local_size == size)


def _slurm(environment: Mapping[str, str]) -> World:
    size = srun_tasks(environment)
    nodes = _count(environment, "SLURM_STEP_NUM_NODES", _count(environment, "SLURM_NNODES", 1))
    counts = _tasks_of_nodes(environment, size, nodes)
    even = len(set(counts)) == 1
    here = counts[0 if even else _number(environment, "SLURM_NODEID")]
    local = _number(environment, "SLURM_LOCALID", 0)
    return World(_number(environment, "SLURM_PROCID"), size, local, here, nodes, "slurm", even)


def _tasks_of_nodes(environment: Mapping[str, str], size: int, nodes: int) -> list[int]:
    """How many of the `size` tasks of a step run on each of its nodes.

    Slurm writes `2(x3),1` for three nodes of two tasks and one of one; what it says of the job may not hold for the
    step. Raises UsageError where nothing says it and the tasks do not divide evenly.
    """
    for name in ("SLURM_STEP_TASKS_PER_NODE", "SLURM_TASKS_PER_NODE"):
        parts = re.findall(r"(\d+)(?:\(x(\d+)\))?", environment.get(name) or "")
        counts = [int(tasks) for tasks, times in parts for _ in range(int(times or 1))]
        if len(counts) == nodes and sum(counts) == size:
            return counts
    if size % nodes:
        raise UsageError(
            f"srun started {size} tasks on {nodes} nodes, and SLURM_STEP_TASKS_PER_NODE does not say how many on each",
            "start as many on each: srun --ntasks-per-node N",
        )
    return [size // nodes] * nodes


def _pod(environment: Mapping[str, str], devices: int, given: list[str]) -> World | Launch:
    missing = [name for name in ("MASTER_ADDR", "MASTER_PORT") if name not in given]
    if missing:
        raise UsageError(
            f"RANK and WORLD_SIZE are set but not {', '.join(missing)}", "the pods need an address to meet at"
        )
    node, nodes = _rank_and_size(environment)
    if nodes == 1 and devices == 1:
        return World(how="kubeflow")
    return Launch(
        devices,
        nodes * devices,
        node * devices,
        nodes,
        environment["MASTER_ADDR"],
        _number(environment, "MASTER_PORT"),
        "kubeflow",
    )


def _checked(world: World, processes: int | None) -> World:
    # Where machines have unequally many, all must come to the same answer, or some wait for those that refused.
    if processes is not None and processes not in (world.size, world.local_size if world.even else world.size):
        raise UsageError(
            f"--processes {processes} was asked, but the launcher started {world.size} processes",
            "leave --processes out when a launcher starts them",
        )
    return world


def _rank_and_size(environment: Mapping[str, str]) -> tuple[int, int]:
    """RANK and WORLD_SIZE. Raises UsageError where they do not fit: such a process would wait for ever."""
    rank, size = _number(environment, "RANK"), _count(environment, "WORLD_SIZE")
    if rank >= size:
        raise UsageError(f"RANK={rank} does not fit WORLD_SIZE={size}", "ranks count from 0 to WORLD_SIZE - 1")
    return rank, size


def _count(environment: Mapping[str, str], name: str, default: int | None = None) -> int:
    """A number of processes or machines, at least 1. Raises UsageError."""
    value = _number(environment, name, default)
    if value < 1:
        raise UsageError(f"the environment variable {name} is {value}", f"unset {name}, or let the launcher set it")
    return value


def _number(environment: Mapping[str, str], name: str, default: int | None = None) -> int:
    value = environment.get(name)
    if not value and default is not None:
        return default
    try:
        return int(re.split(r"[^0-9]", value or "")[0])
    except ValueError:
        raise UsageError(
            f"the environment variable {name} is {value!r}, not a number", f"unset {name}, or let the launcher set it"
        ) from None
