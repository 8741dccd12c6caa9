"""Performs one case, in this process or as a real command, and judges what came of it. For tests and drills."""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
import re
import shlex
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import typer

import hfkit
from bad_input import checkpoints
from bad_input.case import Case, Files
from hfkit.cli import main
from hfkit.cli.parse import parse
from hfkit.errors import UsageError

PACKAGE = Path(hfkit.__file__).parent
LINES = 15  # on stderr
MOST_SECONDS = 30  # until an error is said, on a busy machine
CONTROLS = r"[\x00-\x08\x0b-\x1f\x7f-\x9f]"
KINDS = {2: "usage", 3: "data", 4: "model", 5: "resources", 7: "network"}


def put(files: Files) -> None:
    """Write files into the current folder."""
    for name, content in files.items():
        path = Path(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)


def words(case: Case, models: Path, beside: Path) -> list[str]:
    """The command line, models put in their places (damaged ones made now)."""

    def place(found: re.Match[str]) -> str:
        name = found[1]
        if name in checkpoints.DAMAGE:
            target = beside / name
            return str(target if target.exists() else checkpoints.damaged(name, models, target))
        return str(models / name)

    return [re.sub(r"\{(\w+)\}", place, word) for word in shlex.split(case.command)]


def tree(folder: Path) -> dict[str, str]:
    """Every file and folder below, with a digest of its content."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else ""
        for path in sorted(folder.rglob("*"))
    }


def perform(case: Case, models: Path, beside: Path) -> None:
    """Run a case in this process, in the current folder (an empty one), and judge it. Raises AssertionError."""
    put(case.files)
    command = words(case, models, beside)
    before = tree(Path.cwd())
    with environment(case.environment), no_input():
        code, out, err = said(command)
    judge(case, code, out, err)
    if case.code:
        assert tree(Path.cwd()) == before, "a refused command left something"
    assert not list(beside.glob("canary*")), "code of a checkpoint was run"


def perform_for_real(case: Case, models: Path, beside: Path) -> None:
    """The same as a command in a process of its own."""
    put(case.files)
    command = words(case, models, beside)
    before = tree(Path.cwd())
    begun = time.monotonic()
    done = spawn(["-m", "hfkit", *command, "--json"], case.environment)
    seconds = time.monotonic() - begun
    judge(case, done.returncode, done.stdout, done.stderr)
    assert tree(Path.cwd()) == before, "a refused command left something"
    assert not list(beside.glob("canary*")), "code of a checkpoint was run"
    assert seconds < MOST_SECONDS, f"{seconds:.1f} s until the error"


def said(command: list[str]) -> tuple[int, str, str]:
    """Exit code, stdout and stderr of a command line in this process, `--json` added."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = main([*command, "--json"])
    return code, out.getvalue(), err.getvalue()


@contextlib.contextmanager
def environment(changes: Mapping[str, str]) -> Iterator[None]:
    """Environment variables for a while."""
    before = {name: os.environ.get(name) for name in changes}
    os.environ.update(changes)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


@contextlib.contextmanager
def no_input() -> Iterator[None]:
    """Nothing can be read from stdin: a command that asks a question must fail, not wait."""
    kept, sys.stdin = sys.stdin, io.StringIO("")
    try:
        yield
    finally:
        sys.stdin = kept


def spawn(command: list[str], surroundings: Mapping[str, str], **more: Any) -> subprocess.CompletedProcess[str]:
    """A Python process of its own, without input."""
    inside = {**os.environ, "PYTHONPATH": str(PACKAGE.parent), "OMP_NUM_THREADS": "1", **surroundings}
    return subprocess.run(
        [sys.executable, *command], capture_output=True, text=True, encoding="utf-8", timeout=120, check=False,
        stdin=subprocess.DEVNULL, env=inside, **more,
    )  # fmt: skip


def judge(case: Case, code: int, out: str, err: str) -> None:
    """What holds of every case, whatever it is."""
    assert code == case.code, err
    assert "Traceback" not in err
    assert re.search(case.says, err, re.DOTALL), err
    assert not re.search(CONTROLS, out + err), "control characters reached the terminal"
    result = json.loads(out.splitlines()[-1])
    if case.code:
        _judge_refusal(case, result, err)
    else:
        assert result["ok"] is True
        assert case.holds is None or case.holds(result), result


def _judge_refusal(case: Case, result: dict[str, Any], err: str) -> None:
    assert len(err.splitlines()) <= LINES, err
    assert set(result) == {"command", "ok", "error"}
    assert result["ok"] is False
    error = result["error"]
    assert set(error) == {"code", "kind", "message", "hint"}
    assert (error["code"], error["kind"]) == (case.code, KINDS[case.code])
    assert error["message"], err
    assert error["hint"], err
    shown = [line for line in err.splitlines() if line.startswith("error: ")]
    assert len(shown) == 1
    for command in re.findall(r"`(hfkit [^`]*)`", error["hint"]):
        try:
            with contextlib.redirect_stdout(io.StringIO()):  # a hint of --help would print it
                parse(shlex.split(command)[1:])
        except (UsageError, typer.TyperException) as problem:
            raise AssertionError(f"the hint's command does not parse: {command}: {problem}") from problem


def on_terminal(arguments: list[str]) -> str:
    """What a command writes to a terminal."""
    import pty

    shown: list[bytes] = []
    program = "import sys; from hfkit.cli import main; sys.exit(main(sys.argv[1:]))"
    surroundings = {**os.environ, "PYTHONPATH": str(PACKAGE.parent), "OMP_NUM_THREADS": "1", "TERM": "xterm"}
    leader, follower = pty.openpty()
    command = [sys.executable, "-c", program, *arguments]
    process = subprocess.Popen(command, stdin=follower, stdout=follower, stderr=follower, env=surroundings)
    os.close(follower)
    while True:
        try:
            piece = os.read(leader, 4096)
        except OSError:  # the other end is closed
            break
        if not piece:
            break
        shown.append(piece)
    os.close(leader)
    process.wait(timeout=60)
    return b"".join(shown).decode("utf-8", "replace")
