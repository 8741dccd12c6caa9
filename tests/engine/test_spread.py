"""Decoding over two processes of gloo gives what one process gives."""

from __future__ import annotations

import dataclasses
import json
import multiprocessing
import os
from pathlib import Path
from typing import Any

import engine_helpers as helpers
import torch

from hfkit.engine.processes.launch import free_port
from hfkit.engine.processes.place import take_place
from hfkit.engine.spread import decode_over, shares
from hfkit.models import build_scratch, find, load_model, load_tokenizer, save_model
from hfkit.recipe.keys import Generate, Scratch


def complete(folder: Path, target: Path, world: dict[str, str]) -> None:
    """What a process of this world makes of its share of the prompts, into a file of its own."""
    os.environ.update(world)
    torch.set_num_threads(1)
    place = take_place(cpu=True, precision="float32")
    tokenizer = load_tokenizer(find(str(folder)))
    torch.manual_seed(0)
    model = load_model(find(str(folder)), "causal-lm", model_config={}, fresh_head="refuse")[0]
    prompts = [list(range(5, 6 + 3 * (n % 5))) for n in range(7)]
    settings = Generate(temperature=1, top_k=0, top_p=1, batch_size=2, max_new_tokens=9, samples=2)
    names = [str(number) for number in range(len(prompts))]
    share: Any = place.scatter(shares(prompts, names, place.world.size) if place.world.main else None)
    assert len(share.rows) in (3, 4, 7)
    work = decode_over(place, model, tokenizer, share, settings)
    try:
        while True:
            next(work)
    except StopIteration as end:
        found = [completion for samples in end.value for completion in samples]
    (target / f"{place.world.rank}-of-{place.world.size}.json").write_text(
        json.dumps([dataclasses.asdict(completion) for completion in found]), encoding="utf-8"
    )
    place.close()


def test_two_processes_complete_what_one_does(tmp_path: Path) -> None:
    checkpoint = build_scratch("gpt2-nano", ["some words, " * 30], Scratch(vocab_size=300), "causal-lm", tmp_path / "s")
    model, _ = load_model(checkpoint, "causal-lm", model_config={}, fresh_head="allow")
    save_model(model, load_tokenizer(checkpoint), tmp_path / "model", {"task": "lm", "settings": {}})
    place = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port())}
    context = multiprocessing.get_context("forkserver")  # from one that has imported torch
    context.set_forkserver_preload(helpers.PRELOAD)
    worlds = [{**place, "RANK": str(r), "LOCAL_RANK": str(r)} for r in range(2)] + [{}]
    started = [context.Process(target=complete, args=(tmp_path / "model", tmp_path, world)) for world in worlds]
    for process in started:
        process.start()
    for process in started:
        process.join(120)
        assert process.exitcode == 0
    files = [(tmp_path / name).read_text("utf-8") for name in ("0-of-1.json", "0-of-2.json", "1-of-2.json")]
    assert files[0] == files[1] and files[2] == "[]"
    found = json.loads(files[0])
    assert len(found) == 14 and len({tuple(completion["ids"]) for completion in found}) > 7
