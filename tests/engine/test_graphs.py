"""Recorded decoding steps: replays give the tokens of the step itself, whatever its shape; wrong ones are refused.

CUDA graphs need a GPU. Elsewhere torch's tracer records: as a graph does, it keeps the operations and the memory that
they used, and every number that Python knew then stays as it was.
"""

import random
import warnings

import pytest
import torch
from torch.fx.experimental.proxy_tensor import make_fx
from transformers import GPT2Config, GPT2LMHeadModel

from hfkit.engine import graphs, slots, state
from hfkit.engine.decode import decode
from hfkit.engine.gpt2 import weights_of
from hfkit.engine.graphs import Graphs, recorder
from hfkit.engine.slots import Slots
from hfkit.models import build_scratch, load_tokenizer
from hfkit.recipe.keys import Generate, Scratch

GREEDY = Generate(temperature=0, top_k=0, top_p=1, batch_size=8, max_new_tokens=24)
DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory):
    folder = tmp_path_factory.mktemp("nano")
    text = ["some words, " * 30]
    return load_tokenizer(build_scratch("gpt2-nano", text, Scratch(vocab_size=300), "causal-lm", folder))


@pytest.fixture(scope="module")
def model(tokenizer):
    torch.manual_seed(2)
    ends = {"bos_token_id": 0, "eos_token_id": [0, *range(100, 120)], "pad_token_id": 0}
    shape = {"n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 64, "initializer_range": 0.3}
    return GPT2LMHeadModel(GPT2Config(vocab_size=len(tokenizer), **ends, **shape)).eval().to(DEVICE)


class Traced:
    """Records by torch's tracer; `made` counts recordings, `replayed` what they are used for."""

    def __init__(self) -> None:
        self.made = self.replayed = 0

    def __call__(self, run):
        self.made += 1
        traced = make_fx(lambda: run())()  # noqa: PLW0108 - of a method it would count self as an input

        def replay():
            self.replayed += 1
            return traced()

        return replay


def draw_prompts(count: int, vocabulary: int, longest: int = 40) -> list[list[int]]:
    draw = random.Random(5)
    return [[draw.randrange(14, vocabulary) for _ in range(draw.randint(1, longest))] for _ in range(count)]


@pytest.fixture
def traced(monkeypatch):
    record = Traced()
    monkeypatch.setattr(state, "recorder", lambda device: record)
    monkeypatch.setattr(graphs, "KEYS", 16)
    return record


def test_nothing_records_on_cpus():
    assert recorder(torch.device("cpu")) is None


@pytest.mark.parametrize("size", [1, 7, 32])
def test_replays_give_the_tokens_of_the_step_itself(model, tokenizer, traced, size, monkeypatch):
    prompts = draw_prompts(60, len(tokenizer))
    settings = GREEDY.model_copy(update={"batch_size": size})
    found = decode(model, tokenizer, prompts, settings)
    assert traced.made > 1
    assert traced.replayed > 2 * traced.made  # once to compare, then in place of the step
    monkeypatch.setattr(state, "recorder", lambda device: None)
    assert found == decode(model, tokenizer, prompts, settings)


def test_prompts_that_are_shared_or_slide_are_not_written_over(model, tokenizer, traced, monkeypatch):
    """Rows that fill a shape up write into free slots, whose prompts others may still begin with."""
    beginning = draw_prompts(1, len(tokenizer), 30)[0] + list(range(20, 40))
    prompts = [beginning + prompt for prompt in draw_prompts(24, len(tokenizer), 5)]
    settings = Generate(**{**GREEDY.model_dump(), "batch_size": 6, "overflow": "slide", "max_new_tokens": 40})
    found = decode(model, tokenizer, prompts, settings)
    assert traced.replayed > traced.made
    monkeypatch.setattr(state, "recorder", lambda device: None)
    assert found == decode(model, tokenizer, prompts, settings)


def test_a_recording_with_other_numbers_is_refused(model, tokenizer, monkeypatch):
    """One that keeps the inputs it was recorded with fails on those that come next; the step itself goes on."""
    prompts = draw_prompts(30, len(tokenizer))
    expected = decode(model, tokenizer, prompts, GREEDY)

    def frozen(run):
        kept = run().clone()
        return lambda: kept

    monkeypatch.setattr(state, "recorder", lambda device: frozen)
    with pytest.warns(RuntimeWarning, match="without CUDA graphs, which is slower: its result differs"):
        found = decode(model, tokenizer, prompts, GREEDY)
    assert found == expected


def test_where_nothing_can_be_recorded_the_step_goes_on(model, tokenizer, monkeypatch):
    prompts = draw_prompts(30, len(tokenizer))
    expected = decode(model, tokenizer, prompts, GREEDY)
    asked = []

    def failing(run):
        asked.append(run)
        raise RuntimeError("CUDA error: operation not permitted when stream is capturing\nmore lines")

    monkeypatch.setattr(state, "recorder", lambda device: failing)
    with pytest.warns(RuntimeWarning, match="slower: CUDA error: operation not permitted when stream is capturing$"):
        assert decode(model, tokenizer, prompts, GREEDY) == expected
    assert len(asked) == 1


def test_a_shape_is_recorded_when_it_was_used_often_enough():
    """Rows go to the next power of 2, keys to the next multiple, both to what there is at most."""
    shapes: list[tuple[int, int]] = []

    def step(ids, at, keys):
        shapes.append((len(ids), keys))
        return (ids + 2 * at)[:, None].float()

    record = Traced()
    run = Graphs(step, 12, 300, torch.device("cpu"), record)
    for ids, at, shape in [([5], [3], (1, 128)), ([5] * 9, [200] * 9, (12, 256)), ([5] * 3, [256] * 3, (4, 300))]:
        for use in range(1, graphs.USES + 3):
            before = len(shapes)
            found = run([use, *ids[1:]], at)
            assert found[:, 0].tolist() == [use + 2 * at[0], *(5 + 2 * at[0] for _ in ids[1:])]
            assert set(shapes[before:]) <= {shape}
            assert bool(shapes[before:]) == (use <= graphs.USES)  # a replay needs no step
    assert record.made == 3


@pytest.mark.parametrize("limit", [1, 1 << 25])
def test_prompts_read_side_by_side_are_as_one_by_one(model, tokenizer, limit, monkeypatch):
    monkeypatch.setattr(slots, "GRID", limit)
    beginning = list(range(20, 40))
    prompts = draw_prompts(9, len(tokenizer))
    prompts[3:6] = [beginning + prompt[:9] for prompt in prompts[3:6]]  # the later ones begin as the first of them
    apart, beside = (Slots(weights_of(model), 9, 64) for _ in range(2))
    apart.together, beside.together = False, True
    for part in (slice(0, 7), slice(7, 9)):
        for one in (apart, beside):
            one.add(prompts[part])
    for found, expected in zip(beside.read, apart.read, strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)
    for slot, prompt in enumerate(prompts):
        pair = (one.cache[:, :, slot, :, : len(prompt)] for one in (beside, apart))
        torch.testing.assert_close(*pair, rtol=1e-4, atol=1e-5)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_cuda_graphs_are_taken_and_equal_the_step(model, tokenizer, dtype, monkeypatch):
    prompts = draw_prompts(60, len(tokenizer))
    cast = model.to(dtype)
    made = []
    original = state.recorder

    def counting(device):
        record = original(device)
        assert record is not None
        return lambda run: made.append(run) or record(run)

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        monkeypatch.setattr(state, "recorder", counting)
        found = decode(cast, tokenizer, prompts, GREEDY)
    assert made
    monkeypatch.setattr(state, "recorder", lambda device: None)
    expected = decode(cast, tokenizer, prompts, GREEDY)
    model.to(torch.float32)
    if dtype == torch.float32:
        assert found == expected
