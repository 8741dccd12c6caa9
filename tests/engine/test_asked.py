"""Logits of the tokens asked for equal those of all tokens, for every family, packed and padded, gradients too."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny_models as tiny
import torch

from hfkit.engine.asked import asked_only
from hfkit.engine.collate import collate
from hfkit.engine.forward import forward
from hfkit.engine.packing import Packed, packed
from hfkit.engine.processes.place import take_place
from hfkit.models import VERIFIED, find, load_model
from hfkit.models.families import PACKED
from hfkit.tasks.outputs import asked_places

CLASSES = {"gpt2": ("causal-lm", "AutoModelForCausalLM")}
LENGTHS = (5, 17, 40, 12)


def batches() -> tuple[dict[str, torch.Tensor], dict[str, torch.Tensor]]:
    """The same tokens, without and with some of them asked for; one feature asks for none."""
    draw = np.random.default_rng(0)
    plain = [{"row": i, "input_ids": draw.integers(7, 40, n).tolist()} for i, n in enumerate(LENGTHS)]
    asked = [{**f, "asked": (draw.random(len(f["input_ids"])) < 0.3 * (f["row"] != 0)).astype(int)} for f in plain]
    return collate(plain, 0), collate(asked, 0)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Any:
    def make(family: str) -> tuple[Path, str]:
        head, auto = CLASSES.get(family, ("masked-lm", "AutoModelForMaskedLM"))
        return tiny.save(family, tmp_path_factory.mktemp(family), auto), head

    return make


@pytest.mark.parametrize("family", VERIFIED)
def test_asked_logits_equal_all_logits(family: str, checkpoint: Any) -> None:
    folder, head = checkpoint(family)
    place = take_place(cpu=True, precision="float32")
    whole, some = batches()
    found = []
    for way in ("all", "padded", "packed"):
        model, _ = load_model(find(str(folder)), head, model_config={}, fresh_head="refuse")  # type: ignore[arg-type]
        used = packed(model, place) if way == "packed" else model
        assert isinstance(used, Packed) == (way == "packed" and family in PACKED)
        logits = forward(used, whole if way == "all" else some).logits
        logits = logits.flatten(0, 1)[asked_places(some)] if way == "all" else logits
        assert logits.shape == (int(some["asked"].sum()), model.config.vocab_size)
        (logits * torch.linspace(-1, 1, logits.shape[1]) / 100).sum().backward()
        found.append((logits.detach(), {name: p.grad for name, p in model.named_parameters() if p.grad is not None}))
    (expected, gradients), *others = found
    for logits, of in others:
        assert torch.allclose(logits, expected, rtol=1e-4, atol=2e-5)
        for name, gradient in gradients.items():
            assert (of[name] - gradient).norm() <= 1e-3 * gradient.norm() + 1e-5, name


def test_a_head_that_is_not_proven_gives_all_logits_first(checkpoint: Any) -> None:
    folder, head = checkpoint("bert")
    model, _ = load_model(find(str(folder)), head, model_config={}, fresh_head="refuse")  # type: ignore[arg-type]
    whole, some = batches()
    expected = forward(model, some).logits
    model.config.model_type = "unheard-of"
    seen: list[tuple[int, ...]] = []

    def call() -> Any:
        outputs = model(input_ids=whole["input_ids"], attention_mask=whole["attention_mask"])
        seen.append(tuple(outputs.logits.shape[:2]))
        return outputs

    logits = asked_only(model, call, asked_places(some)).logits
    assert seen == [(4, 40)] and torch.allclose(logits, expected, atol=1e-5)
    assert forward(model, whole).logits.shape[:2] == (4, 40)


def test_threads_that_share_a_model_get_what_each_asked_for(checkpoint: Any) -> None:
    folder, head = checkpoint("bert")
    model, _ = load_model(find(str(folder)), head, model_config={}, fresh_head="refuse")  # type: ignore[arg-type]
    model.eval()
    whole, some = batches()
    other = {**some, "asked_index": some["asked_index"].flip(0)[:7]}
    with torch.inference_mode():
        expected = [forward(model, batch).logits for batch in (whole, some, other)]

    def work(number: int) -> bool:
        with torch.inference_mode():
            logits = forward(model, (whole, some, other)[number % 3]).logits
        return logits.shape == expected[number % 3].shape and torch.allclose(logits, expected[number % 3], atol=1e-6)

    with ThreadPoolExecutor(3) as pool:
        assert all(pool.map(work, range(60)))
