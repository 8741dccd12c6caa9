"""Recorded decoding steps: replays give the tokens of the step itself, whatever its shape; wrong ones are refused.

CUDA graphs need a GPU. Elsewhere torch's tracer records: as a graph does, it keeps the operations and the memory that
they used, and every number that Python knew then stays as it was.
"""

import copy
import gc
import math
import random
import warnings
import weakref

import pytest
import torch
from torch.fx.experimental.proxy_tensor import make_fx
from transformers import GPT2Config, GPT2LMHeadModel

from hfkit.engine.decode import decode
from hfkit.engine.decoding import graphs, prefill, state
from hfkit.engine.decoding.gpt2 import weights_of
from hfkit.engine.decoding.graphs import Graphs, recorder
from hfkit.engine.decoding.slots import Slots
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
    """Records by torch's tracer; `made` counts recordings, `replayed` what they are used for.

    As with a graph, each replay leaves its result in the same memory.
    """

    def __init__(self) -> None:
        self.made = self.replayed = 0

    def __call__(self, run):
        self.made += 1
        traced = make_fx(lambda: run())()  # noqa: PLW0108 - of a method it would count self as an input

        out = traced().clone()

        def replay():
            self.replayed += 1
            return out.copy_(traced())

        return replay


def draw_prompts(count: int, vocabulary: int, longest: int = 40) -> list[list[int]]:
    draw = random.Random(5)
    return [[draw.randrange(14, vocabulary) for _ in range(draw.randint(1, longest))] for _ in range(count)]


@pytest.fixture(autouse=True)
def devices(monkeypatch):
    """What one test finds out about a device is no matter of another's."""
    monkeypatch.setattr(graphs, "_unfit", set())
    monkeypatch.setattr(graphs, "KEYS", 16)


@pytest.fixture
def traced(monkeypatch):
    record = Traced()
    monkeypatch.setattr(state, "recorder", lambda device: record)
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
    assert graphs._unfit == {DEVICE if DEVICE.index is not None else model.device}


def test_memory_is_given_back_when_decoding_ends(model):
    """Not when Python happens to look for cycles: the cache of the next call would be allocated beside this one's."""

    def record(run):  # which, as a graph, does not hold what ran
        step, inputs, keys = run.__self__._step, run.__self__._inputs, run.__self__._keys
        return lambda: step(inputs[0], inputs[1], keys)

    gc.disable()
    try:
        one = Slots(weights_of(model), 2, 64, record)
        one.add([[20, 21], [22]])
        for _ in range(graphs.USES + 2):
            one.next(GREEDY, None)
            one.feed([23, 24], [0, 1])
        assert not one.graphs.refused
        cache, known = weakref.ref(one.cache), weakref.ref(one.graphs)
        del one
        assert (cache(), known()) == (None, None)
    finally:
        gc.enable()


@pytest.mark.parametrize(
    ("found", "expected", "differ"),
    [
        ([1.0, 2.0, 3.0], [1.0, 2.0, 3.001], False),
        ([math.nan, 2.0], [math.nan, 2.0], False),  # decoding says what is wrong
        ([math.nan, 2.0], [1.0, 2.0], True),
        ([math.inf, 2.0], [1.0, 2.0], True),
        ([3000.0, *[1.0] * 999], [3000.0, 9.0, *[1.0] * 998], True),  # one large number is no excuse
    ],
)
def test_what_makes_a_recording_differ(found, expected, differ):
    assert graphs._differ(torch.tensor([found]), torch.tensor([expected])) is differ


def test_a_shape_is_recorded_when_it_was_used_often_enough():
    """Rows go to the next power of 2, keys to the next multiple, both to what there is at most."""
    shapes: list[tuple[int, int]] = []

    def step(ids, at, keys):
        shapes.append((len(ids), keys))
        return (ids + 2 * at)[:, None].float()

    record = Traced()
    run = Graphs(step, 12, 40, torch.device("cpu"), record)
    for ids, at, shape in [([5], [3], (1, 16)), ([5] * 9, [25] * 9, (12, 32)), ([5] * 3, [33] * 3, (4, 40))]:
        for use in range(1, graphs.USES + 3):
            before = len(shapes)
            found = run([use, *ids[1:]], at)
            assert found[:, 0].tolist() == [use + 2 * at[0], *(5 + 2 * at[0] for _ in ids[1:])]
            assert set(shapes[before:]) <= {shape}
            assert bool(shapes[before:]) == (use <= graphs.USES)  # a replay needs no step
    assert record.made == 3


@pytest.mark.parametrize(("limit", "beside"), [(1, 0), (1 << 27, 2)])
def test_prompts_read_side_by_side_are_as_one_by_one(model, tokenizer, limit, beside, monkeypatch):
    monkeypatch.setattr(prefill, "SCORES", limit)
    made: list[int] = []
    original = prefill.side_by_side
    monkeypatch.setattr(prefill, "side_by_side", lambda *given: made.append(1) or original(*given))
    beginning = list(range(20, 40))
    prompts = [prompt + beginning[:12] for prompt in draw_prompts(9, len(tokenizer), 20)]
    prompts[3:6] = [beginning + prompt[:9] for prompt in prompts[3:6]]  # the later ones begin as the first of them
    apart, other = (Slots(weights_of(model), 9, 64) for _ in range(2))
    apart.together, other.together = False, True
    for part in (slice(0, 7), slice(7, 9)):
        for one in (apart, other):
            one.add(prompts[part])
    assert len(made) == beside
    for found, expected in zip(other.read, apart.read, strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)
    for slot, prompt in enumerate(prompts):
        pair = (one.cache[:, :, slot, :, : len(prompt)] for one in (other, apart))
        torch.testing.assert_close(*pair, rtol=1e-4, atol=1e-5)


def test_one_long_prompt_is_not_what_short_ones_are_padded_to(model, tokenizer, monkeypatch):
    monkeypatch.setattr(prefill, "side_by_side", lambda *_: pytest.fail("most of it would be padding"))
    one = Slots(weights_of(model), 9, 64)
    one.together = True
    one.add([[20] * 40, *([30 + number] for number in range(8))])


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_cuda_graphs_are_taken_and_equal_the_step(model, tokenizer, dtype, monkeypatch):
    prompts = draw_prompts(60, len(tokenizer))
    cast = copy.deepcopy(model).to(dtype)
    made = []
    original = state.recorder

    def counting(device):
        record = original(device)
        assert record is not None
        return lambda run: made.append(run) or record(run)

    with warnings.catch_warnings():
        warnings.filterwarnings("error", "decoding steps run without")
        monkeypatch.setattr(state, "recorder", counting)
        found = decode(cast, tokenizer, prompts, GREEDY)
    assert made
    monkeypatch.setattr(state, "recorder", lambda device: None)
    expected = decode(cast, tokenizer, prompts, GREEDY)
    same = sum(one.ids == other.ids for one, other in zip(found, expected, strict=True))
    assert same == len(prompts) if dtype == torch.float32 else same > len(prompts) / 2
