"""Several processes: another number of them (FD17), one that dies or hangs (FD18). Over gloo, as under Slurm."""

from __future__ import annotations

import json
import os
import signal
import time
from pathlib import Path
from typing import Any

from drills.harness import STEPS, Drill, stepping, wait_for


def ranks(drill: Drill, run: Path, *extra: str, **train: Any) -> list[Any]:
    """Two processes of one run, as srun would start them."""
    from hfkit.engine.processes.launch import free_port

    slurm = {
        "SLURM_NTASKS": "2", "SLURM_NNODES": "1", "SLURM_STEP_ID": "0", "SLURM_JOB_NODELIST": "localhost",
        "SLURM_JOB_ID": "5", "MASTER_PORT": str(free_port()),
    }  # fmt: skip
    made = []
    for rank in range(2):
        own = {**slurm, "SLURM_PROCID": str(rank), "SLURM_LOCALID": str(rank)}
        log = run.with_name(f"{run.name}-{rank}")
        from engine_helpers import start

        made.append(start(drill.command(run, *extra, **train), log, own))
    return made


def losses(run: Path) -> dict[int, float]:
    """Step -> loss, the last one written."""
    lines = (run / "events.jsonl").read_text("utf-8").splitlines()
    return {e["step"]: e["fields"]["loss"] for e in map(json.loads, lines) if e["kind"] == "step"}


def shares(world: int) -> list[list[int]]:
    """The examples of each step over all processes of a world, with their weights."""
    import numpy as np

    from hfkit.engine.plan import Drawn, packed_batches, share_of

    lengths = np.arange(61) % 9 + 3
    drawn, found = Drawn(len(lengths), 8, 42), []
    for step in range(STEPS):
        rows: list[int] = []
        for rank in range(world):
            parts = packed_batches(drawn.examples(step), lengths, 4)
            rows += [int(i) for _, part, weight, _ in share_of(parts, rank, world) if weight for i in part]
        found.append(sorted(rows))
    return found


def worlds(drill: Drill) -> None:
    """FD17: 1, 2, 1 processes: the same examples in every step, none twice in an epoch, losses within 1e-5."""
    one = shares(1)
    for world in (2, 3):
        drill.note(shares(world) == one, f"world {world} has other examples")
    epoch = [row for step in one[:8] for row in step]
    drill.note(sorted(epoch) == list(range(61)), "an example is missing or twice")
    if not drill.full:
        return
    run = drill.stopped("worlds", 4)
    processes = ranks(drill, run, "--resume")
    wait_for(lambda: len(list(run.glob("checkpoints/step-0000000[68]"))) > 0, processes[0])
    for process in processes:
        os.kill(process.pid, signal.SIGTERM)
    for process in processes:
        process.join(60)
    drill.note([p.exitcode for p in processes] == [143, 143], f"{[p.exitcode for p in processes]}")
    code, _, err = drill.call(run, "--resume")
    mine, theirs = losses(run), losses(drill.whole())
    close = mine.keys() == theirs.keys() and all(abs(mine[step] - theirs[step]) < 1e-5 for step in theirs)
    drill.note(code == 0 and close and "the number of processes was 2" in err, err)


def lost(drill: Drill) -> None:
    """FD18: a process is killed, or stopped: the other ends by itself within 60 s and names it; the run goes on."""
    cases = [(signal.SIGKILL, 1), (signal.SIGKILL, 0), (signal.SIGSTOP, 1), (signal.SIGSTOP, 0)]
    if not drill.full:
        return watched(drill)
    for number, rank in cases:
        run = drill.path("lost")
        processes = ranks(drill, run, max_steps=100_000)
        wait_for(lambda run=run: stepping(run), processes[0])
        time.sleep(0.5)
        os.kill(processes[rank].pid, number)
        begun = time.monotonic()
        other = processes[1 - rank]
        other.join(90)
        seconds = time.monotonic() - begun
        processes[rank].kill()
        for process in processes:
            process.kill()
            process.join()
        err = run.with_name(f"{run.name}-{1 - rank}.err").read_text("utf-8")
        named = f"process {rank}" in err or "lost contact with another" in err
        good = other.exitcode not in (0, None) and seconds <= 60 and named and "Traceback" not in err
        drill.note(good, f"{number.name} {rank}: {other.exitcode} after {seconds:.0f} s: {err}")
        drill.details.setdefault("seconds_of", {})[f"{number.name} {rank}"] = round(seconds, 1)
        code, _, err = drill.call(run, "--resume", max_steps=100_000, time="2s")
        drill.note(code == 2, "another recipe")  # the folder is free again, and says what changed
    return None


class _Store:
    """The counters of a store, in memory; a rank in `silent` no longer comes round."""

    def __init__(self) -> None:
        self.values: dict[str, int] = {}
        self.rounds_of: list[int] = []
        self.broken = False

    def add(self, key: str, number: int) -> int:
        if self.broken:
            raise RuntimeError("Connection reset by peer")
        if key.startswith("rounds/") and int(key[7:]) in self.rounds_of:
            number += 1
        self.values[key] = self.values.get(key, 0) + number
        return self.values[key]


def watched(drill: Drill) -> None:
    """The watch alone, with other ranks played by a store: silent, behind, gone with the store, or well."""
    import hfkit.engine.processes.watch as watch
    from hfkit.engine.processes.world import World

    settings = {"ROUND_SECONDS": 0.02, "SILENT_SECONDS": 0.3, "STALLED_SECONDS": 0.4}
    kept = {name: getattr(watch, name) for name in settings}
    said: list[str] = []
    die = watch.die
    for name, value in settings.items():
        setattr(watch, name, value)
    watch.die = lambda error: said.append(error.message)
    try:
        for case, words in (("silent", "process 2 of 3"), ("behind", "process 1 of 3 processes hangs"), ("well", "")):
            said.clear()
            store = _Store()
            store.rounds_of = [1] if case == "silent" else [1, 2]
            store.values.update({"moves/1": 1 if case == "behind" else 2, "moves/2": 5})
            seen = watch.Watch(World(rank=0, size=3), store)
            for _ in range(3):
                seen.moved()
            end = time.monotonic() + (1.0 if case == "well" else 5.0)
            while time.monotonic() < end and not said:
                time.sleep(0.01)
            seen.end()
            drill.note(said[0].startswith(words) if words else not said, f"{case}: {said}")
    finally:
        watch.die = die
        for name, value in kept.items():
            setattr(watch, name, value)


DRILLS = {"FD17": worlds, "FD18": lost}
