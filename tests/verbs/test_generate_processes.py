"""generate as a user meets it: a job that is killed and goes on, a signal, a pipe, a terminal that is typed at."""

from __future__ import annotations

import json
import multiprocessing
import os
import re
import select
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import engine_helpers as helpers
import pytest
import tiny_models

from hfkit.cli import main
from hfkit.engine.processes.launch import free_port
from hfkit.report.text import safe

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="signals and terminals of POSIX")

GREEDY = ["--cpu", "--temperature", "0", "generate.dtype=float32"]
ENDLESS = ["generate.overflow=slide", "generate.max_new_tokens=1000000"]
SECONDS = 240  # a busy machine is slow, not wrong


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_models.save("gpt2", tmp_path_factory.mktemp("gpt2"), "AutoModelForCausalLM")


@pytest.fixture(autouse=True)
def one_thread(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    import torch

    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def until(condition: Callable[[], Any]) -> Any:
    end = time.monotonic() + SECONDS
    while not (found := condition()):
        assert time.monotonic() < end
        time.sleep(0.005)
    return found


@pytest.fixture
def job(model: Path, tmp_path: Path) -> list[str]:
    """34 prompts, sampled one by one: windows of 16, 16 and 2."""
    text = "the small river runs behind the old mill and the boat carries bread"
    lines = [text[n % 17 : n % 17 + 3 + 5 * (n % 7)] for n in range(34)]
    (tmp_path / "prompts.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    keys = ["--cpu", "generate.dtype=float32", "generate.batch_size=1", "generate.max_new_tokens=16"]
    return ["generate", str(model), "--prompts", str(tmp_path / "prompts.txt"), *keys]


def test_a_killed_job_goes_on_to_the_same_bytes(job: list[str], tmp_path: Path) -> None:
    whole, target = tmp_path / "whole.jsonl", tmp_path / "texts.jsonl"
    partial = tmp_path / "texts.jsonl.partial"
    assert helpers.call([*job, "-o", str(whole)])[0] == 0
    for sent, code in ((signal.SIGKILL, -9), (signal.SIGTERM, 143)):
        process = helpers.start([*job, "-o", str(target), "--resume"], tmp_path / "log")
        before = len(partial.read_bytes().splitlines()) if partial.exists() else 0
        until(lambda least=before + 16: partial.exists() and len(partial.read_bytes().splitlines()) >= least)
        os.kill(process.pid, sent)
        process.join(SECONDS)
        assert process.exitcode == code and not target.exists()
    said = (tmp_path / "log.err").read_text(encoding="utf-8")
    assert "16 of 34 prompts are done" in said and "prompts, which are kept" in said and "add --resume" in said
    code, result, said = helpers.call([*job, "-o", str(target), "--resume"])
    assert code == 0 and result["rows"] == 34 and "of 34 prompts are done" in said
    assert target.read_bytes() == whole.read_bytes() and not partial.exists()
    code, again, said = helpers.call([*job, "-o", str(target), "--resume"])
    assert (code, again) == (0, result) and "is finished" in said


def test_processes_share_the_rows_of_a_file(job: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two processes of gloo, started here and by a launcher: the lines of one, byte for byte, also where they go on
    with what one began."""
    whole, target = tmp_path / "whole.jsonl", tmp_path / "texts.jsonl"
    assert helpers.call([*job, "-o", str(whole)])[0] == 0
    _, told, _ = helpers.call([*job, "-o", str(target)])
    record = tmp_path / ".texts.jsonl.job.json"
    lines = target.read_bytes().splitlines(keepends=True)
    target.unlink()
    (tmp_path / "texts.jsonl.partial").write_bytes(b"".join(lines[:16]) + b'{"torn')
    record.write_text(json.dumps({**json.loads(record.read_text("utf-8")), "result": None}), encoding="utf-8")
    world = {"WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1"}
    texts = ["generate", *job[1:2], "the river", *GREEDY]
    fresh = [*job, "-o", str(tmp_path / "fresh.jsonl"), "--processes", "2"]
    with monkeypatch.context() as patch:
        patch.setattr("hfkit.engine.processes.launch.subprocess", helpers.launched(tmp_path / "started"))
        patch.setattr(sys, "argv", ["hfkit", *fresh])
        assert main(fresh) == 0
    commands = [[*job, "-o", str(target), "--resume"], texts]
    logs = [tmp_path / f"log{number}-{rank}" for number in range(len(commands)) for rank in range(2)]
    started = []
    for number, command in enumerate(commands):
        place = {**world, "MASTER_PORT": str(free_port())}
        for rank, log in enumerate(logs[2 * number : 2 * number + 2]):
            started.append(helpers.start(command, log, {**place, "RANK": str(rank), "LOCAL_RANK": str(rank)}))
    for process in started:
        process.join(SECONDS)
    logs = [*(tmp_path / f"started-{rank}" for rank in range(2)), *logs]
    said = [Path(f"{log}.err").read_text("utf-8") for log in logs]
    assert [process.exitcode for process in started] == [0] * len(started), said
    assert (tmp_path / "fresh.jsonl").read_bytes() == target.read_bytes() == whole.read_bytes()
    assert "world 2 = 1 node x 2 (started here)" in said[0] and "16 of 34 prompts are done" in said[2]
    printed = [Path(f"{log}.out").read_text("utf-8") for log in logs]
    assert not any(said[1::2]) and not any(printed[1::2])
    result = json.loads(printed[0])
    assert {**result, "output": 0, "throughput": 0} == {**told, "output": 0, "throughput": 0}
    assert json.loads(printed[4])["predictions"] == helpers.call(texts)[1]["predictions"]


def as_ranks(
    commands: Sequence[list[str]], folder: Path, *, largest_file: int | None = None
) -> tuple[list[int], list[str], list[str]]:
    """Run a command of each rank as one world; returns their exit codes, and what each said on stderr and stdout."""
    size = str(len(commands))
    world = {"WORLD_SIZE": size, "LOCAL_WORLD_SIZE": size, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port())}
    started = [
        helpers.start(
            command, folder / f"rank{rank}", {**world, "RANK": str(rank), "LOCAL_RANK": str(rank)},
            largest_file=largest_file,
        )
        for rank, command in enumerate(commands)
    ]  # fmt: skip
    for process in started:
        process.join(SECONDS)
    errs, outs = (
        [(folder / f"rank{rank}.{end}").read_text("utf-8") for rank in range(len(commands))] for end in ("err", "out")
    )
    return [process.exitcode for process in started], errs, outs


def test_only_the_first_process_reads_the_prompts(job: list[str], tmp_path: Path) -> None:
    """The second could not: it is given the name of a file that is not there."""
    target = tmp_path / "texts.jsonl"
    first = [*job, "-o", str(target)]
    second = [word.replace("prompts.txt", "nowhere.txt") for word in first]
    codes, errs, outs = as_ranks([first, second], tmp_path)
    assert codes == [0, 0], errs
    assert "34 rows" in errs[0] and (errs[1], outs[1]) == ("", "")
    assert helpers.call([*job, "-o", str(tmp_path / "whole.jsonl")])[0] == 0
    assert target.read_bytes() == (tmp_path / "whole.jsonl").read_bytes()


@pytest.mark.parametrize(
    ("line", "key", "code", "words"),
    [
        ('{"prompt": ', "generate.seed=0", 3, "bad.jsonl:2"),
        ('{"prompt": null, "id": "7"}', r"generate.template={prompt}!", 3, "row '7': prompt is null"),
        (json.dumps({"prompt": "the mill " * 200, "id": "7"}), "generate.seed=0", 2, "prompt 7: "),
    ],
    ids=["json", "template", "context"],
)
def test_what_is_wrong_with_a_prompt_ends_all_and_is_said_once(
    model: Path, tmp_path: Path, line: str, key: str, code: int, words: str
) -> None:
    (tmp_path / "bad.jsonl").write_text(f'{{"prompt": "the river", "id": "1"}}\n{line}\n', encoding="utf-8")
    job = ["generate", str(model), "--prompts", str(tmp_path / "bad.jsonl"), "--cpu", key]
    codes, errs, outs = as_ranks([job, job], tmp_path)
    assert codes == [code, code], errs
    assert words in errs[0] and errs[0].count("error: ") == 1 and (errs[1], outs[1]) == ("", "")
    assert json.loads(outs[0])["error"]["code"] == code


def test_lines_that_cannot_be_written_end_all(job: list[str], tmp_path: Path) -> None:
    job = [*job, "-o", str(tmp_path / "texts.jsonl")]
    codes, errs, _ = as_ranks([job, job], tmp_path, largest_file=4000)
    assert codes == [5, 5], errs
    assert all(err.count("error: ") == 1 and "texts.jsonl.partial: cannot be written" in err for err in errs)


def test_texts_that_differ_between_processes_are_refused(model: Path, tmp_path: Path) -> None:
    jobs = [["generate", str(model), text, *GREEDY] for text in ("the river", "the mill")]
    codes, errs, _ = as_ranks(jobs, tmp_path)
    assert codes == [2, 2], errs
    assert "process 1 was given other prompts" in errs[0]


def test_what_processes_cannot_share_is_refused(job: list[str], model: Path) -> None:
    code, result, _ = helpers.call(["generate", str(model), "the river", "--processes", "2", "--cpu"])
    assert code == 2 and "--prompts" in result["error"]["hint"]
    code, result, _ = helpers.call(["generate", str(model), "--interactive", "--processes", "2"])
    assert code == 2 and "one process" in result["error"]["message"]


def _attached(arguments: list[str], place: str, terminal: bool, cache: str) -> None:
    """A command with a terminal as its streams, or a named pipe as its stdout."""
    os.environ |= {"HFKIT_CACHE": cache, "TERM": "xterm", "OMP_NUM_THREADS": "1"}
    if terminal:
        os.login_tty(os.open(place, os.O_RDWR))
        sys.stdin = open(0, encoding="utf-8", closefd=False)  # noqa: SIM115 - multiprocessing closed it
    else:
        os.dup2(os.open(place, os.O_WRONLY), 1)
    sys.stdout = open(1, "w", encoding="utf-8", closefd=False)  # noqa: SIM115
    sys.stderr = open(2, "w", encoding="utf-8", closefd=False)  # noqa: SIM115
    import torch

    from hfkit.cli import main

    torch.set_num_threads(1)
    code = main(arguments)
    sys.stdout.flush()
    os._exit(code)


class Attached:
    """A process whose output is read as it comes: from a named pipe, or from a terminal that is typed at."""

    def __init__(self, arguments: list[str], pipe: Path | None = None, run: Callable[..., None] = _attached) -> None:
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(helpers.PRELOAD)
        if pipe is None:
            self.end, child = os.openpty()
            place = os.ttyname(child)
        else:
            os.mkfifo(pipe)
            self.end, place = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK), str(pipe)
        given = (arguments, place, pipe is None, os.environ["HFKIT_CACHE"])
        self.process = context.Process(target=run, args=given, daemon=True)  # ends with a test that fails
        self.process.start()
        self.text = ""

    def read(self) -> str:
        """What came since, waiting for it; "" when nothing does."""
        if not select.select([self.end], [], [], 1)[0]:
            return ""
        try:
            piece = os.read(self.end, 4096).decode("utf-8", "replace")
        except OSError:  # a terminal that nobody holds any more
            return ""
        self.text += piece
        return piece

    def wait_for(self, pattern: str) -> None:
        """Read until the text that was not waited for yet has the pattern; it is then behind us."""
        end = time.monotonic() + SECONDS
        while not (found := re.search(pattern, self.text, re.DOTALL)):
            self.read()
            assert time.monotonic() < end and self.process.is_alive(), f"{pattern} is not in {self.text!r}"
        self.text = self.text[found.end() :]

    def type(self, text: str) -> None:
        os.write(self.end, text.encode())

    def code(self) -> int | None:
        self.process.join(SECONDS)
        os.close(self.end)
        return self.process.exitcode


def test_one_prompt_is_streamed_into_a_pipe_as_it_comes(model: Path, tmp_path: Path) -> None:
    found = Attached(["generate", str(model), "the river", *GREEDY, *ENDLESS], tmp_path / "pipe")
    found.wait_for(".{40}")  # long before the end
    os.kill(found.process.pid, signal.SIGINT)
    assert found.code() == 130


def test_a_terminal_that_is_typed_at(model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HFKIT_CACHE", str(tmp_path / "cache"))
    _, expected, _ = helpers.call(["generate", str(model), "the river", "the old\nmill", *GREEDY])
    texts = [re.escape(safe(row["completion"])).replace("\\\n", r"\s+") for row in expected["predictions"]]
    found = Attached(["generate", str(model), "--interactive", *GREEDY])
    found.wait_for(r"each line is a prompt.*> ")
    found.type("the river\n")
    found.wait_for(rf"the river\r\n.*{texts[0]}\s+.*> ")
    found.type('"""the old\n')
    found.wait_for(r"\.\.\. ")
    found.type('mill"""\n')
    found.wait_for(rf"{texts[1]}\s+.*> ")
    found.type("/set temprature=0\n")
    found.wait_for(r"warning: .*temperature.*> ")
    for key in ENDLESS:
        found.type(f"/set {key}\n")
        found.wait_for("> ")
    found.type("a boat\n")
    found.wait_for(r"a boat\r\n.{400}")
    found.type("\x03")
    found.wait_for(r"\r\n.*> ")
    found.type("dropped")
    found.wait_for("dropped")
    found.type("\x03")
    found.wait_for(r"\r\n.*> ")
    found.type("\x1b[A")  # the history: what was typed last
    found.wait_for("a boat")
    found.type("\x03")
    found.wait_for(r"\r\n.*> ")
    found.type("/quit\n")
    assert found.code() == 0
    assert "a boat" in (tmp_path / "cache" / "generate_history").read_text(encoding="utf-8").splitlines()


def _asked_for_lines(arguments: list[str], place: str, terminal: bool, cache: str) -> None:
    """A conversation that says what it was told, and hears SIGINT in another thread than the one that waits."""
    os.environ |= {"HFKIT_CACHE": cache, "TERM": "xterm"}
    os.login_tty(os.open(place, os.O_RDWR))
    sys.stdin = open(0, encoding="utf-8", closefd=False)  # noqa: SIM115
    sys.stdout = open(1, "w", encoding="utf-8", closefd=False)  # noqa: SIM115
    sys.stderr = open(2, "w", encoding="utf-8", closefd=False)  # noqa: SIM115
    from hfkit.cli.typed import entries
    from hfkit.stopping import conversing, listening

    def interrupt() -> None:
        time.sleep(0.5)
        signal.pthread_kill(threading.get_ident(), signal.SIGINT)

    with listening(), conversing():
        threading.Thread(target=interrupt).start()
        sys.stdout.write(f"heard {next(entries()).text}\n")
        sys.stdout.flush()


def test_ctrl_c_is_seen_although_nothing_more_is_typed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HFKIT_CACHE", str(tmp_path))
    found = Attached([], run=_asked_for_lines)
    found.wait_for("> ")
    found.type("dropped")
    found.wait_for(r"dropped\r\n.*> ")
    found.type("kept\n")
    found.wait_for(r"heard kept\r\n")
    assert found.code() == 0


def test_lines_of_a_pipe_are_prompts(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import io

    typed = 'the river\n\n/set max_new_tokens=2\n"""\n/the old\n"""\n/reste\n'
    monkeypatch.setattr(sys, "stdin", io.StringIO(typed))
    code, result, said = helpers.call(["generate", str(model), "--interactive", *GREEDY])
    rows = result["predictions"]
    assert code == 0 and [row["prompt"] for row in rows] == ["the river", "/the old\n"]
    assert rows[1]["tokens"] <= 2 < rows[0]["tokens"] and "did you mean /reset" in said
    code, result, _ = helpers.call(["generate", str(model), "--interactive", "-o", "x.jsonl"])
    assert code == 2 and json.dumps(result["error"])
