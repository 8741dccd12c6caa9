"""Steps: the gradients do not depend on how a step is cut, nor on what happens between steps."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from accelerate.optimizer import AcceleratedOptimizer

from hfkit.engine import outcomes
from hfkit.engine.answer import answer
from hfkit.engine.cpu.layers import Projection
from hfkit.engine.optimize import Schedule, build_optimizer
from hfkit.engine.outcomes import Outcomes, StepDone
from hfkit.engine.packing import packed, plain
from hfkit.engine.parts import rate_shares
from hfkit.engine.plan import Drawn, steps_per_epoch
from hfkit.engine.processes.place import take_place
from hfkit.engine.train import Training
from hfkit.errors import DivergenceError, UsageError
from hfkit.models import load_model, load_tokenizer, locate
from hfkit.tasks.classify import Classify, ClassifySettings


class Listed:
    """Features in memory."""

    def __init__(self, features: Sequence[dict[str, Any]]) -> None:
        self.features = features
        self.lengths = np.asarray([len(f["input_ids"]) for f in features], dtype=np.int32)
        self.rows = np.asarray([f["row"] for f in features], dtype=np.int64)

    def __len__(self) -> int:
        return len(self.features)

    def take(self, indices: Sequence[int]) -> list[dict[str, Any]]:
        return [self.features[i] for i in indices]


@pytest.fixture(scope="module")
def task() -> Classify:
    return Classify(ClassifySettings(target="single", labels=["a", "b"], max_length=32))


def features(count: int, *, unlabelled: Sequence[int] = ()) -> Listed:
    rng = np.random.default_rng(0)
    made = [
        {"row": i, "input_ids": rng.integers(5, 60, 3 + i % 7).tolist(), "label": -100 if i in unlabelled else i % 2}
        for i in range(count)
    ]
    return Listed(made)


def training(
    small: Path,
    task: Any,
    data: Listed,
    *,
    micro: int = 16,
    batch: int = 16,
    dropout: float | None = 0.0,
    attention_dropout: float | None = None,
    precision: str = "float32",
    pack: bool = True,
    **changes: Any,
) -> Training:
    """A fresh model and all that moves it; the weights are the same each time."""
    torch.manual_seed(1)
    found = locate(str(small / "bert"))
    model, _ = load_model(
        found,
        task.head,
        model_config=task.model_config(),
        fresh_head="allow",
        dropout=dropout,
        attention_dropout=dropout if attention_dropout is None else attention_dropout,
    )
    rest: dict[str, Any] = {"max_grad_norm": 1.0, "seed": 3, "schedule": Schedule(1e-3, 10, 0, "constant"), **changes}
    place = take_place(cpu=True, precision=precision)
    optimizer = build_optimizer(model, 1e-3, 0.01)
    return Training(
        packed(model, place) if pack else model,
        optimizer,
        task,
        data,
        batch_size=batch,
        micro_batch_size=micro,
        place=place,
        pad_id=0,
        **rest,
    )


def run(made: Training, steps: int) -> list[StepDone]:
    done: list[StepDone] = []
    for step in range(steps):
        made.advance(step)
        done += made.finished(wait=False)
    return done + list(made.finished(wait=True))


def farthest(one: Training, other: Training) -> float:
    pairs = zip(one.bare.parameters(), other.bare.parameters(), strict=True)
    return max(float((a - b).detach().abs().max()) for a, b in pairs)


@pytest.mark.parametrize("unlabelled", [(), (0, 1, 2, 5, 9, 12, 20)])
def test_one_micro_batch_equals_four(small: Path, task: Any, unlabelled: Sequence[int]) -> None:
    data = features(32, unlabelled=unlabelled)
    whole, cut = training(small, task, data), training(small, task, data, micro=4)
    first, second = run(whole, 3), run(cut, 3)
    for a, b in zip(first, second, strict=True):
        assert a.loss == pytest.approx(b.loss, abs=1e-6)
        assert a.grad_norm == pytest.approx(b.grad_norm, abs=1e-5)
        assert (a.tokens, a.features, a.lr) == (b.tokens, b.features, b.lr)
    # the mean: Adam divides by the root of the second moment, so where a gradient is all noise a weight may move by lr
    with torch.no_grad():
        pairs = zip(whole.bare.parameters(), cut.bare.parameters(), strict=True)
        assert np.mean([float((a - b).abs().mean()) for a, b in pairs]) < 1e-6


def test_gradients_are_those_of_the_mean_over_labelled_rows(
    small: Path, task: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = features(16, unlabelled=(3, 4, 11))
    made = training(small, task, data, micro=3, max_grad_norm=0.0)
    kept: list[torch.Tensor] = []
    monkeypatch.setattr(made.optimizer, "step", lambda: kept.extend(p.grad.clone() for p in made._parameters))
    done = run(made, 1)
    plain = training(small, task, data).bare
    from hfkit.engine.collate import collate
    from hfkit.engine.forward import forward

    batch = collate(data.features, 0)
    loss = torch.nn.functional.cross_entropy(forward(plain, batch).logits, batch["label"], ignore_index=-100)
    loss.backward()
    assert done[0].loss == pytest.approx(float(loss.detach()), abs=1e-6)
    for found, parameter in zip(kept, plain.parameters(), strict=True):
        assert torch.allclose(found, parameter.grad, atol=1e-6)


def test_evaluations_do_not_change_training(small: Path, task: Any) -> None:
    data = features(32)
    rows = [{"id": str(i), "text": "x", "label": "a"} for i in range(32)]
    quiet = training(small, task, data, dropout=None, micro=4)
    run(quiet, 4)
    watched = training(small, task, data, dropout=None, micro=4)
    for step in range(4):
        watched.advance(step)
        torch.rand(step + 1)  # someone draws
        predictions = list(answer(watched.bare, task, rows, data, place=watched.place, pad_id=0))
        assert [p["id"] for p in predictions] == [str(i) for i in range(32)]
    assert farthest(quiet, watched) == 0.0
    assert watched.bare.training


def test_dropout_is_at_work_and_keyed_by_the_seed(small: Path, task: Any) -> None:
    data = features(16)
    same, again = (training(small, task, data, dropout=None) for _ in range(2))
    other = training(small, task, data, dropout=None, seed=4)
    none = training(small, task, data, dropout=0.0)
    for made in (same, again, other, none):
        run(made, 1)
    assert farthest(same, again) == 0.0
    assert farthest(same, other) > 0 and farthest(same, none) > 0


@pytest.mark.parametrize("pack", [True, False])
def test_each_dropout_alone_is_at_work(small: Path, task: Any, pack: bool) -> None:
    data = features(16)
    none = training(small, task, data, pack=pack)
    hidden = training(small, task, data, pack=pack, dropout=0.5, attention_dropout=0.0)
    attention = training(small, task, data, pack=pack, attention_dropout=0.5)
    for made in (none, hidden, attention):
        run(made, 1)
    assert farthest(none, hidden) > 0 and farthest(none, attention) > 0


def test_a_step_moves_each_parameter_by_its_share_of_the_rate(small: Path, task: Any) -> None:
    """Adam's first step is of the rate's size, whatever the gradient."""
    data = features(16)
    before, made = (training(small, task, data) for _ in range(2))
    model = plain(made.bare)
    made.optimizer = build_optimizer(model, 1e-3, 0.0, rate_shares(model, 0.5, head=2.0))
    run(made, 1)
    moved: dict[str, float] = {}
    for (name, old), new in zip(plain(before.bare).named_parameters(), model.parameters(), strict=True):
        part = next((part for part in ("layer.0.", "layer.1.", "classifier.") if part in name), "other")
        moved[part] = max(moved.get(part, 0.0), float((new - old).detach().abs().max()))
    assert moved["classifier."] == pytest.approx(2e-3, rel=0.01)
    assert moved["layer.1."] == pytest.approx(0.5e-3, rel=0.01)
    assert moved["layer.0."] == pytest.approx(0.25e-3, rel=0.01)


def test_the_last_step_of_an_epoch_is_short_not_dropped(small: Path, task: Any) -> None:
    data = features(21)
    assert steps_per_epoch(21, 8) == 3
    made = training(small, task, data, batch=8, micro=4)
    done = run(made, 6)
    assert [d.features for d in done] == [8, 8, 5, 8, 8, 5]
    assert sum(d.tokens for d in done[:3]) == data.lengths.sum()
    seen = [Drawn(21, 8, made.seed).examples(step).tolist() for step in range(6)]
    assert all(sorted(i for step in epoch for i in step) == list(range(21)) for epoch in (seen[:3], seen[3:]))
    assert seen[:3] != seen[3:]


def test_a_step_without_labels_moves_nothing_but_decay(small: Path, task: Any) -> None:
    made = training(small, task, features(4, unlabelled=range(4)))
    assert run(made, 1)[0].loss == 0.0
    assert all(torch.isfinite(p).all() for p in made.bare.parameters())


def test_what_is_not_finite_stops_one_step_later(small: Path, task: Any) -> None:
    made = training(small, task, features(16), batch=4)
    with torch.no_grad():
        next(iter(made.bare.parameters())).fill_(float("nan"))
    with pytest.raises(DivergenceError, match="step 1: the loss is not finite"):
        run(made, 3)
    with pytest.raises(DivergenceError, match="weights are not finite"):
        made.check_weights()


def test_an_exploding_loss_stops(small: Path, task: Any) -> None:
    made = training(small, task, features(16), batch=4)
    for step, loss in enumerate([0.7, 30.0, 30.0, 0.7, 12.0, 12.0]):
        made.outcomes.refuse_explosion(step, loss)
    with pytest.raises(DivergenceError, match="grew from 0.7 to 12"):
        made.outcomes.refuse_explosion(6, 12.0)


def test_a_resumed_run_judges_losses_as_it_would_have(small: Path, task: Any) -> None:
    before, after = (training(small, task, features(16), batch=4) for _ in range(2))
    for step, loss in enumerate([0.7, 12.0, 12.0]):
        before.outcomes.refuse_explosion(step, loss)
    after.outcomes.restore(before.outcomes.state())
    with pytest.raises(DivergenceError, match="step 4: the loss grew from 0.7 to 12"):
        after.outcomes.refuse_explosion(3, 12.0)
    after.outcomes.restore({})  # of a checkpoint that does not say it
    for step in range(4, 8):
        after.outcomes.refuse_explosion(step, 12.0)


def test_a_scaled_run_that_stands_still_stops(small: Path, task: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """With torch's own scaler, as float16 has it on a GPU: it skips each step whose gradients are not finite."""
    monkeypatch.setattr(outcomes, "SKIPPED_STEPS", 4)
    made, scaler = training(small, task, features(16), batch=4), torch.amp.GradScaler("cpu")
    made.outcomes, made.optimizer = Outcomes(scaled=True), AcceleratedOptimizer(made.optimizer.optimizer, scaler=scaler)
    monkeypatch.setattr(made.place.accelerator, "scaler", scaler)
    monkeypatch.setattr(made.place.accelerator, "unscale_gradients", lambda given: scaler.unscale_(given.optimizer))
    made.bare.model.classifier.weight.register_hook(lambda gradient: gradient * float("inf"))
    before = [p.detach().clone() for p in made.bare.parameters()]
    with pytest.raises(DivergenceError, match="step 4: 4 steps in a row were skipped"):
        run(made, 5)
    assert all(torch.equal(p, old) for p, old in zip(made.bare.parameters(), before, strict=True))


def test_skipped_steps_between_others_stop_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outcomes, "SKIPPED_STEPS", 4)
    made = Outcomes(scaled=True)
    norms = [float("inf")] * 3 + [1.0] + [float("nan")] * 3
    for step, norm in enumerate(norms):
        made.add(step, 4, 20, 1e-3, torch.tensor([0.7, norm, 0.0]))
    assert [np.isfinite(done.grad_norm) for done in made.read(wait=True)] == [bool(np.isfinite(n)) for n in norms]
    after = Outcomes(scaled=True)
    after.restore(made.state())
    after.add(7, 4, 20, 1e-3, torch.tensor([0.7, float("inf"), 0.0]))
    with pytest.raises(DivergenceError, match="step 8: 4 steps in a row"):
        list(after.read(wait=True))


def test_asking_reaches_the_step_it_was_asked_at(small: Path, task: Any) -> None:
    made = training(small, task, features(16), batch=4)
    for step in range(4):
        made.advance(step, ask=step == 2)
    assert [done.asked for done in made.finished(wait=True)] == [False, False, True, False]


def test_float16_needs_a_gpu_and_trackers_their_package() -> None:
    with pytest.raises(UsageError, match="float16 needs a GPU"):
        take_place(cpu=True, precision="float16")
    with pytest.raises(UsageError, match="'weight' is not a tracker"):
        take_place(cpu=True, trackers=["weight"])
    with pytest.raises(UsageError, match="not installed"):
        take_place(cpu=True, trackers=["comet_ml"])


def test_bfloat16_keeps_the_weights_in_float32_and_learns_the_same(small: Path, task: Any) -> None:
    """Twenty steps apart from rounding: products that went on with the weights of the first step would show."""
    whole, half = (training(small, task, features(16), precision=p) for p in ("float32", "bfloat16"))
    losses = [[d.loss for d in run(made, 20)] for made in (whole, half)]
    assert {p.dtype for p in half.bare.parameters()} == {torch.float32}
    assert losses[0][-1] < 0.9 * losses[0][0]
    assert losses[1] == pytest.approx(losses[0], rel=0.03)
    projections = [m for m in half.bare.modules() if isinstance(m, Projection)]
    assert projections
    for layer in projections:
        assert torch.equal(layer.copies.get()[0], layer.weight.to(torch.bfloat16))


def test_packed_and_padded_steps_lead_to_the_same_weights(small: Path, task: Any) -> None:
    one = training(small, task, features(40), micro=4, batch=8)
    other = training(small, task, features(40), micro=4, batch=8, pack=False)
    ours, theirs = run(one, 10), run(other, 10)
    assert [d.loss for d in ours] == pytest.approx([d.loss for d in theirs], rel=1e-4)
    pairs = zip(one.bare.parameters(), other.bare.parameters(), strict=True)
    assert max(float((a - b).detach().abs().max()) for a, b in pairs) < 1e-5


def test_the_tokenizer_of_the_small_checkpoint_loads(small: Path) -> None:
    assert load_tokenizer(locate(str(small / "bert")), "sequence-classification").pad_token_id == 0


def test_passes_of_a_trial_move_nothing(small: Path, task: Classify) -> None:
    """Steps after them are, to the bit, those of a training that tried nothing."""
    tried, other = (training(small, task, features(24), dropout=0.1, micro=4) for _ in range(2))
    assert tried.passed(0) and tried.passed(1)
    assert all(p.grad is None for p in tried.bare.parameters())
    assert [done.loss for done in run(tried, 3)] == [done.loss for done in run(other, 3)]
    for ours, theirs in zip(tried.bare.parameters(), other.bare.parameters(), strict=True):
        assert torch.equal(ours, theirs)
