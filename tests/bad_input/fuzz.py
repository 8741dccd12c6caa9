"""Mutated files of every form, given to commands in this process: exit 0, 2 or 3, no traceback, no hang."""

from __future__ import annotations

import contextlib
import gzip
import json
import random
import re
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path
from types import FrameType

from bad_input.case import CONTEXT, LABELS, jsonl, nli, qa, text
from bad_input.perform import CONTROLS, no_input, said

ALLOWED = (0, 2, 3)
CPU_SECONDS, WALL_SECONDS = 10, 120  # of one command; the wall is wide because the machine may be busy
SEED = 4
MODEL_EVERY = 8  # every so many files meet a command that loads a model; the others are scored, which needs none
STRANGE = "Müller’s 磨坊 👩\u200d👩\u200d👧 é \u2028 \x1b[31m [SEP] \ufeff"
TOKENS = (
    "null", "NaN", "-1", "1e999", '""', "[]", "{}", "true", '"\\ud83d"', "\\", '"', "'", ",", ":", "\n", "\r", "\t",
    "\0", "\ufeff", "=", "[[[[", "}}}}", "9" * 40, "<html>", "\u2028", "\x1b]0;x\x07",
)  # fmt: skip


def sound_files() -> dict[str, tuple[str, bytes]]:
    """Sound files of each form by name, each with its task."""
    asked = [qa(n, context=f"{CONTEXT} {STRANGE} {n}") for n in range(14)]
    pairs = [nli(n, LABELS[n % 3]) for n in range(14)]
    texts = [text(n, ("good", "bad")[n % 2], text=f"{STRANGE} {n}") for n in range(14)]
    paragraphs = [{"context": row["context"], "qas": [
        {"id": row["id"], "question": row["question"], "answers": [{"text": "old mill", "answer_start": 32}]}
    ]} for row in asked]  # fmt: skip
    table = "".join(f'{row["id"]},"{row["text"]}",{row["label"]}\n' for row in texts)
    tabs = "".join(f"{row['id']}\t{row['premise']}\t{row['hypothesis']}\t{row['label']}\n" for row in pairs)
    return {
        "qa.jsonl": ("qa", jsonl(*asked).encode()),
        "qa.json": ("qa", json.dumps({"data": [{"title": "t", "paragraphs": paragraphs}]}).encode()),
        "list.json": ("qa", json.dumps(asked, ensure_ascii=False, indent=1).encode()),
        "qa.jsonl.gz": ("qa", gzip.compress(jsonl(*asked).encode(), mtime=0)),
        "nli.jsonl": ("nli", jsonl(*pairs).encode()),
        "nli.tsv": ("nli", f"id\tpremise\thypothesis\tlabel\n{tabs}".encode()),
        "text.csv": ("classify", f"id,text,label\n{table}".encode()),
        "text.jsonl": ("classify", jsonl(*texts).encode()),
    }


def predictions(task: str) -> dict[str, bytes]:
    """Sound predictions for the files of a task."""
    letter, answer = {"qa": ("q", "old mill"), "nli": ("n", "neutral"), "classify": ("c", "good")}[task]
    rows = [{"id": f"{letter}{n}", "prediction": answer} for n in range(14)]
    cells = "".join(f"{row['id']},{row['prediction']}\n" for row in rows)
    return {
        "p.jsonl": jsonl(*rows).encode(),
        "p.json": json.dumps({row["id"]: row["prediction"] for row in rows}).encode(),
        "p.csv": f"id,prediction\n{cells}".encode(),
    }


def mutated(draw: random.Random, raw: bytes, other: bytes) -> bytes:
    """`raw` after one to four changes: flipped bytes, cuts, splices, strange values, another encoding."""
    for _ in range(draw.randint(1, 4)):
        place = draw.randrange(len(raw) + 1)
        size = draw.choice((1, 2, 8, 64, 512))
        match draw.randrange(9):
            case 0:
                raw = (
                    raw[:place]
                    + bytes(byte ^ (1 << draw.randrange(8)) for byte in raw[place : place + 1])
                    + raw[place + 1 :]
                )
            case 1:
                raw = raw[:place]
            case 2:
                raw = raw[:place] + raw[place + size :]
            case 3:
                start = draw.randrange(len(other) + 1)
                raw = raw[:place] + other[start : start + size] + raw[place:]
            case 4:
                raw = raw[:place] + draw.choice(TOKENS).encode("utf-8", "surrogatepass") + raw[place:]
            case 5:
                raw = raw[:place] + raw[place : place + size] * draw.randint(2, 5) + raw[place + size :]
            case 6:
                raw = raw[:place] + draw.randbytes(size) + raw[place:]
            case 7:
                raw = _value_changed(draw, raw)
            case 8:
                code = draw.choice(("utf-16", "latin-1", "gb18030", "utf-8-sig", "utf-32"))
                raw = raw.decode("utf-8", "replace").encode(code, "replace")
    return raw


def _value_changed(draw: random.Random, raw: bytes) -> bytes:
    """Another value in the place of one quoted text or number."""
    found = list(re.finditer(rb'"[^"\n]{0,80}"|\b\d+\b', raw))
    if not found:
        return raw
    place = draw.choice(found)
    return raw[: place.start()] + draw.choice(TOKENS).encode("utf-8", "surrogatepass") + raw[place.end() :]


def command_of(draw: random.Random, number: int, task: str, model: Path, data: str, answers: str) -> list[str]:
    """The command that a file meets: scored, or every so often read by a model."""
    if number % MODEL_EVERY:
        return ["score", answers, "--data", data, "--task", task]
    train = ["finetune", task, "--model", str(model), "--cpu", "--train", data, "--dry-run", "train.max_steps=1"]
    train += ["qa.max_length=64", "qa.stride=16", "qa.max_question_length=16"] if task == "qa" else []
    if task != "qa":
        return train
    answer = ["predict", str(model), "--cpu", "--data", data, "data.on_bad_row=skip"]
    return draw.choice((train, answer, ["eval", str(model), "--cpu", "--data", data, "--name", "x", "--overwrite"]))


def fuzz(count: int, model: Path, folder: Path, seed: int = SEED) -> list[str]:
    """Run `count` mutated files, in `folder`, the current one; returns what went wrong, a line each.

    `model` is a question-answering model that knows every byte, so that strange text is no reason to refuse.
    """
    files = sound_files()
    names = sorted(files)
    wrong = []
    for number in range(count):
        draw = random.Random(f"{seed} {number}")
        for path in folder.iterdir():
            shutil.rmtree(path) if path.is_dir() else path.unlink()
        name = draw.choice(names)
        task, raw = files[name]
        answers = predictions(task)
        answer_name = draw.choice(sorted(answers))
        of_predictions = number % MODEL_EVERY != 0 and draw.random() < 0.25
        other = files[draw.choice(names)][1]
        content = {name: raw, answer_name: answers[answer_name]}
        victim = answer_name if of_predictions else name
        content[victim] = mutated(draw, content[victim], other)
        for file, each in content.items():
            (folder / file).write_bytes(each)
        problem = _problem(command_of(draw, number, task, model, name, answer_name))
        if problem:
            wrong.append(f"file {number} of seed {seed} ({victim}): {problem}")
    return wrong


def _problem(command: list[str]) -> str | None:
    try:
        with no_input(), limited():
            code, out, err = said(command)
    except BaseException as error:  # nothing may come out of a command but its exit code
        if isinstance(error, KeyboardInterrupt):
            raise
        return f"{type(error).__name__}: {error}"
    if code not in ALLOWED:
        return f"exit code {code}: {err[-300:]}"
    if "Traceback" in err or re.search(CONTROLS, out + err):
        return f"traceback or control characters: {err[-300:]!r}"
    return None if json.loads(out.split("\n")[-2])["ok"] is (code == 0) else "no JSON line"


class Hang(BaseException):
    """A command took too long."""


@contextlib.contextmanager
def limited() -> Iterator[None]:
    """Raise Hang in the main thread after so much processor time, or wall time."""

    def stop(number: int, frame: FrameType | None) -> None:
        raise Hang(f"more than {CPU_SECONDS} s of processor time or {WALL_SECONDS} s")

    timers = ((signal.SIGPROF, signal.ITIMER_PROF, CPU_SECONDS), (signal.SIGALRM, signal.ITIMER_REAL, WALL_SECONDS))
    before = [signal.signal(name, stop) for name, _, _ in timers]
    try:
        for _, timer, seconds in timers:
            signal.setitimer(timer, seconds)
        yield
    finally:
        for (name, timer, _), handler in zip(timers, before, strict=True):
            signal.setitimer(timer, 0)
            signal.signal(name, handler)
