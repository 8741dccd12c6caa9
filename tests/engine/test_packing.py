"""Packed rows: equal to padded batches for every family that takes them, and refused where they would be wrong."""

from __future__ import annotations

import contextlib
import gc
import weakref
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny_models as tiny
import torch
import transformers

from hfkit.engine import attention, products
from hfkit.engine.answer import BATCH_TOKENS, batch_tokens
from hfkit.engine.collate import collate
from hfkit.engine.cpu import on_threads
from hfkit.engine.cpu.joint import join, side_by_side
from hfkit.engine.cpu.masks import keep_mask
from hfkit.engine.cpu.projection import Projection, fuse
from hfkit.engine.forward import forward
from hfkit.engine.packing import Packed, packed, plain
from hfkit.engine.plan import packed_batches
from hfkit.engine.processes.place import take_place
from hfkit.models import VERIFIED, find, load_model, save_model
from hfkit.models.families import PACKED
from hfkit.tasks import task_class

HEADS = {
    "question-answering": "AutoModelForQuestionAnswering",
    "sequence-classification": "AutoModelForSequenceClassification",
    "causal-lm": "AutoModelForCausalLM",
    "masked-lm": "AutoModelForMaskedLM",
}
CASES = [
    (family, head)
    for family in PACKED
    for head in HEADS
    if head == ("causal-lm" if family == "gpt2" else "masked-lm") or not head.endswith("-lm")
]
LENGTHS = (5, 17, 60, 33)
LOGITS = ("start_logits", "end_logits", "logits")


def load(folder: Path, head: Any) -> Any:
    model, _ = load_model(find(str(folder)), head, model_config={}, fresh_head="refuse")
    return model


def batch(pad_id: int = 0, seed: int = 0) -> dict[str, torch.Tensor]:
    draw = torch.Generator().manual_seed(seed)
    features = [
        {
            "row": i,
            "input_ids": torch.randint(7, 40, (n,), generator=draw).tolist(),
            "token_type_ids": [0] * (n // 2) + [1] * (n - n // 2),
        }
        for i, n in enumerate(LENGTHS)
    ]
    return collate(features, pad_id)


def real(outputs: Any, mask: torch.Tensor) -> list[torch.Tensor]:
    """Logits of real tokens, or of rows."""
    found = [outputs[name] for name in LOGITS if name in outputs]
    return [x[mask] if x.shape[:2] == mask.shape else x for x in found]


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory: pytest.TempPathFactory) -> Any:
    root, made = tmp_path_factory.mktemp("packed"), {}

    def get(family: str, head: str) -> Path:
        if (family, head) not in made:
            folder = root / f"{family}-{head}"
            changes = {"num_labels": 3} if head == "sequence-classification" else {}
            made[family, head] = tiny.save(family, folder, HEADS[head], **changes)
        return made[family, head]

    return get


@pytest.fixture(scope="module")
def place() -> Any:
    return take_place(cpu=True, precision="float32")


@pytest.mark.parametrize(("family", "head"), CASES)
def test_packed_logits_and_gradients_equal_padded_ones(family: str, head: str, checkpoints: Any, place: Any) -> None:
    padded_model, other = load(checkpoints(family, head), head), load(checkpoints(family, head), head)
    packed_model = packed(other, place)
    assert isinstance(packed_model, Packed) and plain(packed_model) is other
    made = batch(int(padded_model.config.pad_token_id or 0))
    mask = made["attention_mask"].bool()
    pairs = list(
        zip(real(forward(padded_model, made), mask), real(forward(packed_model, made), mask), strict=True)
    )  # fmt: skip
    weights = [torch.randn(x.shape, generator=torch.Generator().manual_seed(3)) / 100 for x, _ in pairs]
    for ours, theirs in pairs:  # rounding goes with the largest: logits of a vocabulary reach 8 here
        least = 1e-5 * max(1.0, float(ours.detach().abs().max()))
        assert torch.allclose(theirs, ours, rtol=1e-5, atol=least), (theirs - ours).abs().max()
    for which in (0, 1):
        sum((pair[which] * w).sum() for pair, w in zip(pairs, weights, strict=True)).backward()  # type: ignore[union-attr]
    largest = max(float(p.grad.abs().max()) for p in padded_model.parameters() if p.grad is not None)
    least = 1e-5 * (max(1.0, largest) if head.endswith("-lm") else 1.0)  # gradients through a vocabulary are large
    for (name, ours), theirs in zip(padded_model.named_parameters(), other.parameters(), strict=True):
        assert (ours.grad is None or not ours.grad.any()) == (theirs.grad is None or not theirs.grad.any()), name
        if ours.grad is not None and theirs.grad is not None:
            assert torch.allclose(theirs.grad, ours.grad, rtol=1e-4, atol=least), name


def test_variable_length_attention_is_taken_where_it_gives_what_padded_attention_gives(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    right, cpu = attention._padded, torch.device("cpu")
    monkeypatch.setattr(attention, "_varlen", right)
    assert attention._varlen_agrees(cpu)

    def without_window(*given: Any) -> torch.Tensor:
        *rest, pattern = given
        return right(*rest, replace(pattern, window=None))

    def without_gradient(*given: Any) -> torch.Tensor:
        return right(*(x.detach() for x in given[:3]), *given[3:]) + 0 * sum(x.sum() for x in given[:3])

    def missing(*_: Any) -> torch.Tensor:
        raise RuntimeError("no kernel image")

    class Saving(torch.autograd.Function):
        """As torch's own keeps the boundaries for its backward pass."""

        @staticmethod
        def forward(ctx: Any, values: torch.Tensor, boundaries: torch.Tensor) -> torch.Tensor:
            ctx.save_for_backward(boundaries)
            return values.clone()

        @staticmethod
        def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor, None]:
            return gradient, None

    monkeypatch.setattr(attention, "_varlen", lambda q, *rest: right(Saving.apply(q, rest[2]), *rest))
    with torch.inference_mode():
        assert attention._varlen_agrees(cpu)

    for wrong in (without_window, without_gradient, missing):
        monkeypatch.setattr(attention, "_varlen", wrong)
        with pytest.warns(RuntimeWarning, match="is not taken: (its results differ|no kernel image)"):
            assert not attention._varlen_agrees(cpu)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_variable_length_attention_on_a_gpu_is_that_of_padded_rows() -> None:
    device = torch.device("cuda")
    assert attention._has_varlen(device) is attention._varlen_agrees(device)


def test_on_a_cpu_freed_memory_is_kept(checkpoints: Any, place: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[bool] = []
    monkeypatch.setattr("hfkit.engine.packing.keep_freed_memory", lambda: asked.append(True))
    packed(load(checkpoints("bert", "question-answering"), "question-answering"), place)
    assert asked == [True]


@pytest.mark.parametrize("drop", [0.0, 0.5])
def test_dropout_falls_on_the_weights_of_packed_attention(drop: float) -> None:
    tokens = 40
    draw = torch.Generator().manual_seed(0)
    query, key = (torch.randn(1, 2, tokens, tokens, generator=draw) for _ in range(2))
    value = torch.eye(tokens).expand(1, 2, tokens, tokens)  # so that what comes out are the weights
    boundaries = torch.tensor([0, tokens], dtype=torch.int32)
    whole, dropped = (
        attention.packed_attention(
            torch.nn.Module(), query, key, value, None, dropout=share, cu_seq_lens_q=boundaries, max_length_q=tokens
        )[0]
        for share in (0.0, drop)
    )
    kept = dropped != 0
    assert abs(float(kept.float().mean()) - (1 - drop)) < 0.05
    assert torch.allclose(dropped[kept], whole[kept] / (1 - drop), rtol=1e-4)


@pytest.mark.parametrize(("family", "head"), CASES)
def test_each_sequence_and_its_gradients_are_as_if_alone(family: str, head: str, checkpoints: Any, place: Any) -> None:
    one, other = load(checkpoints(family, head), head), load(checkpoints(family, head), head)
    model, singly = packed(one, place), packed(other, place)
    draw = torch.Generator().manual_seed(1)
    features = [
        {"row": i, "input_ids": torch.randint(7, 40, (n,), generator=draw).tolist()} for i, n in enumerate(LENGTHS)
    ]
    together = collate(features, 0)
    all_of_them = real(forward(model, together), together["attention_mask"].bool())
    each = [collate([feature], 0) for feature in features]
    alone = [real(forward(singly, row), row["attention_mask"].bool()) for row in each]
    losses = []
    for number, values in enumerate(all_of_them):
        apart = torch.cat([row[number] for row in alone])
        assert torch.allclose(values, apart, atol=1e-5)
        weights = torch.randn(values.shape, generator=draw) / 100
        losses.append([(values * weights).sum(), (apart * weights).sum()])
    for loss in map(sum, zip(*losses, strict=True)):
        loss.backward()  # type: ignore[union-attr]
    largest = max(float(p.grad.abs().max()) for p in one.parameters() if p.grad is not None)
    least = 1e-5 * (max(1.0, largest) if head.endswith("-lm") else 1.0)
    for (name, ours), theirs in zip(one.named_parameters(), other.parameters(), strict=True):
        assert (ours.grad is None) == (theirs.grad is None), name
        if ours.grad is not None and theirs.grad is not None:
            assert torch.allclose(theirs.grad, ours.grad, rtol=1e-4, atol=least), name


def test_only_deberta_is_verified_and_padded() -> None:
    assert set(VERIFIED) - set(PACKED) == {"deberta-v2"}


def test_pooling_by_mean_takes_the_padded_path(checkpoints: Any, place: Any) -> None:
    model = load(checkpoints("modernbert", "sequence-classification"), "sequence-classification")
    model.config.classifier_pooling = "mean"
    assert packed(model, place) is model


def test_position_ids_alone_are_silently_wrong_under_sdpa(checkpoints: Any) -> None:
    """Why packing is done by an attention function of our own, see transformers' create_bidirectional_mask."""
    model = load(checkpoints("bert", "question-answering"), "question-answering")
    assert model.config._attn_implementation == "sdpa"
    ids = torch.randint(7, 40, (1, 24), generator=torch.Generator().manual_seed(2))
    positions = torch.cat([torch.arange(12), torch.arange(12)])[None]
    with torch.no_grad():
        row = model(input_ids=ids, position_ids=positions).start_logits[0, :12]
        alone = model(input_ids=ids[:, :12]).start_logits[0]
    assert (row - alone).abs().max() > 1e-2


def test_a_padded_batch_into_packed_attention_raises(checkpoints: Any, place: Any) -> None:
    model = plain(packed(load(checkpoints("bert", "question-answering"), "question-answering"), place))
    ids = torch.randint(7, 40, (2, 8))
    mask = torch.ones_like(ids)
    mask[1, 5:] = 0
    with pytest.raises(ValueError, match="padded"):
        model(input_ids=ids, attention_mask=mask)
    with pytest.raises(ValueError, match="cu_seq_lens_q"):
        model(input_ids=ids[:1], attention_mask=torch.ones_like(ids[:1]))


def test_the_saved_model_says_nothing_of_packing(checkpoints: Any, place: Any, tmp_path: Path) -> None:
    folder = checkpoints("gpt2", "causal-lm")
    model = plain(packed(load(folder, "causal-lm"), place))
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    save_model(model, tokenizer, tmp_path / "out", {})
    again = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "out")
    assert attention.NAME not in (tmp_path / "out" / "config.json").read_text(encoding="utf-8")
    before = transformers.AutoModelForCausalLM.from_pretrained(folder)
    for (name, ours), theirs in zip(before.named_parameters(), again.parameters(), strict=True):
        assert torch.equal(ours, theirs), name
    assert again.lm_head.weight is again.transformer.wte.weight


@pytest.mark.parametrize("dropout", [0.0, 0.25])
@pytest.mark.parametrize(("causal", "window"), [(False, None), (True, None), (False, 3), (True, 3)])
def test_matmul_attention_is_padded_attention(causal: bool, window: int | None, dropout: float) -> None:
    """The CPU's products against torch's own kernel on the same rows, gradients too."""
    torch.manual_seed(0)
    lengths, boundaries = [4, 1, 9], torch.tensor([0, 4, 5, 14], dtype=torch.int32)
    pattern = attention.Pattern(0.3, causal, window, dropout)
    inputs = [torch.randn(14, 2, 5, dtype=torch.float64, requires_grad=True) for _ in range(3)]
    ours = attention.cpu.attention(*inputs, lengths, pattern)
    if dropout:  # the gradient of what was drawn, by finite differences

        def again(*values: torch.Tensor) -> torch.Tensor:
            torch.manual_seed(5)
            return attention.cpu.attention(*values, lengths, pattern)

        assert torch.autograd.gradcheck(again, inputs)
        return
    theirs = attention._padded(*inputs, boundaries, 9, pattern)
    assert torch.allclose(ours, theirs, atol=1e-12)
    weights = torch.randn_like(ours)
    first = torch.autograd.grad((ours * weights).sum(), inputs)
    second = torch.autograd.grad((theirs * weights).sum(), inputs)
    for a, b in zip(first, second, strict=True):
        assert torch.allclose(a, b, atol=1e-12)


def test_masks_drop_what_they_say_and_keep_the_mean() -> None:
    torch.manual_seed(0)
    drawn = keep_mask(torch.empty(1000, 1001), 0.1)
    assert drawn.unique().tolist() == [0.0, pytest.approx(1 / 0.9, rel=1e-5)]
    assert float((drawn == 0).float().mean()) == pytest.approx(0.1, abs=2e-3)
    torch.manual_seed(0)
    assert torch.equal(keep_mask(torch.empty(1000, 1001), 0.1), drawn)
    assert not keep_mask(torch.empty(3, 3), 1.0).any() and keep_mask(torch.empty(3, 3), 0.0).all()
    torch.manual_seed(0)
    assert torch.equal(keep_mask(torch.empty(1000, 1001).bfloat16(), 0.1), drawn.bfloat16())


@pytest.mark.parametrize("kind", ["linear", "conv1d"])
def test_a_projection_is_its_layer_in_bfloat16(kind: str) -> None:
    torch.manual_seed(0)
    layer: Any = torch.nn.Linear(24, 16) if kind == "linear" else transformers.pytorch_utils.Conv1D(16, 24)
    with torch.no_grad():
        layer.bias.normal_()
    lean = Projection(layer, torch.bfloat16)
    x = torch.randn(3, 5, 24, requires_grad=True)
    out = lean(x)
    assert out.dtype == torch.bfloat16 and torch.allclose(out.float(), layer(x), atol=0.05, rtol=0.05)
    weights = torch.randn(3, 5, 16)
    expected = torch.autograd.grad((layer(x) * weights).sum(), [x, layer.weight, layer.bias])
    found = torch.autograd.grad((out * weights).sum(), [x, lean.weight, lean.bias])
    for ours, theirs in zip(found, expected, strict=True):
        assert ours.dtype == torch.float32
        assert (ours - theirs).norm() < 0.02 * theirs.norm()
    with torch.no_grad():
        layer.weight.mul_(2)  # the 16-bit copy follows
        assert torch.allclose(lean(x).float(), layer(x), atol=0.1, rtol=0.05)
        with torch.inference_mode():
            lean(x)
        layer.weight.data = layer.weight * 2
        assert torch.allclose(lean(x).float(), layer(x), atol=0.2, rtol=0.05)


@pytest.mark.parametrize("packs", [True, False])
@pytest.mark.parametrize("activation", ["gelu", "gelu_new"])
@pytest.mark.parametrize("kind", ["linear", "conv1d"])
def test_a_layer_and_the_gelu_behind_it_are_one(
    kind: str, activation: str, packs: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not packs:  # as where oneDNN has no kernel for it
        monkeypatch.setattr(products, "packs", tuple)
    torch.manual_seed(0)
    layer: Any = torch.nn.Linear(24, 16) if kind == "linear" else transformers.pytorch_utils.Conv1D(16, 24)
    names = ("dense", "intermediate_act_fn") if kind == "linear" else ("c_fc", "act")
    curve = transformers.activations.get_activation(activation)
    parts = torch.nn.ModuleDict(dict(zip(names, (layer, curve), strict=True)))
    fuse(parts, torch.bfloat16)
    assert type(parts[names[1]]) is torch.nn.Identity and list(parts.state_dict()) == [
        f"{names[0]}.weight", f"{names[0]}.bias"
    ]  # fmt: skip
    x = torch.randn(3, 5, 24, requires_grad=True)
    weights = torch.randn(3, 5, 16)
    found, expected = parts[names[0]](x), curve(layer(x))
    assert torch.allclose(found.float(), expected, atol=0.05, rtol=0.05)
    gradients = [torch.autograd.grad((out * weights).sum(), [x, layer.weight, layer.bias]) for out in (found, expected)]
    for ours, theirs in zip(*gradients, strict=True):
        assert (ours - theirs).norm() < 0.03 * theirs.norm()
    for factor in (1, 2):  # what is laid out without gradients follows the weight
        with torch.inference_mode():
            layer.weight.mul_(factor)
            assert torch.allclose(parts[names[0]](x).float(), curve(layer(x)), atol=0.1, rtol=0.05)


@pytest.mark.parametrize("activation", ["relu", "gelu_10", "gelu_fast", "gelu_python"])
def test_other_curves_stay_behind_their_layer(activation: str) -> None:
    curve = transformers.activations.get_activation(activation)
    parts = torch.nn.ModuleDict({"lin1": torch.nn.Linear(4, 4), "activation": curve})
    fuse(parts, torch.bfloat16)
    assert type(parts["lin1"]) is torch.nn.Linear and parts["activation"] is curve


@pytest.mark.parametrize("head", HEADS)
def test_layers_of_bert_distilbert_and_gpt2_hold_their_gelu(head: str, checkpoints: Any) -> None:
    place = take_place(cpu=True, precision="bfloat16")
    for family in ("bert", "distilbert", "gpt2"):
        if (family, head) in CASES:
            model = plain(packed(load(checkpoints(family, head), head), place))
            fused = [layer for layer in model.modules() if isinstance(layer, Projection) and layer.gelu]
            assert len(fused) >= model.config.num_hidden_layers


def test_of_a_weight_one_copy_is_held() -> None:
    """Plain for training, laid out for scoring: where the weight stays as it is, each makes the other go."""
    copies = Projection(torch.nn.Linear(8, 8), torch.bfloat16).copies
    first = copies.get()
    assert copies.get() is first
    made = copies.product()
    assert copies.product() is made and copies.get() is not first
    assert copies.product() is not made


def test_threads_share_what_is_laid_out(checkpoints: Any) -> None:
    model = packed(
        load(checkpoints("bert", "question-answering"), "question-answering"),
        take_place(cpu=True, precision="bfloat16"),
    ).eval()
    batches = [batch(seed=seed) for seed in range(16)]

    def start(made: dict[str, torch.Tensor]) -> torch.Tensor:
        with torch.inference_mode():
            found: torch.Tensor = forward(model, made)["start_logits"]
            return found

    together = list(on_threads(start, batches, 4))
    for made, found in zip(batches, together, strict=True):
        assert torch.allclose(found, start(made), atol=1e-2)


@pytest.mark.parametrize(("family", "head"), CASES)
def test_bfloat16_without_gradients_is_as_near_to_float32_as_with_them(
    family: str, head: str, checkpoints: Any, place: Any
) -> None:
    """Weights laid out, GELU in the product, powers in place of softmax: other kernels than a training step's."""
    exact = packed(load(checkpoints(family, head), head), place)
    model = packed(load(checkpoints(family, head), head), take_place(cpu=True, precision="bfloat16"))
    exact.eval()
    model.eval()
    errors = torch.zeros(2)  # without gradients, with them; of many batches, since models of tests amplify rounding
    for seed in range(12):
        made = batch(int(plain(exact).config.pad_token_id or 0), seed)
        mask = made["attention_mask"].bool()
        with torch.inference_mode():
            right = torch.cat([x.flatten() for x in real(forward(exact, made), mask)])
            found = torch.cat([x.flatten() for x in real(forward(model, made), mask)])
        trained = torch.cat([x.detach().flatten() for x in real(forward(model, made), mask)])
        errors += torch.stack([(x.float() - right).norm() / right.norm() for x in (found, trained)])
    assert 0 < errors[0] < 1.5 * errors[1]


@pytest.mark.parametrize("biased", [True, False])
def test_three_projections_are_one_product(biased: bool) -> None:
    torch.manual_seed(0)
    layers = torch.nn.ModuleDict({name: torch.nn.Linear(24, 16, bias=biased) for name in ("query", "key", "value")})
    joined = torch.nn.ModuleDict(dict(layers.items()))
    join(joined, torch.bfloat16)
    assert joined.state_dict().keys() == layers.state_dict().keys()
    layers["key"].weight.requires_grad_(False)
    x = torch.randn(1, 5, 24, requires_grad=True)
    scale = torch.randn(5, 48)
    results = []
    for made in (layers, joined):
        out = torch.cat([made[name](x).flatten(0, 1).float() for name in layers], 1)
        (out * scale).sum().backward()
        results.append([out, x.grad, *(p.grad for p in layers.parameters() if p.requires_grad)])
        x.grad = None
        layers.zero_grad()
    for theirs, ours in zip(*results, strict=True):
        assert ours.dtype == torch.float32 and (ours - theirs).norm() < 0.02 * theirs.norm()
    with torch.no_grad():
        layers["query"].weight.mul_(2)  # the copy follows
        assert torch.allclose(joined["query"](x).float(), layers["query"](x), atol=0.1, rtol=0.05)
        assert torch.allclose(joined["value"](x * 2).float(), layers["value"](x * 2), atol=0.1, rtol=0.05)


def test_a_call_that_failed_between_the_projections_leaves_nothing_behind(checkpoints: Any) -> None:
    """Neither an old product for the same input, nor the activations that it was made of."""
    layers = torch.nn.ModuleDict({name: torch.nn.Linear(24, 16) for name in ("query", "key", "value")})
    join(layers, torch.bfloat16)
    x = torch.randn(1, 5, 24)
    with torch.no_grad():
        before = layers["query"](x)
        layers["query"].weight.mul_(2)
        assert not torch.equal(layers["query"](x), before)
    model = packed(
        load(checkpoints("bert", "question-answering"), "question-answering"),
        take_place(cpu=True, precision="bfloat16"),
    )
    seen: list[weakref.ref[torch.Tensor]] = []

    def fails(part: torch.nn.Module, inputs: tuple[torch.Tensor]) -> None:
        seen.append(weakref.ref(inputs[0]))
        raise MemoryError

    model.model.bert.encoder.layer[-1].attention.self.value.register_forward_pre_hook(fails)
    with contextlib.suppress(MemoryError):
        model(batch())
    gc.collect()
    assert [one() for one in seen] == [None]


def test_gradients_that_lie_side_by_side_are_not_copied() -> None:
    memory = torch.arange(30.0).view(5, 6)
    parts = memory.split(2, 1)
    assert side_by_side(parts).data_ptr() == memory.data_ptr() and torch.equal(side_by_side(parts), memory)
    for others in ((parts[1], parts[0], parts[2]), [part.clone() for part in parts], parts[:2]):
        assert torch.equal(side_by_side(others), torch.cat(list(others), 1))


def test_loss_of_qa_is_the_same_packed_and_padded(checkpoints: Any, place: Any) -> None:
    kind = task_class("qa")
    task = kind(kind.Settings())
    padded_model = load(checkpoints("roberta", "question-answering"), "question-answering")
    packed_model = packed(load(checkpoints("roberta", "question-answering"), "question-answering"), place)
    made = batch(1)
    made["start_position"] = torch.tensor([1, 4, -100, 30])
    made["end_position"] = torch.tensor([2, 4, -100, 32])
    losses = [task.loss(forward(model, made), made) for model in (padded_model, packed_model)]
    assert torch.allclose(losses[0][0], losses[1][0], rtol=1e-5) and losses[0][1] == losses[1][1] == 3


def test_packed_rows_hold_real_tokens_only(checkpoints: Any, place: Any) -> None:
    """What reaches the encoder, counted at its first layer: the tokens of the features and no more."""
    model = packed(load(checkpoints("bert", "question-answering"), "question-answering"), place)
    rng = np.random.default_rng(0)
    lengths = rng.integers(3, 100, 64)
    features = [{"row": i, "input_ids": rng.integers(7, 40, n).tolist()} for i, n in enumerate(lengths)]
    seen: list[int] = []
    hook = plain(model).bert.encoder.layer[0].register_forward_pre_hook(
        lambda _, inputs: seen.append(inputs[0].shape[0] * inputs[0].shape[1])
    )  # fmt: skip
    parts = packed_batches(rng.permutation(64), lengths, 9)
    with torch.no_grad():
        for part in parts:
            forward(model, collate([features[i] for i in part], 0))
    hook.remove()
    assert seen == [int(lengths[part].sum()) for part in parts] and sum(seen) == lengths.sum()
    assert max(len(part) for part in parts) <= 9


def test_gpt2_does_not_warn_of_padding(checkpoints: Any, place: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    model = packed(load(checkpoints("gpt2", "causal-lm"), "causal-lm"), place)
    said: list[str] = []
    monkeypatch.setattr(transformers.modeling_utils.logger, "warning_once", said.append)
    made = batch()
    made["input_ids"][0, 0] = plain(model).config.pad_token_id
    with torch.no_grad():
        forward(model, made)
    assert not said


def test_a_language_model_scores_fewer_tokens_at_once(checkpoints: Any) -> None:
    qa, lm = task_class("qa"), task_class("lm")
    model = load(checkpoints("gpt2", "causal-lm"), "causal-lm")
    model.config.vocab_size = 50_257
    assert batch_tokens(model, qa(qa.Settings()), "cpu") == BATCH_TOKENS["cpu"]
    assert batch_tokens(model, lm(lm.Settings()), "cpu") == 2**26 // 50_257
    assert batch_tokens(model, lm(lm.Settings()), "cuda") == 2**30 // 50_257
