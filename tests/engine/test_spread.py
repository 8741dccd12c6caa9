"""Decoding over two processes of gloo gives what one process gives."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from hfkit.engine.processes.launch import free_port
from hfkit.models import build_scratch
from hfkit.recipe.keys import Scratch

PROGRAM = """
import dataclasses, json, sys
from pathlib import Path
import torch
from hfkit.engine.processes.place import take_place
from hfkit.engine.spread import decode_over, shares
from hfkit.models import find, load_model, load_tokenizer
from hfkit.recipe.keys import Generate

place = take_place(cpu=True, precision="float32")
tokenizer = load_tokenizer(find(sys.argv[1]))
torch.manual_seed(0)
model = load_model(find(sys.argv[1]), "causal-lm", model_config={}, fresh_head="refuse")[0]
prompts = [list(range(5, 6 + 3 * (n % 5))) for n in range(7)]
settings = Generate(temperature=1, top_k=0, top_p=1, batch_size=2, max_new_tokens=9, samples=2)
names = [str(number) for number in range(len(prompts))]
share = place.scatter(shares(prompts, names, place.world.size) if place.world.main else None)
assert len(share.rows) in (3, 4, 7)
work = decode_over(place, model, tokenizer, share, settings)
try:
    while True:
        next(work)
except StopIteration as end:
    found = [completion for samples in end.value for completion in samples]
Path(sys.argv[2], f"{place.world.rank}-of-{place.world.size}.json").write_text(
    json.dumps([dataclasses.asdict(completion) for completion in found])
)
place.close()
"""


def start(folder: Path, target: Path, **world: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", PROGRAM, str(folder), str(target)]
    return subprocess.Popen(command, env={**os.environ, **world}, stderr=subprocess.PIPE, text=True, encoding="utf-8")


def test_two_processes_complete_what_one_does(tmp_path: Path) -> None:
    from hfkit.models import load_model, load_tokenizer, save_model

    checkpoint = build_scratch("gpt2-nano", ["some words, " * 30], Scratch(vocab_size=300), "causal-lm", tmp_path / "s")
    model, _ = load_model(checkpoint, "causal-lm", model_config={}, fresh_head="allow")
    save_model(model, load_tokenizer(checkpoint), tmp_path / "model", {"task": "lm", "settings": {}})
    place = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port())}
    started = [start(tmp_path / "model", tmp_path, **place, RANK=str(r), LOCAL_RANK=str(r)) for r in range(2)]
    started.append(start(tmp_path / "model", tmp_path))
    for process in started:
        said = process.communicate(timeout=120)[1]
        assert process.returncode == 0, said
    files = [(tmp_path / name).read_text("utf-8") for name in ("0-of-1.json", "0-of-2.json", "1-of-2.json")]
    assert files[0] == files[1] and files[2] == "[]"
    found = json.loads(files[0])
    assert len(found) == 14 and len({tuple(completion["ids"]) for completion in found}) > 7
