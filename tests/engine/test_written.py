"""Rows -> predictions by decoding: each row once and in order, whatever the batch and the number of processes."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import tiny_encoder_decoders as tiny
import torch

from hfkit.data.few import FewFeatures
from hfkit.engine import written as engine
from hfkit.errors import ResourceError
from hfkit.models import find, load_model, load_tokenizer
from hfkit.stopping import Left
from hfkit.tasks.seq2seq.settings import Seq2SeqSettings
from hfkit.tasks.seq2seq.task import Seq2Seq

WORDS = ["the", "small", "river", "runs", "behind", "old", "mill", "stands", "still", "boat", "bread", "salt"]
ROWS = [{"id": str(n), "source": " ".join(WORDS[n % 5 : n % 5 + 1 + n % 7]), "target": "x"} for n in range(11)]
TASK = Seq2Seq(Seq2SeqSettings(max_source_length=32, max_target_length=7))


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> SimpleNamespace:
    found = find(str(tiny.save("bart", tmp_path_factory.mktemp("bart"))))
    model, _ = load_model(found, "seq2seq-lm", model_config={}, fresh_head="refuse")
    tokenizer = load_tokenizer(found, "seq2seq-lm")
    return SimpleNamespace(model=model, tokenizer=tokenizer, features=FewFeatures(TASK.encode(ROWS, tokenizer)))


def place(rank: int = 0, size: int = 1, gather: Any = None) -> Any:
    world = SimpleNamespace(rank=rank, size=size, main=rank == 0)
    return SimpleNamespace(world=world, device=torch.device("cpu"), gather=gather)


def run(here: SimpleNamespace, where: Any, **options: Any) -> tuple[list[Any], list[int]]:
    work = engine.writing(here.model, TASK, here.features, place=where, tokenizer=here.tokenizer, **options)
    moves = []
    while True:
        try:
            moves.append(next(work))
        except StopIteration as end:
            return end.value, moves


def texts(found: list[Any]) -> list[str]:
    return [prediction["prediction"] for prediction in engine.merged(TASK, ROWS, FEATURES[0], found)]


FEATURES: list[Any] = []


def test_one_by_one_and_together_write_the_same(here: SimpleNamespace) -> None:
    FEATURES[:] = [here.features]
    together, _ = run(here, place())
    alone, moves = run(here, place(), micro_batch_size=1)
    assert len(moves) == len(ROWS) and moves[-1] == len(ROWS)
    assert texts(alone) == texts(together) and len(set(texts(together))) > 3
    assert [w.log_probability for w in alone] == pytest.approx([w.log_probability for w in together], abs=1e-4)
    assert all(1 <= w.tokens <= 7 for w in together)


def test_two_processes_write_what_one_writes(here: SimpleNamespace) -> None:
    FEATURES[:] = [here.features]
    single, _ = run(here, place(), micro_batch_size=2)
    told: list[Any] = []
    second, _ = run(here, place(1, 2, lambda said: [told.append(said) or (False, {}), said]), micro_batch_size=2)
    assert second == []  # only the main process has the result
    both, _ = run(here, place(0, 2, lambda said: [said, *told]), micro_batch_size=2)
    assert both == single


def test_memory_that_runs_out_halves_the_batch(here: SimpleNamespace, monkeypatch: pytest.MonkeyPatch) -> None:
    FEATURES[:] = [here.features]
    decode = engine.decode
    sizes: list[int] = []

    def small(model: Any, tokenizer: Any, sources: Any, settings: Any) -> Any:
        sizes.append(len(sources))
        if len(sources) > 3:
            raise torch.OutOfMemoryError("too much")
        return decode(model, tokenizer, sources, settings)

    expected, _ = run(here, place())
    monkeypatch.setattr(engine, "decode", small)
    found, _ = run(here, place())
    assert texts(found) == texts(expected) and max(sizes) == len(ROWS)


def test_memory_that_does_not_suffice_for_one_is_said(here: SimpleNamespace, monkeypatch: pytest.MonkeyPatch) -> None:
    def none(*_: Any) -> Any:
        raise torch.OutOfMemoryError("too much")

    monkeypatch.setattr(engine, "decode", none)
    with pytest.raises(ResourceError, match=r"out of memory with one example of \d+ tokens"):
        run(here, place())


def test_leaving_is_told_to_all(here: SimpleNamespace) -> None:
    with pytest.raises(Left):
        run(here, place(), leave=lambda: True)
