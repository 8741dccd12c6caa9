"""Heads read in other ways: pooled by hand and by the engine alike, several dropout masks, fresh layers, head rates."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import tiny_models as tiny
import torch
from torch.nn.functional import cross_entropy

from hfkit.engine import heads, parts
from hfkit.engine.collate import collate
from hfkit.engine.cpu import twin
from hfkit.engine.forward import forward
from hfkit.engine.optimize import parameter_groups
from hfkit.engine.packing import Headed, Packed, packed
from hfkit.engine.processes.place import take_place
from hfkit.errors import ModelError, UsageError
from hfkit.models import find, load_model
from hfkit.models.families import POOLINGS
from hfkit.models.stack import stack_of
from hfkit.tasks.classify import Classify, ClassifySettings

HEAD = "sequence-classification"
LENGTHS = (5, 17, 9)
KINDS = ("albert", "bert", "deberta-v2", "distilbert", "gpt2", "modernbert", "roberta")  # one for each form of a head
Load = Callable[..., Any]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    root = tmp_path_factory.mktemp("heads")

    def get(family: str) -> Path:
        if not (root / family).exists():
            tiny.save(family, root / family, "AutoModelForSequenceClassification", num_labels=3)
        return root / family

    return get


@pytest.fixture(scope="module")
def load(folder: Callable[[str], Path]) -> Load:
    loaded: dict[Any, Any] = {}

    def get(family: str, **dropouts: float) -> Any:
        key = (family, *dropouts.items())
        if key not in loaded:
            found = find(str(folder(family)))
            loaded[key], _ = load_model(found, HEAD, model_config={}, fresh_head="refuse", **dropouts)
        return copy.deepcopy(loaded[key])

    return get


@pytest.fixture(scope="module")
def place() -> Any:
    return take_place(cpu=True, precision="float32")


def features() -> list[dict[str, Any]]:
    draw = torch.Generator().manual_seed(0)
    return [
        {"row": i, "input_ids": torch.randint(7, 40, (n,), generator=draw).tolist(), "label": i % 3}
        for i, n in enumerate(LENGTHS)
    ]


def by_hand(hidden: torch.Tensor, how: str) -> torch.Tensor:
    """The vector (size,) of one sequence's hidden states (tokens, size)."""
    return {"cls": hidden[0], "last": hidden[-1], "mean": hidden.mean(0), "max": hidden.max(0).values}[how]


@pytest.mark.parametrize("family", KINDS)
def test_pooled_batches_equal_sequences_pooled_by_hand(family: str, load: Load, place: Any) -> None:
    made = collate(features(), 0)
    model = load(family)
    with torch.no_grad():
        alone = [model.base_model(input_ids=torch.tensor([f["input_ids"]]))[0][0] for f in features()]
        own = model(input_ids=made["input_ids"], attention_mask=made["attention_mask"]).logits
    found = {}
    for how in POOLINGS:
        model = load(family)
        if (family, how) == ("gpt2", "cls"):
            with pytest.raises(UsageError, match="sees no other"):
                heads.choose_pooling(model, how)
            continue
        heads.choose_pooling(model, how)
        lean = packed(model, place)
        with torch.no_grad():
            vectors = torch.stack([by_hand(hidden, how) for hidden in alone])
            expected = heads.classified(load(family), vectors).logits
            found[how] = forward(lean, made).logits
        torch.testing.assert_close(found[how], expected, rtol=1e-4, atol=2e-5)
        if how == heads.own_pooling(load(family).config):
            torch.testing.assert_close(found[how], own, rtol=1e-4, atol=2e-5)
            assert heads.chosen_pooling(model.config) is None  # transformers does the same
    assert all(not torch.allclose(found[a], found[b], atol=1e-4) for a in found for b in found if a < b)


def test_a_pooling_is_kept_beside_the_weights_and_only_for_classifiers(load: Load, tmp_path: Path, place: Any) -> None:
    for family, kind in (("bert", Packed), ("deberta-v2", Headed)):
        model = load(family)
        heads.choose_pooling(model, "mean")
        lean = packed(model, place)
        assert type(lean) is kind
        tiny.tokenizer(family).save_pretrained(tmp_path / family)
        model.save_pretrained(tmp_path / family)
        again, _ = load_model(find(str(tmp_path / family)), HEAD, model_config={}, fresh_head="refuse")
        heads.choose_pooling(again, "auto")
        made = collate(features(), 0)
        with torch.no_grad():
            assert torch.equal(forward(packed(again, place), made).logits, forward(lean, made).logits)
    other, _ = load_model(find(str(tmp_path / "bert")), "question-answering", model_config={}, fresh_head="allow")
    assert heads.chosen_pooling(other.config) is None
    config = tmp_path / "bert" / "config.json"
    config.write_text(config.read_text("utf-8").replace('"mean"', '"median"'), "utf-8")
    with pytest.raises(ModelError, match="hfkit_pooling is 'median'"):
        find(str(tmp_path / "bert"))


def test_what_modernbert_does_itself_is_written_its_way(load: Load, place: Any) -> None:
    model = load("modernbert")
    heads.choose_pooling(model, "mean")
    assert model.config.classifier_pooling == "mean" and heads.chosen_pooling(model.config) is None
    assert packed(model, place) is model


@pytest.mark.parametrize("family", [family for family in KINDS if family != "gpt2"])
def test_the_losses_of_several_masks_are_averaged(family: str, load: Load, place: Any) -> None:
    task = Classify(ClassifySettings(target="single", labels=["a", "b", "c"], max_length=32))
    model = load(family, dropout=0.3)
    heads.check_masks(model, 4)
    lean, made = packed(model, place, masks=4), collate(features(), 0)
    with torch.no_grad():
        evaluated = forward(lean.eval(), made)
        expected = forward(packed(load(family), place), made)
    assert getattr(evaluated, "samples", None) is None
    torch.testing.assert_close(evaluated.logits, expected.logits)
    torch.manual_seed(1)
    outputs = forward(lean.train(), made)
    assert outputs.samples.shape == (4, 3, 3) and torch.equal(outputs.logits, outputs.samples[0])
    assert all(not torch.equal(outputs.samples[0], one) for one in outputs.samples[1:])
    loss, count = heads.task_loss(task, outputs, made)
    each = [cross_entropy(one, made["label"], reduction="sum").item() for one in outputs.samples]
    assert loss.item() == pytest.approx(sum(each) / 4) and count == 3
    loss.backward()
    grads = [p.grad for name, p in model.named_parameters() if name.startswith("classifier") and p.ndim == 2]
    assert all(grad.any() for grad in grads)
    assert twin(lean).masks == 4


def test_masks_that_would_be_the_same_are_refused(load: Load) -> None:
    with pytest.raises(UsageError, match="dropout is 0") as caught:
        heads.check_masks(load("bert", dropout=0.0), 2)
    assert "dropout=0.1" in str(caught.value.hint)
    with pytest.raises(UsageError, match="gpt2 has no dropout"):
        heads.check_masks(load("gpt2"), 2)
    heads.check_masks(load("gpt2"), 1)


@pytest.mark.parametrize("family", ["bert", "gpt2", "modernbert"])
def test_the_top_layers_begin_as_those_of_a_new_model(family: str, load: Load) -> None:
    model, before = load(family), load(family).state_dict()
    torch.manual_seed(5)
    count = parts.reinitialise(model, HEAD, 1)
    stack, changed = stack_of(model, ""), 0
    top = {name: p for name, p in model.named_parameters() if stack.depth(name) == 2}
    for name, parameter in model.named_parameters():
        changed += parameter.numel() if name in top and not torch.equal(parameter, before[name]) else 0
        assert name in top or torch.equal(parameter, before[name]), name
    assert count == sum(p.numel() for p in top.values()) and changed > count / 2
    assert all((p == 0).all() for name, p in top.items() if name.endswith("bias"))
    drawn = {name: p.clone() for name, p in top.items()}
    torch.manual_seed(5)
    parts.reinitialise(model, HEAD, 1)
    assert all(torch.equal(p, drawn[name]) for name, p in top.items())
    with pytest.raises(UsageError, match="has 2 layers"):
        parts.reinitialise(model, HEAD, 3)


def test_the_head_has_a_rate_of_its_own(load: Load) -> None:
    model = load("bert")
    by_name = {name: parts.rate_shares(model, 0.5, 10.0)[p] for name, p in model.named_parameters()}
    assert by_name["classifier.weight"] == 10 == by_name["bert.pooler.dense.bias"]
    assert by_name["bert.encoder.layer.1.output.dense.weight"] == 0.5
    shares = parts.rate_shares(load("albert"), 1.0, 10.0)  # which has no layers of its own to tell apart
    assert set(shares.values()) == {10.0} and len(shares) == 4
    groups = parameter_groups(model, 0.1, parts.rate_shares(model, 1.0, 10.0))
    assert {g["rate_share"] for g in groups if g["params"]} == {1.0, 10.0}
