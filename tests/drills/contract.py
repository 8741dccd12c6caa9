"""What a run goes on with and what not (FD16), and who may write in its folder (FD19)."""

from __future__ import annotations

import json
import shutil
import time
from pathlib import Path
from typing import Any

import engine_helpers as helpers

from drills.harness import Drill, digests, wait_for


def changed(drill: Drill) -> None:
    """FD16: a changed byte of data, tokenizer, labels, lengths, batch, rate or seed is refused (2) by name."""
    data = drill.data
    drill.whole()
    cases: list[tuple[str, str, Any]] = [
        ("train.seed: 42 -> 43", "key", {"seed": 43}),
        ("train.batch_size: 8 -> 16", "key", {"batch_size": 16}),
        ("train.lr: 0.001 -> 0.002", "key", {"lr": 0.002}),
        ("train.max_steps: 12 -> 14", "key", {"max_steps": 14}),
        ("classify.max_length: 'auto' -> 64", "flag", "classify.max_length=64"),
        ("classify.labels", "flag", "classify.labels=[salt,bread]"),
        ("the train data changed", "file", data / "train.jsonl"),
        ("the validation data changed", "file", data / "validation.jsonl"),
        ("the tokenizer changed", "file", data / "bert" / "tokenizer.json"),
        ("the model's weights changed", "file", data / "bert" / "model.safetensors"),
    ]
    for words, how, what in cases:
        run = drill.stopped("changed", 8)
        kept = what.read_bytes() if how == "file" else b""
        if how == "file":
            alter(what)
        code, result, _ = drill.call(
            run, "--resume", *([what] if how == "flag" else []), **(what if how == "key" else {})
        )
        if how == "file":
            what.write_bytes(kept)
        drill.note(code == 2 and words in result.get("error", {}).get("message", ""), f"{words}: {code} {result}")
        shutil.rmtree(run)
    run = drill.stopped("cadence", 8)
    facts = json.loads((run / "run.json").read_text("utf-8"))
    (run / "run.json").write_text(json.dumps({**facts, "world": 2}), encoding="utf-8")
    drill.resume(run, "cadence and world", save_steps=3, save_minutes=1, keep_checkpoints=3)


def alter(path: Path) -> None:
    """One letter of a word, or one bit of the last weight."""
    if path.suffix == ".safetensors":
        content = bytearray(path.read_bytes())
        content[-1] ^= 1
        path.write_bytes(content)
        return
    text = path.read_text("utf-8")
    path.write_text(text.replace("river", "rives", 1), encoding="utf-8")


def two(drill: Drill) -> None:
    """FD19: a second process in the folder exits with 2 and changes nothing; a stale lock is taken over."""
    for _ in drill.times(3, 1):
        if drill.full:
            run = drill.path("shared")
            process = drill.start(run, max_steps=100_000)
            wait_for(lambda run=run: (run / "recipe.yaml").exists(), process)
            holder = process.pid
        else:
            from hfkit.lock import Hold

            run, process = drill.stopped("shared", 8), None
            hold = Hold()
            hold.take(run)
            holder = hold._mine.pid
        before = {} if drill.full else digests(run)
        for flag in ("--resume", "--overwrite"):
            code, result, err = drill.call(run, flag, **({"max_steps": 100_000} if drill.full else {}))
            message = result.get("error", {}).get("message", "")
            drill.note(code == 2 and f"in use by process {holder} on" in message, f"{flag}: {code} {err}")
        if process is not None:
            drill.note(process.is_alive(), "the first one ended")
            process.kill()
            process.join()
            begun = time.monotonic()
            code, result, _ = drill.call(
                run, "--resume", max_steps=100_001
            )  # another recipe: refused, but not for the lock
            message = result["error"]["message"]
            drill.note(code == 2 and "max_steps" in message and time.monotonic() - begun < 10, message)
        else:
            drill.note(digests(run) == before, "something changed")
            hold.__exit__()
            lock = {"host": hold._mine.host, "pid": hold._mine.pid, "born": "1", "token": "gone"}
            (run / ".lock").write_text(json.dumps(lock), encoding="utf-8")
            drill.resume(run, "a stale lock")


DRILLS = {"FD16": changed, "FD19": two}
_ = helpers
