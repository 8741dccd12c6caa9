"""Threads side by side: the same losses, gradients and answers as one thread alone gives."""

from __future__ import annotations

import gc
import threading
import time
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny_models as tiny
import torch

from hfkit.engine.answer import answer
from hfkit.engine.cpu import Crew, on_threads, seed_masks, twin
from hfkit.engine.cpu.masks import draw_alone, keep_mask
from hfkit.engine.optimize import Schedule, build_optimizer
from hfkit.engine.packing import packed
from hfkit.engine.parts import recompute_activations
from hfkit.engine.processes.place import take_place
from hfkit.engine.threads import answering_threads, training_threads
from hfkit.engine.train import Training
from hfkit.models import find, load_model
from hfkit.models.families import PACKED
from hfkit.tasks.classify import Classify, ClassifySettings
from hfkit.verbs.finetune.assemble import auto_micro_batch


class Listed:
    def __init__(self, count: int) -> None:
        draw = np.random.default_rng(0)
        self.features = [
            {"row": i, "input_ids": draw.integers(7, 40, 3 + i * 5 % 23).tolist(), "label": i % 2} for i in range(count)
        ]
        self.lengths = np.asarray([len(f["input_ids"]) for f in self.features], dtype=np.int32)
        self.rows = np.arange(count)

    def __len__(self) -> int:
        return len(self.features)

    def take(self, indices: Any) -> list[dict[str, Any]]:
        return [self.features[i] for i in indices]


@pytest.fixture(scope="module")
def task() -> Classify:
    return Classify(ClassifySettings(target="single", labels=["a", "b"], max_length=32))


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory: pytest.TempPathFactory) -> Any:
    root = tmp_path_factory.mktemp("crew")
    return lambda family: (
        root / family
        if (root / family).exists()
        else tiny.save(family, root / family, "AutoModelForSequenceClassification", num_labels=2)
    )


@pytest.fixture(autouse=True)
def restored() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def load(folder: Path, task: Classify, attention_dropout: float | None = None) -> Any:
    model, _ = load_model(
        find(str(folder)), task.head, model_config=task.model_config(), fresh_head="refuse",
        attention_dropout=attention_dropout,
    )  # fmt: skip
    return model


def training(
    folder: Path, task: Classify, threads: int, *, precision: str = "float32", attention_dropout: float | None = None
) -> Training:
    place = take_place(cpu=True, precision=precision)
    torch.set_num_threads(threads)
    model = load(folder, task, attention_dropout)
    return Training(
        packed(model, place), build_optimizer(model, 1e-3, 0.01), task, Listed(36), batch_size=12,  # type: ignore[arg-type]
        micro_batch_size=4, max_grad_norm=1.0, seed=3, schedule=Schedule(1e-3, 9, 0, "constant"), place=place, pad_id=0,
    )  # fmt: skip


@pytest.mark.parametrize("family", PACKED)
def test_two_threads_take_the_steps_of_one(family: str, checkpoints: Any, task: Classify) -> None:
    """Three micro-batches a step, dropout on: each draws its own masks, whichever thread it is on."""
    done = []
    for threads in (1, 2, 2) if family == "bert" else (1, 2):
        made = training(checkpoints(family), task, threads)
        assert made.at_once == threads
        for step in range(3):
            made.advance(step)
        done.append([(d.loss, d.grad_norm) for d in made.finished(wait=True)])
    assert done[1] == done[-1]  # bit for bit
    for one, two in zip(*done[:2], strict=True):
        assert two == pytest.approx(one, rel=2e-4)


def test_in_bfloat16_they_learn_from_the_weights_of_every_step(checkpoints: Any, task: Classify) -> None:
    """Without attention dropout: what a group is padded to depends on the format, and so do its masks."""
    losses = []
    for precision, threads in (("float32", 1), ("bfloat16", 2)):
        made = training(checkpoints("bert"), task, threads, precision=precision, attention_dropout=0.0)
        for step in range(9):
            made.advance(step)
        losses.append([d.loss for d in made.finished(wait=True)])
    assert losses[1] == pytest.approx(losses[0], rel=0.03) and losses[0][-1] < losses[0][0]


def test_a_twin_shares_weights_and_has_gradients_of_its_own(checkpoints: Any, task: Classify) -> None:
    model = packed(load(checkpoints("gpt2"), task), take_place(cpu=True, precision="bfloat16"))
    other = twin(model)
    assert [name for name, _ in other.named_parameters()] == [name for name, _ in model.named_parameters()]
    for own, theirs in zip(model.parameters(), other.parameters(), strict=True):
        assert own is not theirs and own.data_ptr() == theirs.data_ptr() and own.requires_grad == theirs.requires_grad
        theirs.grad = torch.ones_like(theirs)
        assert own.grad is None


def test_an_error_of_any_thread_ends_all_and_leaves_no_gradients_behind() -> None:
    models = [torch.nn.Linear(2, 1, bias=False), torch.nn.Linear(2, 1, bias=False)]
    crew, ended = Crew(models), []

    def work(model: torch.nn.Module, item: int) -> int:
        model(torch.ones(1, 2)).sum().backward()
        ended.append(item)
        if item == failing:
            raise MemoryError(str(item))
        return item

    for failing in (0, 1):
        with pytest.raises(MemoryError, match=str(failing)):
            crew.run(work, [0, 1])
        assert models[1].weight.grad is None
    assert sorted(ended) == [0, 0, 1, 1]
    models[0].weight.grad, failing = None, -1
    assert crew.run(work, [0, 1, 2]) == [0, 1, 2]
    assert models[0].weight.grad is not None and models[0].weight.grad.tolist() == [[3.0, 3.0]]


def test_a_thread_draws_the_masks_that_the_main_thread_would_draw() -> None:
    seed_masks(7)
    expected, found = keep_mask(torch.empty(50, 50), 0.3), []

    def draw() -> None:
        draw_alone()
        seed_masks(7)
        found.append(keep_mask(torch.empty(50, 50), 0.3))

    thread = threading.Thread(target=draw)
    thread.start()
    thread.join()
    assert torch.equal(found[0], expected)


def test_results_come_in_order_and_few_items_are_taken_in_advance() -> None:
    torch.set_num_threads(2)
    taken: list[int] = []
    results = on_threads(lambda item: (item, torch.get_num_threads()), (taken.append(i) or i for i in range(9)), 2)
    assert next(results) == (0, 1) and taken == [0, 1, 2]
    results.close()  # type: ignore[attr-defined]
    assert list(on_threads(lambda item: -item, range(9), 2)) == [-i for i in range(9)]
    assert torch.get_num_threads() == 2
    with pytest.raises(ZeroDivisionError):
        list(on_threads(lambda item: 1 // item, range(9), 2))


@pytest.mark.parametrize("family", ["bert", "gpt2"])
def test_two_threads_give_the_answers_of_one(
    family: str, checkpoints: Any, task: Classify, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hfkit.engine.answer.BATCH_TOKENS", {"cpu": 64})
    place = take_place(cpu=True, precision="bfloat16")
    model = packed(load(checkpoints(family), task), place)
    data, answers = Listed(60), []
    rows = [{"id": str(i)} for i in range(60)]
    for threads in (1, 2):
        torch.set_num_threads(threads)
        assert answering_threads(model, place) == threads
        answers.append(list(answer(model, task, rows, data, place=place, pad_id=0)))  # type: ignore[arg-type]
    assert answers[0] == answers[1] and [a["id"] for a in answers[0]] == [row["id"] for row in rows]


def test_a_step_worth_it_has_a_micro_batch_for_two_threads_whatever_there_are() -> None:
    assert [auto_micro_batch(160, 16, device) for device in ("cpu", "cuda")] == [8, 16]
    assert auto_micro_batch(160, 64, "cpu") == 9 and auto_micro_batch(160, 1, "cpu") == 1
    assert auto_micro_batch(25, 32, "cpu") == 16
    assert auto_micro_batch(5, 32, "cpu") == 32  # 80 tokens in a half


def test_what_cannot_be_shared_stays_on_one_thread(checkpoints: Any, task: Classify) -> None:
    place = take_place(cpu=True, precision="float32")
    torch.set_num_threads(2)
    model = load(checkpoints("bert"), task)
    assert training_threads(model, place, 4) == answering_threads(model, place) == 1  # padded
    made = packed(model, place)
    assert (training_threads(made, place, 1), training_threads(made, place, 4)) == (1, 2)
    recompute_activations(model)
    assert training_threads(made, place, 4) == 1


def test_a_crew_goes_with_its_training() -> None:
    model = torch.nn.Linear(4, 4)
    crew = Crew([model, twin(model)])
    crew.run(lambda m, x: m(x).sum().backward(), [torch.ones(1, 4)] * 4)
    known = [weakref.ref(crew), weakref.ref(crew.models[1])]
    del crew
    gc.collect()
    assert [one() for one in known] == [None, None]


def test_nobody_begins_another_item_once_one_failed() -> None:
    model, begun = torch.nn.Linear(2, 2), []

    def work(m: torch.nn.Module, item: int) -> None:
        begun.append(item)
        if item == 0:
            raise ZeroDivisionError
        time.sleep(0.05)

    with pytest.raises(ZeroDivisionError):
        Crew([model, twin(model)]).run(work, list(range(20)))
    assert len(begun) <= 3


def test_threads_that_begin_later_have_as_many_as_before() -> None:
    torch.set_num_threads(2)
    assert list(on_threads(lambda x: x, range(3), 2)) == [0, 1, 2]
    seen: list[int] = []
    later = threading.Thread(target=lambda: seen.append(torch.get_num_threads()))
    later.start()
    later.join()
    assert seen == [2]
