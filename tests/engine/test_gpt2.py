"""GPT-2's own decoding: equal to transformers' generate in any batch and order of refill; shared prompts; int8."""

import random

import pytest
import torch
from transformers import GPT2Config, GPT2LMHeadModel

from hfkit.engine.decode import decode
from hfkit.engine.decoding import gpt2, slots
from hfkit.engine.decoding.cached import Cached
from hfkit.engine.decoding.state import state_of
from hfkit.engine.products import LEVELS, product, weight_levels
from hfkit.errors import UsageError
from hfkit.models import build_scratch, load_tokenizer
from hfkit.recipe.keys import Generate, Scratch

GREEDY = Generate(temperature=0, top_k=0, top_p=1, batch_size=8, max_new_tokens=16)
SHAPES = [
    {"n_embd": 32, "n_layer": 2, "n_head": 4},
    {"n_embd": 48, "n_layer": 3, "n_head": 2, "n_inner": 80, "tie_word_embeddings": False},
]


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory):
    folder = tmp_path_factory.mktemp("nano")
    text = ["some words, " * 30]
    return load_tokenizer(build_scratch("gpt2-nano", text, Scratch(vocab_size=300), "causal-lm", folder))


def build(vocabulary: int, **shape) -> GPT2LMHeadModel:
    torch.manual_seed(2)
    ends = {"bos_token_id": 0, "eos_token_id": [0, *range(100, 140)], "pad_token_id": 0}
    config = GPT2Config(vocab_size=vocabulary, n_positions=64, initializer_range=0.3, **ends, **shape)
    return GPT2LMHeadModel(config).eval()


@pytest.fixture(scope="module")
def model(tokenizer):
    return build(len(tokenizer), **SHAPES[0])


def draw_prompts(count: int, vocabulary: int, longest: int = 40) -> list[list[int]]:
    draw = random.Random(5)
    return [[draw.randrange(14, vocabulary) for _ in range(draw.randint(1, longest))] for _ in range(count)]


def changed(settings: Generate, **values) -> Generate:
    return Generate(**{**settings.model_dump(), **values})


def expected_ids(model, prompts: list[list[int]]) -> list[tuple[int, ...]]:
    """What transformers' generate gives, without its padding after an end token."""
    width = max(map(len, prompts))
    ids = torch.tensor([[0] * (width - len(prompt)) + prompt for prompt in prompts])
    mask = torch.tensor([[0] * (width - len(prompt)) + [1] * len(prompt) for prompt in prompts])
    with torch.inference_mode():
        rows = model.generate(ids, attention_mask=mask, do_sample=False, max_new_tokens=16)[:, width:].tolist()
    ends = model.generation_config.eos_token_id
    return [tuple(row[: next((at for at, token in enumerate(row, 1) if token in ends), 16)]) for row in rows]


@pytest.mark.parametrize("shape", SHAPES)
def test_greedy_equals_transformers_in_any_batch_and_order_of_refill(tokenizer, shape):
    model = build(len(tokenizer), **shape)
    assert gpt2.fits(model)
    prompts = draw_prompts(200, len(tokenizer))
    expected = expected_ids(model, prompts)
    assert len({len(ids) for ids in expected}) > 3  # rows end at different steps: others take their places
    for size in (1, 7, 64):
        found = decode(model, tokenizer, prompts, changed(GREEDY, batch_size=size))
        assert [completion.ids for completion in found] == expected


def test_a_shared_beginning_is_read_once_and_changes_nothing(model, tokenizer, monkeypatch):
    few = draw_prompts(12, len(tokenizer), 6)
    beginning = list(range(20, 50))
    prompts = [beginning + prompt for prompt in few]
    read: list[int] = []
    original = slots.Slots._read

    def counting(self, segments):
        read.extend(len(segment.ids) for segment in segments)
        return original(self, segments)

    monkeypatch.setattr(slots.Slots, "_read", counting)
    shared = decode(model, tokenizer, prompts, changed(GREEDY, batch_size=3))
    assert sum(read) == len(beginning) + sum(map(len, few))
    read.clear()
    sampled = changed(GREEDY, temperature=1, samples=5)
    samples = decode(model, tokenizer, prompts[:1], sampled)
    assert sum(read) == len(prompts[0]) + 4  # the last token of each further sample
    monkeypatch.setattr(slots, "SHARED_TOKENS", 1000)
    monkeypatch.setattr(slots, "PREFILL_TOKENS", 40)
    assert decode(model, tokenizer, prompts, changed(GREEDY, batch_size=3)) == shared
    assert decode(model, tokenizer, prompts[:1], sampled) == samples


def test_weights_are_laid_out_once_and_again_when_they_change(tokenizer):
    model = build(len(tokenizer), **SHAPES[0])
    first = gpt2.weights_of(model)
    assert gpt2.weights_of(model) is first
    before = decode(model, tokenizer, [[20, 21]], GREEDY)
    with torch.no_grad():
        model.transformer.h[0].mlp.c_fc.weight.mul_(-3)
    assert gpt2.weights_of(model) is not first
    assert decode(model, tokenizer, [[20, 21]], GREEDY) != before


@pytest.mark.parametrize("dtype", ["bfloat16", "int8"])
def test_logits_of_other_number_formats_are_close(model, dtype):
    prompts = draw_prompts(6, model.config.vocab_size)
    kind = torch.bfloat16 if dtype == "bfloat16" else torch.float32
    other = GPT2LMHeadModel(model.config).eval()
    other.load_state_dict(model.state_dict())
    state = slots.Slots(gpt2.weights_of(other.to(kind), int8=dtype == "int8"), 6, 64)
    state.add(prompts)
    found = state.weights.logits(state.read[0]).float()
    with torch.inference_mode():
        exact = torch.stack([model(torch.tensor([prompt])).logits[0, -1] for prompt in prompts])
    error = (found - exact).std() / exact.std()
    exact_sums = dtype == "bfloat16" or weight_levels() == LEVELS
    assert 0 < error < (0.05 if exact_sums else 0.07)


def test_no_sum_of_int8_products_is_cut():
    """Without VNNI instructions, pairs of the largest levels do not fit the 16 bits that they are added up in."""
    signs = torch.tensor([[1.0], [-1.0]])
    found = product(signs.expand(2, 96), int8=True)(torch.ones(3, 96))
    assert torch.allclose(found, (96 * signs.t()).expand(3, 2), rtol=0.01)


def test_other_models_take_the_padded_path(model):
    from transformers import LlamaConfig, LlamaForCausalLM

    shape = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    other = LlamaForCausalLM(LlamaConfig(vocab_size=32, **shape))
    assert isinstance(state_of(other, 0, GREEDY, rows=1, positions=8), Cached)
    assert isinstance(state_of(model, 0, GREEDY, rows=1, positions=8), slots.Slots)
    with pytest.raises(UsageError, match="models of type llama"):
        state_of(other, 0, changed(GREEDY, dtype="int8"), rows=1, positions=8)
    relu = build(30, **SHAPES[0], activation_function="relu")
    assert not gpt2.fits(relu)
