"""The report: the same events as plain lines, a live bar, JSON, or nothing; data on stdout, the rest on stderr."""

from __future__ import annotations

import io
import json
import os
import re
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from hfkit.errors import DataError, HfkitError, Stopped
from hfkit.events import Event, note, resolved, warning
from hfkit.report import error_lines, show, show_error
from hfkit.report.data import token_lines
from hfkit.report.human import answer_text, result_text
from hfkit.report.text import columns_of, duration, number, one_line, safe, score, table

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(autouse=True)
def alone(monkeypatch):
    for name in ("RANK", "SLURM_NTASKS", "SLURM_PROCID"):
        monkeypatch.delenv(name, raising=False)


def step(number: int, time: float, total: int = 1000) -> Event:
    fields = {
        "loss": 1.5,
        "lr": 1e-4,
        "epoch": 0.5,
        "steps": total,
        "rows_per_s": 50.4,
        "tokens_per_s": 9800.0,
        "eta_s": 185,
    }
    return Event("step", fields, step=number, time=time)


def training():
    """The events of a small fine-tune."""
    yield note("world 1")
    yield resolved("train.lr", 1e-4, "under 40 M parameters")
    yield Event("plan", {"title": "plan", "items": {"model": "starter", "steps": 1000}})
    yield from (step(n, time=100.0 + n) for n in range(1, 31))
    yield Event("scored", {"name": "validation", "metrics": {"f1": 61.234}, "rows": 1000}, step=30)
    yield warning("3 answers could not be located")
    scored = {"exact_match": 59.5, "f1": 71.234}
    yield Event(
        "scored",
        {
            "name": "validation",
            "metrics": scored,
            "ci95": {"f1": [70.1, 72.3]},
            "rows": 1000,
            "definitions": {"f1": "SQuAD v1.1 official"},
        },
    )
    yield Event("saved", {"what": "model", "path": "runs/x/model"})
    yield Event("next", {"commands": ["hfkit eval last --data D"]})
    yield Event("result", {"run": "runs/x", "best": {"step": 30, "metrics": scored}})


def test_plain_lines_say_everything_once(capsys):
    result = show(training(), command="finetune", mode="plain")
    out, err = capsys.readouterr()
    assert result["run"] == "runs/x"
    assert out.splitlines() == [
        "metric       value  95 % interval",
        "exact_match  59.50",
        "f1           71.23  70.10 to 72.30",
    ]
    lines = err.splitlines()
    assert "world 1" in lines
    assert "train.lr = 0.0001 (under 40 M parameters)" in lines
    assert "  model  starter" in lines
    assert "step 30  validation, 1,000 rows: f1 61.23" in lines
    assert "warning: 3 answers could not be located" in lines
    assert "f1: SQuAD v1.1 official" in lines
    assert lines[-2:] == ["next:", "  hfkit eval last --data D"]
    assert "\x1b" not in out + err


def test_plain_steps_come_every_ten_seconds_and_at_the_end(capsys):
    events = [step(n, time=float(n), total=25) for n in range(1, 26)]
    show(events, command="finetune", mode="plain")
    lines = [line.split()[1] for line in capsys.readouterr().err.splitlines()]
    assert lines == ["1/25", "11/25", "21/25", "25/25"]


def test_a_step_line_has_loss_rate_and_eta(capsys):
    show([step(200, time=1.0)], command="finetune", mode="plain")
    said = capsys.readouterr().err
    assert said == "step 200/1000  epoch 0.50  loss 1.5000  lr 1.00e-04  50 rows/s  9,800 tokens/s  ETA 3 min 05 s\n"


def test_plain_progress_is_silent_when_quick_and_speaks_when_slow(capsys):
    quick = [Event("progress", {"stage": "read", "done": n, "total": 3, "unit": "rows"}, time=n) for n in range(4)]
    slow = [
        Event("progress", {"stage": "encode", "done": n * 1000, "total": 4000, "unit": "rows"}, time=n * 6)
        for n in range(5)
    ]
    show([*quick, *slow], command="eval", mode="plain")
    assert capsys.readouterr().err.splitlines() == [
        "encode: 2,000/4,000 rows",
        "encode: 4,000/4,000 rows",
    ]


def test_json_is_one_strict_line(capsys):
    def events():
        yield from training()
        yield Event("result", {"metrics": {"f1": float("nan"), "r": float("inf")}, "name": "模型"})

    show(events(), command="finetune", json=True, mode="plain")
    out, err = capsys.readouterr()
    assert out.count("\n") == 1
    shown = json.loads(out, parse_constant=pytest.fail)
    assert shown == {"command": "finetune", "ok": True, "metrics": {"f1": None, "r": None}, "name": "模型"}
    assert "world 1" in err


def test_json_escapes_what_stdout_cannot_say(monkeypatch):
    stream = io.TextIOWrapper(io.BytesIO(), encoding="ascii", errors="replace")
    monkeypatch.setattr(sys, "stdout", stream)
    show([Event("result", {"name": "模型 \ud800"})], command="x", json=True, mode="quiet")
    stream.seek(0)
    assert json.loads(stream.read())["name"] == "模型 \ud800"


def test_quiet_shows_data_and_warnings(capsys):
    show(training(), command="finetune", mode="quiet")
    out, err = capsys.readouterr()
    assert "71.23" in out
    assert err == "warning: 3 answers could not be located\n"


@pytest.mark.parametrize(
    "variables", [{"RANK": "1", "WORLD_SIZE": "2"}, {"SLURM_NTASKS": "4", "SLURM_PROCID": "3", "SLURM_STEP_ID": "0"}]
)
def test_other_processes_run_in_silence(variables, monkeypatch, capsys):
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert show(training(), command="finetune", json=True)["run"] == "runs/x"
    assert capsys.readouterr() == ("", "")


def test_a_result_without_scores_before_it_is_shown_as_a_table(capsys):
    show([Event("result", {"metrics": {"accuracy": 91.0}, "ci95": {"accuracy": [90.0, 92.0]}})], command="score")
    assert "accuracy  91.00  90.00 to 92.00" in capsys.readouterr().out


def test_the_verb_is_closed_when_the_screen_fails(monkeypatch):
    closed = []

    def verb():
        try:
            yield note("a")
            yield note("b")
        finally:
            closed.append(True)

    def explode(self, event):
        raise RuntimeError("no screen")

    monkeypatch.setattr("hfkit.report.view.View.show", explode)
    with pytest.raises(RuntimeError):
        show(verb(), command="x", mode="plain")
    assert closed == [True]


def test_errors_of_the_verb_pass_through():
    def verb():
        yield note("a")
        raise DataError("bad row")

    with pytest.raises(DataError):
        show(verb(), command="x", mode="plain")


def test_answers_and_streamed_text(capsys):
    items = [{"id": "1", "prediction": "Ada", "score": 3.25, "question": "Who?"}]
    show(
        [Event("answered", {"items": items}), Event("result", {"predictions": items})], command="predict", mode="plain"
    )
    assert capsys.readouterr().out == "question: Who?\nanswer: Ada  (score 3.25)\n"
    pieces = [Event("text", {"text": text}) for text in ("Once ", "upon\n", "a \x1b[2Jtime")]
    show([*pieces, Event("result", {"predictions": [{"completion": "x"}]})], command="generate", mode="plain")
    assert capsys.readouterr().out == "Once upon\na \x1b[2Jtime"  # not a terminal: the text is data, exact


@pytest.mark.parametrize(
    ("item", "many", "text"),
    [
        ({"prediction": "", "no_answer": True}, False, "(no answer)"),
        ({"id": "7", "prediction": "", "score": -0.5}, False, "(empty text)  (score -0.50)"),
        ({"prediction": "b", "probabilities": {"a": 0.25, "b": 0.75}}, False, "b  (b 0.75, a 0.25)"),
        ({"id": "7", "prediction": ["x", "y"]}, True, "7  x, y"),
        ({"prediction": {"score": 1.5}}, False, "score 1.5"),
        ({"prompt": "Once", "completion": " upon"}, False, " upon"),
        ({"prompt": "Once", "completion": " upon"}, True, "> Once\n upon"),
        ({"prediction": "\x1b[31mred"}, False, "\\x1b[31mred"),
    ],
)
def test_answer_text(item, many, text):
    assert answer_text(item, many=many) == text


def test_controls_in_data_cannot_steer_a_terminal(capsys):
    show([note("a\x1b]0;title\x07\x9b2J[bold]b[/bold]")], command="x", mode="plain")
    assert capsys.readouterr().err == "a\\x1b]0;title\\x07\\x9b2J[bold]b[/bold]\n"


# ---- errors


def test_an_error_is_at_most_15_lines_and_keeps_its_hint(capsys):
    error = DataError("\n".join(f"line {n}" for n in range(40)), "do this")
    lines = error_lines(error)
    assert len(lines) == 15
    assert lines[0] == "error: line 0"
    assert lines[-1] == "hint: do this"
    assert "27 more" in lines[-2]
    show_error(error, command="eval", json=True)
    out, err = capsys.readouterr()
    assert len(err.splitlines()) == 15
    assert json.loads(out)["error"]["message"].endswith("line 39")


def test_codes_and_kinds_of_errors(capsys):
    show_error(Stopped("stopped in time", code=75), command="finetune", json=True)
    assert json.loads(capsys.readouterr().out)["error"] == {
        "code": 75,
        "kind": "stopped",
        "message": "stopped in time",
        "hint": None,
    }


def test_other_processes_speak_of_what_may_be_theirs_alone(monkeypatch, capsys):
    monkeypatch.setenv("RANK", "2")
    monkeypatch.setenv("WORLD_SIZE", "3")
    show_error(DataError("bad"), command="eval", json=True)
    assert capsys.readouterr() == ("", "")
    show_error(HfkitError("odd"), command="eval", json=True)
    assert capsys.readouterr() == ("", "process 2: error: odd\n")


# ---- text


def test_numbers_and_tables():
    assert [number(1234567), number(0.123456), number(True), number("x")] == ["1,234,567", "0.1235", "True", "x"]
    assert [score(71.234), score(0.81234), score(None)] == ["71.23", "0.8123", "None"]
    assert [duration(9.6), duration(185), duration(7620)] == ["10 s", "3 min 05 s", "2 h 07 min"]
    assert columns_of("模型a") == 5
    assert table(["a", "b"], [["模型", "x"], ["yyyyy", "z"]]) == "a      b\n模型   x\nyyyyy  z"
    assert one_line("a\n  b\t c") == "a b c"
    assert safe("\x00\x7f\x85ok\n") == "\\x00\\x7f\\x85ok\n"


def test_a_table_fits_a_narrow_terminal(monkeypatch):
    head, rows = ["name", "about"], [["qa", "questions on passages, answered by spans"], ["lm", "文本 " * 20]]
    whole = table(head, rows)
    assert len(whole.splitlines()) == 3
    monkeypatch.setattr("hfkit.report.text.columns_there", lambda: 34)
    lines = table(head, rows).splitlines()
    assert lines[:3] == ["name  about", "qa    questions on passages,", "      answered by spans"]
    assert lines[3].startswith("lm    文本") and max(map(columns_of, lines)) <= 34
    head = ["run", "status", "metric", "score", "95 % interval"]
    rows = [["20261127-1402-qa-starter-3f2a", "done", "f1", "71.40", "70.1 to 72.3"], ["other", "failed", "", "", ""]]
    assert table(head, rows).splitlines() == [
        "run",
        "    status  metric  score",
        "    95 % interval",
        "20261127-1402-qa-starter-3f2a",
        "    done    f1      71.40",
        "    70.1 to 72.3",
        "other",
        "    failed",
    ]
    monkeypatch.setattr("hfkit.report.text.columns_there", lambda: None)
    assert len(table(head, rows).splitlines()) == 3


@pytest.mark.parametrize("columns", [60, 80, 160])
def test_tokens_take_the_width_of_the_terminal(monkeypatch, columns):
    tokens = [{"token": f"wörter{i}", "part": "context", "label": False} for i in range(60)]
    monkeypatch.setattr("hfkit.report.data.columns_there", lambda: columns)
    lines = token_lines(tokens, colour=True)
    sizes = [columns_of(re.sub(r"\x1b\[[0-9;]*m", "", line)) for line in lines]
    assert columns - 10 < max(sizes) <= columns
    monkeypatch.setattr("hfkit.report.data.columns_there", lambda: None)
    assert 100 < max(map(columns_of, token_lines(tokens, colour=False))) <= 111


def test_lists_of_commands():
    headline = {"metric": "f1", "value": 71.0, "ci95": [70.0, 72.0]}
    runs = [{"name": "r", "status": "done", "task": "qa", "model": "starter", "headline": headline}]
    assert "f1      71.00  70.00 to 72.00" in result_text("runs list", {"runs": runs})
    assert result_text("runs list", {"runs": []}) == "no runs here yet"
    checks = [{"name": "torch", "status": "failure", "found": "missing", "hint": "pip install torch"}]
    assert result_text("doctor", {"checks": checks}).startswith("FAIL  torch  missing\n")
    assert result_text("finetune", {}) == ""


# ---- real terminals and pipes

PROGRAM = textwrap.dedent(
    """
    import sys, time
    from hfkit.cli import make_streams_safe
    from hfkit.events import Event, note, progress
    from hfkit.report import show
    make_streams_safe()
    def verb():
        yield note("[red]\\u6a21\\u578b[/red] \\x1b[31m")
        for n in range(1, 21):
            yield progress("encode", n, 20, "rows")
            time.sleep(0.02)
        for n in range(1, 41):
            yield Event("step", {"loss": 1.0, "lr": 1e-4, "steps": 40, "rows_per_s": 50.0, "eta_s": 9.0}, step=n)
            time.sleep(0.02)
            if n == 30:
                yield Event("warning", {"text": "careful"})
        yield Event("text", {"text": "Once \\x1b[2J"})
        yield Event("result", {"metrics": {"f1": 71.2}})
    show(verb(), command="eval", json="--json" in sys.argv)
    """
)


def in_terminal(arguments=(), **variables) -> str:
    """What a terminal receives from the program."""
    pty = pytest.importorskip("pty")
    leader, follower = pty.openpty()
    environment = {"TERM": "xterm-256color", "COLUMNS": "100", "PYTHONPATH": str(ROOT), "PATH": os.environ["PATH"]}
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, *arguments],
        stdout=follower,
        stderr=follower,
        stdin=follower,
        env={**environment, **variables},
        cwd=ROOT,
    )
    os.close(follower)
    received = b""
    while True:
        try:
            piece = os.read(leader, 65536)
        except OSError:  # Linux says EIO when the program has gone
            break
        if not piece:
            break
        received += piece
    os.close(leader)
    assert process.wait(timeout=60) == 0, received
    return received.decode("utf-8", errors="replace")


COLOURS = re.compile(r"\x1b\[(?:\d+;)*(?:3\d|4\d|9\d|10\d)(?:;\d+)*m")


def test_a_terminal_gets_a_live_bar_that_leaves():
    seen = in_terminal()
    assert COLOURS.search(seen)
    assert re.search(r"loss 1\.0000  lr 1\.0e-04  50 rows/s  ETA 9 s", seen)
    assert "\x1b[2K" in seen, "the bar is redrawn in place"
    assert "[red]模型[/red] \\x1b[31m" in seen, "markup and controls in data are text"
    assert "warning: careful" in seen
    assert "Once \\x1b[2J" in seen
    after = seen[seen.rindex("metric") :]
    assert "\x1b[?25l" not in after, "no bar after the data"
    assert seen.count("\x1b[?25l") == seen.count("\x1b[?25h"), "the cursor is shown again"


def test_no_color_is_honoured():
    seen = in_terminal(NO_COLOR="1")
    assert "loss 1.0000" in seen
    assert not COLOURS.search(seen)


def test_a_dumb_terminal_gets_plain_lines():
    seen = in_terminal(TERM="dumb")
    assert "\x1b" not in seen
    assert "step 1/40" in seen


def test_json_in_a_terminal_ends_with_one_line():
    seen = in_terminal(["--json"])
    assert json.loads(seen.strip().splitlines()[-1])["metrics"] == {"f1": 71.2}


def test_a_terminal_without_utf8_fails_nothing():
    seen = in_terminal(PYTHONIOENCODING="ascii", PYTHONUTF8="0", LC_ALL="C")
    assert "??" in seen
    assert "71.2" in seen


@pytest.mark.skipif(os.name == "nt", reason="needs bash")
def test_a_reader_that_leaves_is_no_error():
    long = 'yield Event("answered", {"items": [{"prediction": "x" * 200000}] * 5})'
    text = 'yield Event("text", {"text": "Once \\x1b[2J"})'
    assert text in PROGRAM  # such text is all that its command makes: without a reader it ends
    code = PROGRAM.replace("0.02", "0").replace(text, long)
    command = f"{sys.executable} - <<'E' | head -c 1 >/dev/null; exit ${{PIPESTATUS[0]}}\n{code}\nE\n"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, cwd=ROOT, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert "step 40/40" in done.stderr, "the work went on"
    assert "Traceback" not in done.stderr
    assert "BrokenPipe" not in done.stderr
