"""Parameter groups by module type, schedules, learning rates."""

from __future__ import annotations

import math

import pytest
import tiny_models as tiny
import torch
from torch import nn

from hfkit.engine.optimize import Schedule, auto_lr, build_optimizer, parameter_groups, scale_and_clip, warmup_steps
from hfkit.engine.precision import auto_precision


def groups(family: str, head: str) -> tuple[set[str], set[str]]:
    import transformers

    tokens = tiny.tokenizer(family)
    model = getattr(transformers, head).from_config(tiny.config(family, len(tokens), tokens.pad_token_id))
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    decayed, plain = parameter_groups(model, 0.1)
    assert (decayed["weight_decay"], plain["weight_decay"]) == (0.1, 0.0)
    found = [{names[id(p)] for p in group["params"]} for group in (decayed, plain)]
    assert not found[0] & found[1]
    assert found[0] | found[1] == set(names.values())
    assert sum(len(group["params"]) for group in (decayed, plain)) == len(names)  # tied ones once
    return found[0], found[1]


def test_bert() -> None:
    decayed, plain = groups("bert", "AutoModelForQuestionAnswering")
    assert "bert.embeddings.word_embeddings.weight" in decayed
    assert "qa_outputs.weight" in decayed
    assert {
        "bert.embeddings.position_embeddings.weight",
        "bert.embeddings.LayerNorm.weight",
        "qa_outputs.bias",
    } <= plain
    assert not [name for name in decayed if "LayerNorm" in name or name.endswith("bias") or "position" in name]


def test_gpt2() -> None:
    decayed, plain = groups("gpt2", "AutoModelForCausalLM")
    assert {
        "transformer.wte.weight",
        "transformer.h.0.attn.c_attn.weight",
        "transformer.h.1.mlp.c_proj.weight",
    } <= decayed
    assert {"transformer.wpe.weight", "transformer.ln_f.weight", "transformer.h.0.ln_1.weight"} <= plain
    assert not [name for name in decayed if "ln_" in name or "wpe" in name or name.endswith("bias")]


def test_modernbert() -> None:
    decayed, plain = groups("modernbert", "AutoModelForSequenceClassification")
    assert [name for name in plain if "norm" in name]
    assert not [name for name in decayed if "norm" in name or name.endswith("bias")]


def test_the_optimizer_is_one_kernel() -> None:
    assert build_optimizer(nn.Linear(2, 2), 1e-3, 0.01).defaults["fused"] is not torch.backends.mps.is_available()


def test_frozen_parameters_are_in_no_group() -> None:
    model = nn.Sequential(nn.Linear(2, 2), nn.LayerNorm(2))
    model[0].weight.requires_grad = False
    decayed, plain = parameter_groups(model, 0.1)
    assert decayed["params"] == [] and len(plain["params"]) == 3


def test_linear_schedule() -> None:
    schedule = Schedule(1.0, 10, 4, "linear")
    assert [schedule.lr(i) for i in range(5)] == [0.25, 0.5, 0.75, 1.0, 1.0]
    assert schedule.lr(7) == pytest.approx(0.5)
    assert schedule.lr(9) == pytest.approx(1 / 6)
    assert schedule.lr(10) == schedule.lr(11) == 0


def test_cosine_and_constant_schedules() -> None:
    cosine = Schedule(2.0, 8, 0, "cosine")
    assert [cosine.lr(0), cosine.lr(4)] == pytest.approx([2.0, 1.0])
    assert cosine.lr(2) == pytest.approx(1 + math.cos(math.pi / 4))
    assert Schedule(2.0, 8, 2, "constant").lr(7) == 2.0
    assert Schedule(2.0, 3, 3, "linear").lr(2) == 2.0


def test_warmup_is_a_share_or_a_count() -> None:
    assert warmup_steps(0.06, 1000) == 60
    assert warmup_steps(0.0, 1000) == 0
    assert warmup_steps(25, 1000) == 25
    assert warmup_steps(5000, 1000) == 1000


@pytest.mark.parametrize(
    ("parameters", "scratch", "lr"),
    [(22e6, False, 1e-4), (110e6, False, 3e-5), (335e6, False, 1e-5), (3e6, True, 1e-3), (124e6, True, 5e-4)],
)
def test_auto_lr(parameters: float, scratch: bool, lr: float) -> None:
    assert auto_lr(int(parameters), scratch=scratch)[0] == lr


def test_auto_precision_of_this_machine() -> None:
    assert auto_precision(torch.device("cpu"))[0] in ("float32", "bfloat16")


def test_gradients_are_scaled_and_clipped_as_torch_does() -> None:
    layer, other = nn.Linear(3, 2), nn.Linear(3, 2)
    for module in (layer, other):
        module.load_state_dict({name: torch.ones_like(value) for name, value in module.state_dict().items()})
        (module(torch.tensor([[1.0, 2.0, 3.0]])) ** 2).sum().backward()
    for parameter in other.parameters():
        assert parameter.grad is not None
        parameter.grad.mul_(0.5)
    expected = nn.utils.clip_grad_norm_(other.parameters(), 1.0)
    norm = scale_and_clip(list(layer.parameters()), torch.tensor(0.5), 1.0)
    assert float(norm) == pytest.approx(float(expected), rel=1e-6)
    for mine, theirs in zip(layer.parameters(), other.parameters(), strict=True):
        assert torch.allclose(mine.grad, theirs.grad, rtol=1e-5)


def test_gradients_are_only_scaled_without_a_limit_and_may_be_missing() -> None:
    layer = nn.Linear(2, 1)
    layer(torch.ones(1, 2)).sum().backward()
    scale_and_clip(layer.parameters(), torch.tensor(3.0), 0)
    assert layer.weight.grad is not None and layer.weight.grad.tolist() == [[3.0, 3.0]]
    assert float(scale_and_clip([nn.Parameter(torch.ones(1))], torch.tensor(3.0), 1.0)) == 0
