"""Adversarial training: how far weights move, that they come back, and that a step is the mean of both passes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from test_memory import Scarce
from test_train import farthest, features, run, training
from torch import nn

from hfkit.engine.collate import collate
from hfkit.engine.forward import forward
from hfkit.engine.perturb import Perturbation, awp, fgm
from hfkit.engine.train import Training
from hfkit.recipe.keys import Tricks
from hfkit.stopping import Left
from hfkit.tasks.classify import ClassifySettings

FGM, AWP = Tricks(adversarial="fgm", adversarial_epsilon=1.0), Tricks(adversarial="awp", adversarial_lr=1.0)
STRONG = Tricks(adversarial="awp", adversarial_epsilon=1.0, adversarial_lr=0.5)


@pytest.fixture
def task() -> Scarce:
    return Scarce(ClassifySettings(target="single", labels=["a", "b"], max_length=32))


def gradients(made: Training, monkeypatch: pytest.MonkeyPatch) -> list[torch.Tensor]:
    """What the optimizer is given in step 0."""
    kept: list[torch.Tensor] = []
    monkeypatch.setattr(made.optimizer, "step", lambda: kept.extend(p.grad.clone() for p in made._parameters))
    run(made, 1)
    return kept


def test_fgm_moves_by_epsilon_along_the_gradient() -> None:
    weight, gradient = torch.randn(5, 3), torch.randn(5, 3)
    move = fgm(weight, gradient, 0.7)
    assert move.norm() == pytest.approx(0.7) and torch.allclose(move, 0.7 * gradient / gradient.norm())
    assert torch.equal(fgm(weight, 65536 * gradient, 0.7), move)  # as float16 scales its losses
    for unfit in (torch.zeros(5, 3), torch.full((5, 3), float("inf")), torch.full((5, 3), float("nan"))):
        assert not fgm(weight, unfit, 0.7).any() and not awp(weight, unfit, 0.1, 1.0).any()


def test_awp_keeps_every_weight_within_its_bound() -> None:
    weight, gradient = torch.randn(50, 30), torch.randn(50, 30) ** 3
    weight[0] = 0.0
    assert awp(weight, gradient, 1e9, 0.3)[1:].norm() == pytest.approx(
        float(0.3 * weight.norm() * gradient[1:].norm() / gradient.norm()), rel=1e-5
    )
    moved = weight + awp(weight, gradient, 0.01, 1.0)
    assert ((moved - weight).abs() <= 0.01 * weight.abs() * (1 + 1e-4)).all()  # 1e-4: the sum itself is rounded
    assert (moved != weight)[1:].float().mean() > 0.9 and torch.equal(moved[0], weight[0])


@pytest.mark.parametrize("error", [None, ZeroDivisionError])
def test_weights_come_back_to_the_bit_whatever_happens(error: type[Exception] | None) -> None:
    weights = [nn.Parameter(torch.randn(40, 40) * 10.0**power) for power in range(-4, 4)]
    before, versions = [w.detach().clone() for w in weights], [w._version for w in weights]
    for weight in weights[:-1]:
        weight.grad = torch.randn(40, 40)
    made = Perturbation(weights, lambda weight, gradient: fgm(weight, gradient, 3.3))
    for _ in range(2):
        try:
            with made.moved():
                assert [torch.equal(w, b) for w, b in zip(weights, before, strict=True)] == [False] * 7 + [True]
                moved = [w._version for w in weights]
                if error:
                    raise error
        except ZeroDivisionError:
            assert error
        assert all(torch.equal(w, b) for w, b in zip(weights, before, strict=True))
        # 16-bit copies are made anew when a weight's version has changed
        assert all(v < m < w._version for v, m, w in zip(versions[:-1], moved, weights, strict=False))


@pytest.mark.parametrize("tricks", [FGM, STRONG], ids=["fgm", "awp"])
def test_a_step_is_the_mean_of_the_passes_before_and_after_the_move(
    small: Path, task: Any, tricks: Tricks, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = features(16, unlabelled=(3, 4))
    made = training(small, task, data, micro=3, max_grad_norm=0.0, tricks=tricks)
    before = [p.detach().clone() for p in made._parameters]
    found = gradients(made, monkeypatch)
    assert all(torch.equal(a, b) for a, b in zip(made._parameters, before, strict=True))
    plain: Any = training(small, task, data, pack=False).bare
    batch = collate(data.features, 0)

    def backward() -> None:
        logits = forward(plain, batch).logits
        torch.nn.functional.cross_entropy(logits, batch["label"], ignore_index=-100).backward()

    backward()
    with torch.no_grad():
        if tricks is FGM:
            table = plain.bert.embeddings.word_embeddings.weight
            table += table.grad / table.grad.norm()
        else:
            for p in plain.parameters():
                if p.ndim > 1:
                    p += (0.5 * p.norm() * p.grad / p.grad.norm()).clamp(-p.abs(), p.abs())
    first = [p.grad.clone() for p in plain.parameters()]
    backward()
    for mine, theirs in zip(found, plain.parameters(), strict=True):
        assert torch.allclose(mine, theirs.grad / 2, atol=1e-6)
    changed = [(p.grad - 2 * g).norm() / p.grad.norm() for p, g in zip(plain.parameters(), first, strict=True)]
    assert max(changed) > 0.05  # the move was felt


def test_16_bit_copies_and_both_threads_see_the_moved_weights(
    small: Path, task: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def of(precision: str, tricks: Tricks, count: int = 1) -> torch.Tensor:
        torch.set_num_threads(count)
        made = training(small, task, features(16), micro=4, precision=precision, max_grad_norm=0.0, tricks=tricks)
        assert made.threads == count
        return torch.cat([g.flatten() for g in gradients(made, monkeypatch)])

    exact, still = of("float32", STRONG), of("float32", Tricks())
    for threads in (1, 2):
        assert (of("bfloat16", STRONG, threads) - exact).norm() < 0.1 * (still - exact).norm()


def test_a_step_whose_second_pass_runs_out_of_memory_begins_again(
    small: Path, task: Scarce, monkeypatch: pytest.MonkeyPatch
) -> None:
    hurt, calm = (training(small, task, features(16), micro=size, dropout=None, tricks=AWP) for size in (8, 4))
    honest, calls = Scarce._spend, []

    def fourth_fails(self: Scarce, batch: Any) -> None:
        calls.append(len(batch["input_ids"]))
        if len(calls) == 4:
            raise MemoryError
        honest(self, batch)

    monkeypatch.setattr(Scarce, "_spend", fourth_fails)
    assert "repeated with 4" in hurt.advance(0)[0] and calls == [8] * 4 + [4] * 8
    calm.advance(0)
    assert farthest(hurt, calm) == 0.0


def test_leaving_between_passes_leaves_the_weights(small: Path, task: Any) -> None:
    made, fresh = (training(small, task, features(16), micro=8, tricks=FGM) for _ in range(2))
    beats = iter(range(4))

    def leave() -> None:
        if next(beats) == 3:
            raise Left

    made.pulse = leave
    with pytest.raises(Left):
        made.advance(0)
    assert farthest(made, fresh) == 0.0


def test_it_begins_at_its_share_of_the_steps(small: Path, task: Any) -> None:
    late = Tricks(adversarial="fgm", adversarial_start=0.25)  # of ten steps: from the fourth on
    off, on = (training(small, task, features(32), tricks=t) for t in (Tricks(), late))
    assert (off.full_step, on.full_step) == (0, 3)
    for made in (off, on):
        run(made, 3)
    assert farthest(off, on) == 0.0
    off.advance(3)
    on.advance(3)
    assert farthest(off, on) > 0.0
