"""The parent of several processes, with real children."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from hfkit.engine.processes import launch as launching
from hfkit.engine.processes.launch import launch
from hfkit.engine.processes.world import Launch
from hfkit.stopping import listening

TWO = Launch(2, 2, 0, 1, "127.0.0.1", 0, "started here")
NAMES = "RANK WORLD_SIZE LOCAL_RANK LOCAL_WORLD_SIZE MASTER_ADDR MASTER_PORT HFKIT_STARTED_BY OMP_NUM_THREADS"


def python(code: str) -> list[str]:
    return [sys.executable, "-c", f"import os, sys, time, signal\nrank = int(os.environ['RANK'])\n{code}"]


def test_each_child_knows_its_place(tmp_path: Path) -> None:
    code = f"open(r'{tmp_path}/' + str(rank), 'w').write(' '.join(os.environ[n] for n in '{NAMES}'.split()))"
    assert launch(TWO, python(code)).code == 0
    first, second = ((tmp_path / name).read_text().split() for name in "01")
    assert first[:4] == ["0", "2", "0", "2"]
    assert second[:4] == ["1", "2", "1", "2"]
    assert first[4:6] == second[4:6]
    assert first[4] == "127.0.0.1" and int(first[5]) > 0
    assert " ".join(first[6:8]) == "started here"


def test_the_first_failure_ends_the_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(launching, "GRACE_SECONDS", 0.5)
    begun = time.monotonic()
    assert launch(TWO, python("sys.exit(4) if rank else time.sleep(60)")).code == 4
    assert 0.4 < time.monotonic() - begun < 20


def test_the_rest_may_end_by_itself_within_the_grace_period() -> None:
    assert launch(TWO, python("sys.exit(6) if rank else (time.sleep(0.4), sys.exit(3))")).code == 6


def test_a_killed_child_counts_as_a_shell_counts() -> None:
    ended = launch(TWO, python("os.kill(os.getpid(), signal.SIGKILL) if rank else None"))
    assert ended.code == 137 and ended.said
    assert ended.problem is not None and ended.problem.message == "process 1 of 2 was killed by SIGKILL"
    assert not launch(TWO, python("None if rank else os.kill(os.getpid(), signal.SIGKILL)")).said


def test_signals_reach_the_children(tmp_path: Path) -> None:
    code = (
        "signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))\n"
        f"open(r'{tmp_path}/' + str(rank), 'w').close()\n"
        "time.sleep(60)"
    )

    def terminate() -> None:
        while len(list(tmp_path.iterdir())) < 2:
            time.sleep(0.02)
        os.kill(os.getpid(), signal.SIGTERM)

    previous = signal.getsignal(signal.SIGTERM)
    threading.Thread(target=terminate, daemon=True).start()
    assert launch(TWO, python(code)).code == 143
    assert signal.getsignal(signal.SIGTERM) == previous


def test_a_signal_that_comes_before_all_children_are_there_reaches_them(monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[subprocess.Popen[bytes]] = []
    popen = subprocess.Popen

    def asked_meanwhile(command: list[str], **given: Any) -> subprocess.Popen[bytes]:
        started.append(popen(command, **given))
        if len(started) == 1:
            os.kill(os.getpid(), signal.SIGUSR1)
        return started[-1]

    monkeypatch.setattr(launching.subprocess, "Popen", asked_meanwhile)
    begun = time.monotonic()
    with listening():  # as the command line does
        ended = launch(TWO, python("time.sleep(60)"))
    assert ended.code == 75 and "stopped by SIGUSR1" in str(ended.problem), "a scheduler is to start it again"
    assert [child.returncode for child in started] == [-signal.SIGUSR1], "no other was started"
    assert time.monotonic() - begun < 40
