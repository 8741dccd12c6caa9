"""The processes of a run watch each other while they train: one that died or hangs ends all, and is named.

Each process counts in the store where they met: how often its watching thread came round, and how many micro-batches
its main thread began. Who no longer comes round is stopped or dead; when nobody's main thread moves, they wait for the
one that is behind. Waiting ends after `SILENT_SECONDS`, instead of the half hour that collectives wait.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from hfkit.engine.processes.world import World
from hfkit.errors import ResourceError
from hfkit.stopping import die

ROUND_SECONDS = 2.0
SILENT_SECONDS = 30.0  # a process whose thread does not come round for so long is dead or stopped
STALLED_SECONDS = 40.0  # no process begins a micro-batch for so long, and for PATIENCE times the longest so far
PATIENCE = 20.0
HINT = "look at that process's machine; add --resume to the same command to go on"
SAID = "look at what that process said last"
LOST_WORDS = ("gloo", "nccl", "connection closed by peer", "connection reset by peer", "torch.distributed")


class Watch:
    """One process's view of the others; `moved` at each micro-batch, `resting` when steps pause, `end` at the end."""

    def __init__(self, world: World, store: Any) -> None:
        self._world, self._store = world, store
        self._moves, self._stepping = 0, False
        self._moved_at, self._longest = time.monotonic(), 0.0
        self._round_at = time.monotonic()
        self._ended = threading.Event()
        self._parent = os.getppid() if os.environ.get("HFKIT_STARTED_BY") else None
        for work in (self._go_round, self._look_at_rounds) if store is not None else ():
            threading.Thread(target=work, daemon=True).start()

    @classmethod
    def of(cls, world: World) -> Watch:
        """The watch of this process's world; one that does nothing for a process alone."""
        if world.size == 1:
            return cls(world, None)
        import torch

        store = torch.distributed.distributed_c10d._get_default_store()
        return cls(world, torch.distributed.PrefixStore("hfkit/watch", store))

    def moved(self) -> None:
        """A micro-batch begins."""
        now = time.monotonic()
        if self._stepping:
            self._longest = max(self._longest, now - self._moved_at)
        self._moves, self._stepping, self._moved_at = self._moves + 1, True, now

    def resting(self) -> None:
        """No steps for a while: evaluations and checkpoints take as long as they take."""
        self._stepping = False

    def end(self) -> None:
        self._ended.set()

    def _go_round(self) -> None:
        """Tell the others, read the others, every ROUND_SECONDS."""
        told = 0
        last: dict[int, tuple[int, float]] = {}  # rank -> (its rounds, when they last grew)
        stands: tuple[list[int], float] = ([], time.monotonic())  # all counts of moves, since when they are so
        while not self._ended.wait(ROUND_SECONDS):
            try:
                counts = self._exchange(2 * self._moves + self._stepping - told)
            except Exception:  # the store went with its process, unless all is over
                if not self._ended.wait(10):
                    self._die("process 0, where all meet, is gone")
                return
            told = counts[self._world.rank][1]
            now = self._round_at = time.monotonic()
            for rank, (rounds, _) in enumerate(counts):
                if rank not in last or last[rank][0] != rounds:
                    last[rank] = (rounds, now)
                elif now - last[rank][1] > SILENT_SECONDS:
                    self._die(f"process {rank} of {self._world.size} is dead or hangs: silent for {SILENT_SECONDS:g} s")
            moves = [stand for _, stand in counts]
            if moves != stands[0] or not all(stand % 2 for stand in moves):
                stands = (moves, now)
            elif now - stands[1] > max(STALLED_SECONDS, PATIENCE * self._longest):
                behind = [rank for rank, stand in enumerate(moves) if stand == min(moves)]
                who = f"process {behind[0]} of" if len(behind) == 1 else "one of the"
                self._die(f"{who} {self._world.size} processes hangs: no step for {now - stands[1]:.0f} s")
            if self._parent is not None and os.getppid() != self._parent:
                os.kill(os.getpid(), signal.SIGTERM)  # the parent is gone: save and leave
                self._parent = None

    def _exchange(self, grown: int) -> list[tuple[int, int]]:
        """(rounds, moves) of every rank; adding nothing reads a counter without waiting for it to exist."""
        mine = self._world.rank
        return [
            (
                self._store.add(f"rounds/{rank}", int(rank == mine)),
                self._store.add(f"moves/{rank}", grown * (rank == mine)),
            )
            for rank in range(self._world.size)
        ]

    def _look_at_rounds(self) -> None:
        """The store itself may hang with the process that keeps it."""
        while not self._ended.wait(ROUND_SECONDS):
            if time.monotonic() - self._round_at > SILENT_SECONDS + ROUND_SECONDS:
                self._die(f"process 0, where all meet, hangs: no answer for {SILENT_SECONDS:g} s")

    def _die(self, message: str) -> None:
        if not self._ended.is_set():
            die(ResourceError(message, HINT))


@contextmanager
def losses_named(world: World, hint: str = HINT) -> Iterator[None]:
    """Inside, a collective that fails since another process left raises a ResourceError that says so, with `hint`."""
    try:
        yield
    except RuntimeError as error:
        text = str(error).lower()
        if world.size == 1 or not any(word in text for word in LOST_WORDS):
            raise
        line = (str(error).strip().splitlines() or [""])[0][:150]
        what = f"process {world.rank} lost contact with another of the {world.size} processes"
        raise ResourceError(f"{what} ({line})", hint) from error
