"""Being asked to stop: raised at once, or asked for by work that saves first; twice ends the process."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from hfkit import stopping
from hfkit.stopping import AskedToStop, asked, conversing, interrupted, listening, reading, saving_first


def until(condition: Callable[[], Any]) -> None:
    end = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


@pytest.mark.parametrize(("name", "code"), [("SIGTERM", 143), ("SIGINT", 130), ("SIGUSR1", 75)])
def test_a_request_is_raised_where_nothing_is_to_be_saved(name: str, code: int) -> None:
    before = signal.getsignal(getattr(signal, name))
    with pytest.raises(AskedToStop) as caught, listening():
        os.kill(os.getpid(), getattr(signal, name))
        until(lambda: False)
    assert caught.value.code == code and not isinstance(caught.value, Exception)
    assert signal.getsignal(getattr(signal, name)) == before and asked() is None


def test_a_request_waits_for_work_that_saves_first() -> None:
    with listening():
        with saving_first():
            os.kill(os.getpid(), signal.SIGTERM)
            os.kill(os.getpid(), signal.SIGTERM)  # the same request, delivered twice
            until(asked)
            assert asked() == "SIGTERM"
            error = stopping.stopped("SIGTERM", "at step 3, and saved")
            assert error.code == 143 and error.message == "stopped by SIGTERM at step 3, and saved"
        with pytest.raises(AskedToStop), saving_first():
            pytest.fail("it was asked before")


def test_in_a_conversation_sigint_ends_an_answer_and_sigterm_the_command() -> None:
    with pytest.raises(AskedToStop) as caught, listening(), conversing():
        for _ in range(2):
            os.kill(os.getpid(), signal.SIGINT)
            until(interrupted)
            time.sleep(stopping.AGAIN_SECONDS + 0.1)  # a second one, not the first delivered twice
        with pytest.raises(KeyboardInterrupt), reading():
            os.kill(os.getpid(), signal.SIGINT)
            until(lambda: False)
        assert asked() is None
        os.kill(os.getpid(), signal.SIGTERM)
        until(lambda: False)
    assert caught.value.code == 143


def test_outside_the_main_thread_nothing_is_done() -> None:
    found: list[bool] = []

    def work() -> None:
        with listening(), saving_first():
            found.append(asked() is None)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert found == [True]


def _twice() -> None:
    with listening(), saving_first():
        os.kill(os.getpid(), signal.SIGINT)
        until(asked)
        time.sleep(stopping.AGAIN_SECONDS + 0.1)
        os.kill(os.getpid(), signal.SIGTERM)
        end = time.monotonic() + 20
        while time.monotonic() < end:  # no Python code between: the main thread is busy elsewhere
            sum(range(10**6))


def _swallowed() -> None:
    stopping.GRACE_SECONDS = 0.3
    with listening():
        while True:
            try:
                os.kill(os.getpid(), signal.SIGTERM)
                time.sleep(20)
            except AskedToStop:
                pass  # as a library's destructor would


def _closing() -> None:
    stopping.GRACE_SECONDS = 1.5
    with listening():
        with saving_first():
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(2.5)  # a large model is saved
        time.sleep(0.8)  # its lock is given back, the last words are said
        os._exit(7)


def _dying() -> None:
    from hfkit.errors import ResourceError

    with listening(last_words=lambda error: os.write(1, f"{error.message}\n".encode())):
        threading.Thread(target=stopping.die, args=(ResourceError("process 1 is gone"),)).start()
        time.sleep(20)


@pytest.mark.parametrize(("work", "code"), [(_twice, 130), (_swallowed, 143), (_dying, 5)])
def test_a_process_that_must_end_at_once_does(work: Callable[[], None], code: int) -> None:
    process = multiprocessing.get_context("fork").Process(target=work)
    begun = time.monotonic()
    process.start()
    process.join(10)
    assert process.exitcode == code and time.monotonic() - begun < 8


def test_what_comes_after_a_long_save_is_not_cut_off() -> None:
    """The grace of what closes counts from the end of the save, not from the request."""
    process = multiprocessing.get_context("fork").Process(target=_closing)
    process.start()
    process.join(20)
    assert process.exitcode == 7
