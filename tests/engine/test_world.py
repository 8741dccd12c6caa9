"""Which process of how many: torchrun, Slurm, Kubeflow pods, and what is incomplete."""

from __future__ import annotations

import pytest

from hfkit.engine.processes.place import take_place
from hfkit.engine.processes.world import Launch, World, find_place, first_host, join, launched, slurm_master
from hfkit.errors import UsageError

TORCHRUN = {
    "RANK": "3",
    "WORLD_SIZE": "4",
    "LOCAL_RANK": "1",
    "LOCAL_WORLD_SIZE": "2",
    "MASTER_ADDR": "a",
    "MASTER_PORT": "1",
}
SLURM = {
    "SLURM_NTASKS": "16",
    "SLURM_PROCID": "9",
    "SLURM_STEP_ID": "0",
    "SLURM_LOCALID": "1",
    "SLURM_NNODES": "2",
    "SLURM_JOB_NODELIST": "node[003-004]",
    "SLURM_JOB_ID": "77",
}
POD = {"RANK": "1", "WORLD_SIZE": "2", "MASTER_ADDR": "pod-0", "MASTER_PORT": "23456"}


def test_alone() -> None:
    assert find_place({}, devices=1, processes=None) == World()
    assert World().main
    assert World().line() == "world 1 = 1 node x 1 (single process)"


@pytest.mark.parametrize(("cores", "threads"), [(3, 3), (1, 1)])
def test_torch_takes_the_cores_that_this_process_may_use(
    cores: int, threads: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr("hfkit.engine.processes.place.cpus", lambda: cores)
    monkeypatch.setattr("torch.set_num_threads", asked.append)
    take_place(cpu=True, precision="float32")
    assert asked == [threads]
    monkeypatch.setenv("OMP_NUM_THREADS", "2")  # the user's own word
    take_place(cpu=True, precision="float32")
    assert asked == [threads]


def test_several_devices_are_started() -> None:
    plan = find_place({}, devices=4, processes=None)
    assert plan == Launch(4, 4, 0, 1, "127.0.0.1", 0, "started here")
    assert plan.place(2) == World(2, 4, 2, 4, 1, "started here")
    assert find_place({}, devices=1, processes=3) == Launch(3, 3, 0, 1, "127.0.0.1", 0, "started here")
    assert find_place({}, devices=4, processes=1) == World()


def test_torchrun_is_joined() -> None:
    world = find_place(TORCHRUN | {"TORCHELASTIC_RUN_ID": "x"}, devices=2, processes=None)
    assert world == World(3, 4, 1, 2, 2, "torchrun")
    assert world.line() == "world 4 = 2 nodes x 2 (torchrun)"
    assert not world.main
    assert join(world, TORCHRUN) == {}
    assert find_place(TORCHRUN, devices=2, processes=None).how == "environment"


def test_slurm_is_joined() -> None:
    world = find_place(SLURM, devices=8, processes=None)
    assert world == World(9, 16, 1, 8, 2, "slurm")
    assert world.line() == "world 16 = 2 nodes x 8 (slurm)"
    assert join(world, SLURM) == {
        "RANK": "9",
        "WORLD_SIZE": "16",
        "LOCAL_RANK": "1",
        "LOCAL_WORLD_SIZE": "8",
        "MASTER_ADDR": "node003",
        "MASTER_PORT": "20077",
    }


def test_slurm_with_a_master_of_the_job_script() -> None:
    environment = SLURM | {"MASTER_ADDR": "10.0.0.7", "MASTER_PORT": "4000"}
    world = find_place(environment, devices=8, processes=None)
    assert isinstance(world, World) and world.how == "slurm"
    assert slurm_master(environment) == ("10.0.0.7", 4000)


def test_slurm_of_one_task_or_without_srun_is_alone() -> None:
    assert find_place(SLURM | {"SLURM_NTASKS": "1"}, devices=1, processes=None) == World()
    assert find_place({"SLURM_NTASKS": "4"}, devices=1, processes=None) == World()
    with pytest.raises(UsageError, match="SLURM_JOB_NODELIST"):
        slurm_master({"SLURM_NTASKS": "4"})


@pytest.mark.parametrize(
    "changes",
    [
        {"SLURM_STEP_ID": ""},  # an sbatch script: the allocation's tasks are not there yet
        {"SLURM_STEP_ID": "4294967291"},  # the batch step itself
        {"SLURM_STEP_ID": "4294967290", "SLURM_STEP_NUM_TASKS": "1"},  # the shell of an interactive allocation
        {"SLURM_STEP_NUM_TASKS": "1"},  # srun -n 1 in an allocation of 16
    ],
)
def test_a_job_script_waits_for_nobody(changes: dict[str, str]) -> None:
    environment = SLURM | {"SLURM_PROCID": "0"} | changes
    assert find_place(environment, devices=1, processes=None) == World()
    assert find_place(environment, devices=2, processes=None) == Launch(2, 2, 0, 1, "127.0.0.1", 0, "started here")
    assert not launched(environment)


def test_the_step_says_how_many_not_the_allocation() -> None:
    step = {"SLURM_STEP_NUM_TASKS": "4", "SLURM_STEP_NUM_NODES": "1", "SLURM_PROCID": "3", "SLURM_LOCALID": "3"}
    assert find_place(SLURM | step, devices=8, processes=None) == World(3, 4, 3, 4, 1, "slurm")


@pytest.mark.parametrize(
    ("name", "said", "here"),
    [
        ("SLURM_STEP_TASKS_PER_NODE", "2(x1),1", [2, 1]),
        ("SLURM_TASKS_PER_NODE", "2,1", [2, 1]),
        ("SLURM_TASKS_PER_NODE", "1(x2),2,1(x1)", [1, 1, 2, 1]),
    ],
)
def test_slurm_nodes_of_unequally_many_tasks(name: str, said: str, here: list[int]) -> None:
    nodes, size = len(here), sum(here)
    step = {"SLURM_STEP_NUM_TASKS": str(size), "SLURM_STEP_NUM_NODES": str(nodes), "SLURM_LOCALID": "0", name: said}
    for node, tasks in enumerate(here):
        own = SLURM | step | {"SLURM_NODEID": str(node), "SLURM_PROCID": str(sum(here[:node]))}
        world = find_place(own, devices=8, processes=None)
        assert world == World(sum(here[:node]), size, 0, tasks, nodes, "slurm", even=False)
        assert find_place(own, devices=8, processes=size) == world
        with pytest.raises(UsageError, match=f"--processes {tasks}"):  # on all nodes, or none
            find_place(own, devices=8, processes=tasks)
    assert World(0, 3, 0, 2, 2, "slurm", even=False).line() == "world 3 = 2 nodes, 2 processes on the first (slurm)"


def test_slurm_tasks_that_nothing_deals_out_are_refused() -> None:
    """What holds for the job and not for the step says nothing: 16 tasks on two nodes, three of them in the step."""
    step = {"SLURM_STEP_NUM_TASKS": "3", "SLURM_TASKS_PER_NODE": "8(x2)"}
    with pytest.raises(UsageError, match="3 tasks on 2 nodes") as caught:
        find_place(SLURM | step, devices=8, processes=None)
    assert "--ntasks-per-node" in str(caught.value.hint)
    assert find_place(SLURM | step | {"SLURM_STEP_NUM_TASKS": "4"}, devices=8, processes=None) == World(
        9, 4, 1, 2, 2, "slurm"
    )


def test_torchrun_says_how_many_machines() -> None:
    uneven = TORCHRUN | {"RANK": "0", "WORLD_SIZE": "3", "GROUP_WORLD_SIZE": "2", "TORCHELASTIC_RUN_ID": "x"}
    world = find_place(uneven, devices=2, processes=None)
    assert isinstance(world, World)
    assert world.line() == "world 3 = 2 nodes, 2 processes on the first (torchrun)"


def test_launched_by_the_same_signs() -> None:
    assert launched(TORCHRUN) and launched(POD) and launched(SLURM)
    assert not launched({})


@pytest.mark.parametrize(
    ("hosts", "first"),
    [
        ("node003", "node003"),
        ("a1,b2", "a1"),
        ("node[003-007,9]", "node003"),
        ("gpu-[12,14]-ib,login", "gpu-12-ib"),
        ("n[1-2],m[3-4]", "n1"),
        ("cluster1-node[08]", "cluster1-node08"),
    ],
)
def test_first_host_of_node_lists(hosts: str, first: str) -> None:
    assert first_host(hosts) == first


def test_pods_start_their_devices_as_local_ranks() -> None:
    plan = find_place(POD, devices=8, processes=None)
    assert plan == Launch(8, 16, 8, 2, "pod-0", 23456, "kubeflow")
    assert plan.place(3) == World(11, 16, 3, 8, 2, "kubeflow")
    environment = plan.place(3).environment("pod-0", 23456) | {"HFKIT_STARTED_BY": "kubeflow"}
    assert find_place(environment, devices=8, processes=None) == plan.place(3)
    with pytest.raises(UsageError, match="MASTER_PORT"):
        find_place({k: v for k, v in POD.items() if k != "MASTER_PORT"}, devices=8, processes=None)


@pytest.mark.parametrize("given", [TORCHRUN, POD])
@pytest.mark.parametrize(("name", "value"), [("WORLD_SIZE", "0"), ("RANK", "4"), ("RANK", "first")])
def test_numbers_that_cannot_be_are_named(given: dict[str, str], name: str, value: str) -> None:
    with pytest.raises(UsageError, match=name):
        find_place(given | {name: value}, devices=2, processes=None)


def test_launchers_numbers_that_cannot_be_are_named() -> None:
    with pytest.raises(UsageError, match="LOCAL_WORLD_SIZE is 0"):
        find_place(TORCHRUN | {"LOCAL_WORLD_SIZE": "0"}, devices=1, processes=None)
    with pytest.raises(UsageError, match="SLURM_NNODES is 0"):
        find_place(SLURM | {"SLURM_NNODES": "0"}, devices=1, processes=None)
    with pytest.raises(UsageError, match="MASTER_PORT is 'auto', not a number"):
        slurm_master(SLURM | {"MASTER_PORT": "auto"})


@pytest.mark.parametrize("missing", ["RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT"])
def test_a_missing_variable_is_named(missing: str) -> None:
    environment = {k: v for k, v in TORCHRUN.items() if k != missing}
    with pytest.raises(UsageError, match=f"not {missing}") as caught:
        find_place(environment, devices=1, processes=None)
    assert caught.value.code == 2


def test_what_contradicts_is_refused() -> None:
    with pytest.raises(UsageError, match="--processes 3"):
        find_place(TORCHRUN, devices=1, processes=3)
    with pytest.raises(UsageError, match="RANK=4"):
        find_place(TORCHRUN | {"RANK": "4"}, devices=1, processes=None)
    with pytest.raises(UsageError, match="WORLD_SIZE"):
        find_place(TORCHRUN | {"WORLD_SIZE": "many"}, devices=1, processes=None)
