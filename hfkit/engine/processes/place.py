"""This process on its device: accelerate's Accelerator for the world that was joined, checked against the wish."""

from __future__ import annotations

import os
import pickle
import warnings
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator, DistributedDataParallelKwargs
from accelerate.state import AcceleratorState
from accelerate.tracking import LOGGER_TYPE_TO_CLASS, get_available_trackers
from accelerate.utils import InitProcessGroupKwargs, gather_object
from torch.distributed import DistError, distributed_c10d

from hfkit.engine.precision import Precision, auto_precision
from hfkit.engine.processes.launch import launch
from hfkit.engine.processes.launcher import check_backend, check_launcher
from hfkit.engine.processes.world import Launch, World, find_place, join
from hfkit.errors import ResourceError, UsageError
from hfkit.machine import cpus

PATIENCE = timedelta(days=7)  # the longest that the first process may take to read and encode
MEETING = timedelta(minutes=30)  # the longest wait in a collective, over NCCL as well: some last as long as scoring
HEARING = timedelta(seconds=30)  # how long it waits for the others' answer before it goes on, or ends
PIECE = 4 << 20  # bytes; the store refuses a value of more than 8 MB
HEARD = b"heard"
MIXED = {"float32": "no", "bfloat16": "bf16", "float16": "fp16"}


@dataclass(frozen=True)
class Place:
    """A device, a rank, and the number format in force."""

    world: World
    accelerator: Accelerator
    precision: Precision
    precision_why: str
    sharded: bool = False  # whether processes hold shares of the weights (train.distributed=fsdp)

    @property
    def device(self) -> torch.device:
        return self.accelerator.device

    def describe(self) -> str:
        """The device in words."""
        share = ", weights shared out" if self.sharded else ""
        if self.device.type == "cuda":
            return f"{self.world.size} x {torch.cuda.get_device_name(self.device)}{share}"
        processes = f", {self.world.size} processes" if self.world.size > 1 else ""
        return f"{self.device.type}, {torch.get_num_threads()} threads{processes}{share}"

    def sum(self, values: torch.Tensor) -> torch.Tensor:
        """The sum of a tensor over all processes."""
        return self.accelerator.reduce(values, reduction="sum") if self.world.size > 1 else values

    def check_wrapped(self, model: torch.nn.Module) -> None:
        """Raise UsageError when what is trained is not spread over the processes as `train.distributed` says."""
        if self.world.size == 1:
            return
        fsdp = torch.distributed.fsdp.FSDPModule if self.sharded else torch.nn.parallel.DistributedDataParallel
        if not isinstance(model, fsdp):
            raise UsageError(
                f"train.distributed={'fsdp' if self.sharded else 'ddp'} was asked, but the model became a "
                f"{type(model).__name__}",
                "unset ACCELERATE_USE_FSDP and ACCELERATE_USE_DEEPSPEED",
            )

    def gather(self, value: Any) -> list[Any]:
        """One value of each process, in rank order, on every process."""
        return gather_object([value]) if self.world.size > 1 else [value]

    def scatter(self, values: Sequence[Any] | None) -> Any:
        """The value that the first process has for this one: it gives one for each, in rank order, others none."""
        if self.world.size == 1:
            assert values is not None, "the only process is the first"
            return values[0]
        found: list[Any] = [None]
        torch.distributed.scatter_object_list(found, None if values is None else list(values), src=0)
        return found[0]

    def tell(self, name: str, value: Any) -> None:
        """Say a value under a name, once; the other processes may hear it however much later.

        Raises ResourceError when another process cannot see its files. One that does not answer is not waited for long:
        what is done together next finds out whether it is dead.
        """
        if self.world.size == 1:
            return
        store = distributed_c10d._get_default_store()
        # Pickled as torch's own collectives pickle objects: processes of one job trust each other.
        said = pickle.dumps(value)
        starts = range(0, len(said), PIECE)
        for start in starts:
            store.set(f"{name} from {start}", said[start : start + PIECE])
        store.set(name, ",".join(map(str, starts)))
        answers = [f"{name} {rank}" for rank in range(1, self.world.size)]
        with suppress(DistError):
            store.wait(answers, HEARING)
            for answer in map(store.get, answers):
                if answer != HEARD:
                    raise pickle.loads(answer)

    def hear(self, name: str) -> Any:
        """Wait for what another process tells under a name.

        Raises ResourceError when its files are not to be seen, or the process where all meet is gone.
        """
        # Not by a collective: the others may read data for hours first, and collectives give up after minutes.
        store, answer = distributed_c10d._get_default_store(), f"{name} {self.world.rank}"
        try:
            store.wait([name], PATIENCE)
            said = b"".join(store.get(f"{name} from {start}") for start in store.get(name).decode().split(","))
            value = pickle.loads(said)
            store.set(answer, HEARD)
            return value
        except DistError as error:
            raise ResourceError("process 0, where all meet, is gone", "look at what it said last") from error
        except OSError as error:
            problem = ResourceError(
                f"{error.filename or error}: made by the first process, not to be seen by process {self.world.rank}",
                "set HFKIT_CACHE to a folder that all machines share",
            )
            store.set(answer, pickle.dumps(problem))
            raise problem from error

    def track(self, folder: Path, settings: Mapping[str, Any]) -> None:
        """Start the experiment trackers, if any; those that write files write below `folder`."""
        if self.accelerator.log_with:
            self.accelerator.project_configuration.set_directories(str(folder))
            self.accelerator.project_configuration.logging_dir = str(folder)
            self.accelerator.init_trackers("hfkit", config=_plain(settings))

    def close(self) -> None:
        """Finish the trackers and leave the process group, so that no process complains at its end."""
        if self.accelerator.log_with:
            for tracker in self.accelerator.trackers:
                tracker.finish()
        if torch.distributed.is_available() and torch.distributed.is_initialized():
            torch.distributed.destroy_process_group()

    def barrier(self) -> None:
        """Wait for the other processes."""
        if self.world.size > 1:
            self.accelerator.wait_for_everyone()


def take_place(
    *,
    cpu: bool,
    processes: int | None = None,
    precision: str = "auto",
    trackers: Sequence[str] = (),
    distributed: str = "ddp",
) -> Place:
    """Join the world and its device. Starts child processes, waits and raises Delegated when there are several devices.

    Raises UsageError when a launcher's variables do not fit, or the joined world has another size than asked.
    """
    gpus = 0 if cpu else torch.cuda.device_count()
    found = find_place(os.environ, devices=max(1, gpus), processes=processes)
    if gpus and found.local_size > gpus:
        message = f"{found.local_size} processes were asked for, but this machine has {gpus} GPU" + (
            "s" if gpus > 1 else ""
        )
        raise UsageError(message, "ask for at most one process per GPU, or add --cpu")
    if isinstance(found, Launch):
        raise launch(found)
    sharded = distributed == "fsdp"
    if sharded and found.size == 1:
        raise UsageError(
            "train.distributed=fsdp shares weights out over processes, and there is one",
            "start several with --processes or a launcher, or take train.distributed=ddp",
        )
    os.environ.update(join(found))
    if "OMP_NUM_THREADS" not in os.environ:
        torch.set_num_threads(max(1, cpus() // found.local_size))
    device = torch.device("cuda", found.local_rank) if gpus else torch.device("mps" if _mps(cpu) else "cpu")
    chosen, why = auto_precision(device) if precision == "auto" else (precision, "given")
    if chosen == "float16" and device.type == "cpu":
        raise UsageError(
            "train.precision=float16 needs a GPU: its loss scaling is not made for CPUs",
            "take train.precision=bfloat16 or train.precision=float32",
        )
    if sharded and chosen == "float16":
        raise UsageError(
            "train.distributed=fsdp does not scale losses, which float16 needs",
            "take train.precision=bfloat16 or train.precision=float32",
        )
    check_trackers(trackers)
    check_launcher(os.environ)
    if found.size == 1:
        # accelerate keeps its first settings for the life of the process; a notebook may run several models.
        AcceleratorState._reset_state(reset_partial_state=True)
    accelerator = _accelerator(device.type == "cpu", MIXED[chosen], trackers)
    if accelerator.num_processes != found.size:
        raise UsageError(
            f"{found.size} processes were started but {accelerator.num_processes} joined",
            "unset RANK, WORLD_SIZE and LOCAL_RANK, or start hfkit through torchrun",
        )
    check_backend(accelerator, MIXED[chosen], device)
    return Place(found, accelerator, chosen, why, sharded)  # type: ignore[arg-type]


def check_trackers(names: Sequence[str]) -> None:
    """Raise UsageError for a tracker that accelerate does not know, or whose package is not installed."""
    known = [str(getattr(kind, "value", kind)) for kind in LOGGER_TYPE_TO_CLASS]
    here = {str(getattr(kind, "value", kind)) for kind in get_available_trackers()}
    for name in names:
        if name not in known:
            raise UsageError(f"train.trackers: '{name}' is not a tracker", "there are " + ", ".join(known))
        if name not in here:
            raise UsageError(
                f"train.trackers: {name} is not installed", f"install it with `pip install {name.replace('_', '-')}`"
            )


def _mps(cpu: bool) -> bool:
    return not cpu and hasattr(torch.backends, "mps") and torch.backends.mps.is_available()


def _accelerator(cpu: bool, mixed: str, trackers: Sequence[str] = ()) -> Accelerator:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return Accelerator(
            cpu=cpu,
            mixed_precision=mixed,
            log_with=list(trackers) or None,
            project_dir=".",  # the run's folder once it is known, see track()
            kwargs_handlers=[
                DistributedDataParallelKwargs(gradient_as_bucket_view=True, broadcast_buffers=False),
                InitProcessGroupKwargs(timeout=MEETING),
            ],
        )


def _plain(values: Mapping[str, Any]) -> dict[str, Any]:
    """Settings as trackers take them: numbers and words only."""
    return {name: value if isinstance(value, (int, float, str, bool)) else str(value) for name, value in values.items()}
