"""The lock of a run folder: who has it, who may take it, and what is left when its holder was killed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from hfkit import lock
from hfkit.errors import ResourceError, UsageError
from hfkit.lock import Hold


def written(folder: Path, **changes: Any) -> None:
    here = lock.Holder.here()
    values = {"host": here.host, "pid": here.pid, "born": here.born, "token": "of another", **changes}
    (folder / lock.NAME).write_text(json.dumps(values), encoding="utf-8")


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lock, "BEAT_SECONDS", 0.05)
    monkeypatch.setattr(lock, "WATCH_SECONDS", 0.4)


def test_a_held_folder_is_refused_and_free_again_after(tmp_path: Path) -> None:
    with Hold() as hold:
        hold.take(tmp_path)
        assert lock.is_held(tmp_path)
        assert lock.read(tmp_path).pid == os.getpid()
        with pytest.raises(UsageError, match=f"in use by process {os.getpid()} on "), Hold() as other:
            other.take(tmp_path)
        with pytest.raises(UsageError, match="in use"):
            lock.refuse_held(tmp_path)
        hold.check()
    assert not lock.is_held(tmp_path) and not list(tmp_path.iterdir())


def test_the_lock_of_a_dead_process_is_taken_over_at_once(tmp_path: Path) -> None:
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    written(tmp_path, pid=dead.pid, born="1")
    assert not lock.is_held(tmp_path)
    begun = time.monotonic()
    with Hold() as hold:
        hold.take(tmp_path)
        assert time.monotonic() - begun < 0.3 and lock.is_held(tmp_path)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux says when a process was born")
def test_a_number_used_again_is_not_the_same_process(tmp_path: Path) -> None:
    written(tmp_path, born="1")
    assert not lock.is_held(tmp_path)
    zombie = subprocess.Popen([sys.executable, "-c", ""])
    while Path(f"/proc/{zombie.pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z":
        time.sleep(0.01)
    written(tmp_path, pid=zombie.pid, born=None)
    assert not lock.is_held(tmp_path)
    zombie.wait()


def test_another_host_is_watched(tmp_path: Path) -> None:
    written(tmp_path, host="elsewhere", pid=1)
    lock.refuse_held(tmp_path)  # the quick look cannot tell
    assert str(lock.foreign(tmp_path)) == "process 1 on elsewhere"
    end = threading.Event()

    def alive() -> None:
        while not end.wait(0.05):
            os.utime(tmp_path / lock.NAME)

    thread = threading.Thread(target=alive)
    thread.start()
    with pytest.raises(UsageError, match="in use by process 1 on elsewhere"), Hold() as hold:
        hold.take(tmp_path)
    end.set()
    thread.join()
    os.utime(tmp_path / lock.NAME, (time.time() + 10**6,) * 2)  # the other clock runs ahead
    with Hold() as hold:
        hold.take(tmp_path)
        assert lock.read(tmp_path).pid == os.getpid()


def test_two_that_take_over_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written(tmp_path, born="1")
    monkeypatch.setattr(lock.time, "sleep", lambda _: written(tmp_path, pid=os.getppid(), born=None))
    with pytest.raises(UsageError, match=f"in use by process {os.getppid()}"), Hold() as hold:
        hold.take(tmp_path)
    assert lock.read(tmp_path).pid == os.getppid()  # the lock of the other one is left alone


def test_a_lost_lock_is_noticed_and_not_removed(tmp_path: Path) -> None:
    with Hold() as hold:
        hold.take(tmp_path)
        written(tmp_path, pid=os.getppid())
        end = time.monotonic() + 5
        while time.monotonic() < end and not hold._lost:
            time.sleep(0.02)
        with pytest.raises(UsageError, match="was taken by process"):
            hold.check()
    assert (tmp_path / lock.NAME).exists()


def test_without_hard_links(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: Any) -> None:
        raise OSError(1, "Operation not permitted")

    monkeypatch.setattr(lock.os, "link", refused)
    with Hold() as hold:
        hold.take(tmp_path)
        with pytest.raises(UsageError), Hold() as other:
            other.take(tmp_path)


@pytest.mark.parametrize("content", ["", "{", "[]", '{"host": 1}'])
def test_a_damaged_lock_binds_nobody(tmp_path: Path, content: str) -> None:
    (tmp_path / lock.NAME).write_text(content, encoding="utf-8")
    with Hold() as hold:
        hold.take(tmp_path)
        assert lock.is_held(tmp_path)


def test_a_folder_that_is_gone(tmp_path: Path) -> None:
    with pytest.raises(ResourceError), Hold() as hold:
        hold.take(tmp_path / "nothing")
