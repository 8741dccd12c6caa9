"""The last layer of a classifier for first tokens alone; logits and gradients are compared in test_packing.py."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import tiny_models as tiny
import torch

from hfkit.engine.collate import collate
from hfkit.engine.cpu.last import FAMILIES, LastLayer
from hfkit.engine.forward import forward
from hfkit.engine.heads import choose_pooling
from hfkit.engine.packing import Packed, packed, plain
from hfkit.engine.processes.place import take_place
from hfkit.models import find, load_model
from hfkit.models.families import PACKED, POOLING_KEY

CLASSIFIER = "AutoModelForSequenceClassification"


def load(folder: Path, head: Any = "sequence-classification") -> Any:
    return load_model(find(str(folder)), head, model_config={}, fresh_head="allow")[0]


def narrowed(model: Any) -> bool:
    """Whether the engine narrows it; parameters keep their names and places."""
    before = {name: p.data_ptr() for name, p in model.named_parameters()}
    made = packed(model, take_place(cpu=True, precision="bfloat16"))
    assert {name: p.data_ptr() for name, p in plain(made).named_parameters()} == before
    assert isinstance(made, Packed)
    assert made.narrowed == any(isinstance(module, LastLayer) for module in made.modules())
    return made.narrowed


@pytest.mark.parametrize("family", PACKED)
def test_families_built_as_bert_are_narrowed(family: str, tmp_path: Path) -> None:
    assert narrowed(load(tiny.save(family, tmp_path, CLASSIFIER, num_labels=2))) == (family in FAMILIES)


@pytest.mark.parametrize("how", ["mean", "max", "last"])
def test_where_the_head_looks_at_other_tokens_all_are_computed(how: str, tmp_path: Path) -> None:
    model = load(tiny.save("bert", tmp_path, CLASSIFIER, num_labels=2))
    choose_pooling(model, how)
    assert getattr(model.config, POOLING_KEY) == how and not narrowed(model)


def test_tasks_that_ask_for_every_token_and_decoders_get_them(tmp_path: Path) -> None:
    folder = tiny.save("bert", tmp_path, "AutoModelForQuestionAnswering")
    assert not narrowed(load(folder, "question-answering"))
    model = load(folder)
    model.config.is_decoder = True
    assert not narrowed(model)


def test_attention_of_first_tokens_is_dropped_in_training_and_keeps_its_mean(tmp_path: Path) -> None:
    model = load(tiny.save("bert", tmp_path, CLASSIFIER, num_labels=2, attention_probs_dropout_prob=0.3))
    last = plain(packed(model, take_place(cpu=True, precision="float32"))).base_model.encoder.layer[-1]
    hidden, lengths = torch.randn(9, model.config.hidden_size), [4, 5]
    with torch.no_grad():
        exact = last.eval()._mixed(hidden[[0, 4]], hidden, lengths)
        last.train()
        drawn = torch.stack([last._mixed(hidden[[0, 4]], hidden, lengths) for _ in range(4000)])
    assert exact.shape == (2, model.config.hidden_size) and not torch.equal(drawn[0], drawn[1])
    error = drawn.std(dim=0) / len(drawn) ** 0.5
    assert ((drawn.mean(dim=0) - exact).abs() < 5 * error + 1e-6).all()


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("frozen", ["", "query", "value"])
def test_in_bfloat16_gradients_are_those_of_padded_float32(family: str, frozen: str, tmp_path: Path) -> None:
    """Sequences of very unequal lengths, and with one kind of projection that does not train."""
    folder = tiny.save(family, tmp_path, CLASSIFIER, num_labels=3)
    exact, rounded = load(folder).eval(), load(folder).eval()
    for name, parameter in [*exact.named_parameters(), *rounded.named_parameters()]:
        parameter.requires_grad_(not (frozen and f".{frozen}." in name))
    draw = torch.Generator().manual_seed(0)
    lengths = (60, 21, 20, 5, 2, 2)
    made = collate(
        [{"row": i, "input_ids": torch.randint(7, 40, (n,), generator=draw).tolist()} for i, n in enumerate(lengths)],
        int(exact.config.pad_token_id or 0),
    )
    weights = torch.randn(len(lengths), 3, generator=draw)
    narrow = packed(rounded, take_place(cpu=True, precision="bfloat16")).eval()
    assert narrow.narrowed
    for model in (exact, narrow):
        (forward(model, made).logits * weights).sum().backward()
    for (name, ours), theirs in zip(exact.named_parameters(), rounded.named_parameters(), strict=True):
        other = theirs[1]
        assert (ours.grad is None or not ours.grad.any()) == (other.grad is None or not other.grad.any()), name
        if ours.grad is not None and other.grad is not None and float(ours.grad.norm()) > 1e-4:
            assert float((ours.grad - other.grad).norm() / ours.grad.norm()) < 0.2, name  # rounding alone: 0.13
