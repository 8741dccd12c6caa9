"""What trains of a model: frozen layers, a rate for each layer, adapters; and activations computed twice."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import tiny_models as tiny
import torch
from peft.tuners.lora import LoraLayer

from hfkit.engine import parts
from hfkit.engine.collate import collate
from hfkit.engine.forward import forward
from hfkit.engine.lora import adapted, add_adapters, merged
from hfkit.engine.optimize import parameter_groups
from hfkit.engine.packing import packed
from hfkit.engine.processes.place import take_place
from hfkit.errors import UsageError
from hfkit.models import VERIFIED, find, load_model
from hfkit.models.stack import STACKS, layer_count, stack_of

HEAD = "sequence-classification"
Load = Callable[[str], Any]


@pytest.fixture(scope="module")
def load(tmp_path_factory: pytest.TempPathFactory) -> Load:
    root = tmp_path_factory.mktemp("parts")

    def get(family: str, **dropout: float) -> Any:
        if not (root / family).exists():
            tiny.save(family, root / family, "AutoModelForSequenceClassification", num_labels=3)
        model, _ = load_model(find(str(root / family)), HEAD, model_config={}, fresh_head="refuse", **dropout)
        return model

    return get


def batch(model: Any) -> dict[str, torch.Tensor]:
    draw = torch.Generator().manual_seed(0)
    features = [
        {"row": i, "input_ids": torch.randint(7, 40, (n,), generator=draw).tolist()} for i, n in enumerate((5, 17, 9))
    ]
    return collate(features, int(model.config.pad_token_id or 0))


def gradients(model: Any, made: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    model.train()
    torch.manual_seed(3)
    forward(model, made)["logits"].square().sum().backward()
    found = {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}
    model.zero_grad()
    return found


@pytest.mark.parametrize("family", VERIFIED)
def test_every_verified_family_has_its_parts_or_says_why_not(family: str, load: Load) -> None:
    model = load(family)
    if family == "albert":
        with pytest.raises(UsageError, match="share one set of weights"):
            stack_of(model, "train.freeze_layers")
        return
    stack = stack_of(model, "train.freeze_layers")
    depths = {name: stack.depth(name) for name, _ in model.named_parameters()}
    assert set(depths.values()) == {0, 1, 2, 3}
    assert len(stack.layers) == 2 == layer_count(model.config.to_dict())
    assert all(depths[name] == 3 for name in depths if "classifier" in name or name.startswith(("score", "head")))
    assert {name for name, depth in depths.items() if depth == 0} == {
        n for n in depths if "embed" in n or ".w" in n.replace(".weight", "")
    } | ({n for n in depths if ".encoder.LayerNorm" in n})
    parts.freeze(model, 1)
    frozen = {name for name, p in model.named_parameters() if not p.requires_grad}
    assert frozen == {name for name, depth in depths.items() if depth <= 1}


def test_rates_fall_from_the_head_down(load: Load) -> None:
    model = load("bert")
    shares = parts.rate_shares(model, 0.5)
    by_name = {name: shares[p] for name, p in model.named_parameters()}
    assert by_name["classifier.weight"] == 1 == by_name["bert.pooler.dense.weight"]
    assert by_name["bert.encoder.layer.1.output.dense.weight"] == 0.5
    assert by_name["bert.encoder.layer.0.output.dense.bias"] == 0.25
    assert by_name["bert.embeddings.word_embeddings.weight"] == 0.125
    groups = parameter_groups(model, 0.1, shares)
    assert {(g["rate_share"], g["weight_decay"]) for g in groups if g["params"]} == {
        (share, decay) for share in (1, 0.5, 0.25, 0.125) for decay in (0.1, 0.0)
    }
    assert sum(len(g["params"]) for g in groups) == len(by_name)  # type: ignore[arg-type]
    assert parts.rate_shares(model, 1.0) == {}


def test_rates_of_twelve_layers(tmp_path: Path) -> None:
    tiny.save("bert", tmp_path / "twelve", "AutoModelForSequenceClassification", num_hidden_layers=12)
    model, _ = load_model(find(str(tmp_path / "twelve")), HEAD, model_config={}, fresh_head="refuse")
    shares = parts.rate_shares(model, 0.95)
    rates = {name: 2e-5 * shares[p] for name, p in model.named_parameters()}
    assert rates["bert.encoder.layer.11.output.dense.weight"] == pytest.approx(1.9e-5)
    assert rates["bert.embeddings.word_embeddings.weight"] == pytest.approx(1.0267e-5, abs=1e-9)


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("family", [family for family in STACKS if family != "albert"])
def test_recomputed_activations_give_the_same_gradients(family: str, precision: str, load: Load) -> None:
    place = take_place(cpu=True, precision=precision)
    plain, again = load(family), load(family)
    parts.recompute_activations(again)
    calls = []
    layer = again.get_submodule(stack_of(again, "").layers[0])
    next(layer.children()).register_forward_hook(lambda *_: calls.append(1))
    made = batch(plain)
    expected, found = (gradients(packed(model, place), made) for model in (plain, again))
    assert len(calls) == 2  # forward, and again in the backward pass
    assert expected.keys() == found.keys()
    for name, value in expected.items():
        assert torch.equal(value, found[name]), name  # dropout is on: it draws the same masks


def test_what_cannot_recompute_says_so(load: Load) -> None:
    with pytest.raises(UsageError, match="albert"):
        parts.recompute_activations(load("albert"))


@pytest.mark.parametrize("family", VERIFIED)
def test_adapters_pack_and_merge(family: str, load: Load) -> None:
    """Padded, packed and merged give one result: adapters go in first, and all else sees an ordinary model."""
    place = take_place(cpu=True, precision="float32")
    torch.manual_seed(0)
    padded = load(family)
    names = add_adapters(padded, rank=4, alpha=8.0, dropout=0.0, targets=None)
    assert len(names) == sum(isinstance(module, LoraLayer) for module in padded.modules()) == len(adapted(padded))
    for name, parameter in padded.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.2)
    made = batch(padded)
    torch.manual_seed(0)
    other = load(family)
    add_adapters(other, rank=4, alpha=8.0, dropout=0.0, targets=None)
    other.load_state_dict(padded.state_dict())
    whole = load(family)
    before = forward(whole, made)["logits"]
    whole.load_state_dict(merged(padded.state_dict(), adapted(padded)))
    expected = forward(padded, made)["logits"]
    assert not torch.allclose(expected, before, atol=1e-4)
    torch.testing.assert_close(forward(whole, made)["logits"], expected, rtol=1e-4, atol=1e-5)
    lean = packed(other, place)
    torch.testing.assert_close(forward(lean, made)["logits"], expected, rtol=1e-4, atol=2e-5)
    padded.eval()
    moving = {name for name, p in padded.named_parameters() if p.requires_grad}
    assert all(
        ".lora_" in name or not name.startswith(padded.base_model_prefix + ".") or "pooler" in name for name in moving
    )
    found = gradients(lean, made)
    assert {name.removeprefix("model.") for name in found if "lora_A" in name} == {
        n for n in moving if "lora_A" in n
    } or (lean is other)


def test_adapters_take_bfloat16_in_packed_rows(load: Load) -> None:
    """They round about as much as the model does without them."""
    found: dict[bool, list[torch.Tensor]] = {True: [], False: []}
    for adapters in found:
        for precision in ("float32", "bfloat16"):
            torch.manual_seed(0)
            model = load("bert").eval()
            if adapters:
                add_adapters(model, rank=4, alpha=8.0, dropout=0.0, targets=["query", "value"])
            for name, parameter in model.named_parameters():
                if "lora_B" in name:
                    torch.nn.init.normal_(parameter, std=0.2)
            lean = packed(model, take_place(cpu=True, precision=precision))
            found[adapters].append(forward(lean, batch(model))["logits"].float())
    errors = {adapters: (exact - rounded).abs().max() for adapters, (exact, rounded) in found.items()}
    assert 0 < errors[True] < 2 * errors[False]
    assert not torch.allclose(found[True][0], found[False][0], atol=0.1)


def test_targets_and_frozen_layers_choose(load: Load) -> None:
    model = load("bert")
    names = add_adapters(model, rank=2, alpha=4.0, dropout=0.1, targets=["query"], frozen_layers=1)
    assert names == ["bert.encoder.layer.1.attention.self.query"]
    with pytest.raises(UsageError, match="called queri") as caught:
        add_adapters(load("bert"), rank=2, alpha=4.0, dropout=0.0, targets=["queri"])
    assert "query" in str(caught.value.hint)
    with pytest.raises(UsageError, match="freeze_layers=2 leaves no layer"):
        add_adapters(load("bert"), rank=2, alpha=4.0, dropout=0.0, targets=None, frozen_layers=2)


def test_the_factor_and_the_side_of_a_weight_are_known(load: Load) -> None:
    for family, turned in (("gpt2", True), ("bert", False)):
        model = load(family)
        add_adapters(model, rank=2, alpha=4.0, dropout=0.0, targets=None)
        assert set(adapted(model).values()) == {(2.0, turned)}


def test_the_output_of_a_language_model_stays_with_its_embeddings(tmp_path: Path) -> None:
    tiny.save("gpt2", tmp_path / "gpt2", "AutoModelForCausalLM")
    model, _ = load_model(find(str(tmp_path / "gpt2")), "causal-lm", model_config={}, fresh_head="refuse")
    add_adapters(model, rank=2, alpha=4.0, dropout=0.0, targets=None)
    assert all(".lora_" in name for name, p in model.named_parameters() if p.requires_grad)
    assert model.lm_head.weight is model.transformer.wte.weight
