"""The padded path of causal models other than GPT-2: equal to transformers' generate; rows read once, and dropped."""

from __future__ import annotations

import random
from typing import Any

import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedModel, PreTrainedTokenizerBase

from hfkit.engine.decode import decode
from hfkit.engine.decoding.cached import Cached
from hfkit.engine.decoding.state import state_of
from hfkit.models import build_scratch, load_tokenizer
from hfkit.recipe.keys import Generate, Scratch

GREEDY = Generate(temperature=0, top_k=0, top_p=1, batch_size=8, max_new_tokens=12)
ENDS = [0, *range(60, 100)]
STANDARD = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "max_position_embeddings": 64}
SHAPES: dict[str, dict[str, Any]] = {
    "llama": {**STANDARD, "intermediate_size": 48, "num_key_value_heads": 2},
    "gpt_neo": {
        "hidden_size": 32, "num_layers": 2, "num_heads": 4, "max_position_embeddings": 64,
        "attention_types": [[["global", "local"], 1]], "window_size": 8,
    },
    "opt": {**STANDARD, "ffn_dim": 48, "word_embed_proj_dim": 32, "init_std": 0.3},
    "bloom": {"hidden_size": 32, "n_layer": 2, "n_head": 4},
    "gpt2": {"n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 64, "activation_function": "relu"},
}  # fmt: skip


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> PreTrainedTokenizerBase:
    """At least 257 entries: an end token and the bytes."""
    folder = tmp_path_factory.mktemp("nano")
    return load_tokenizer(build_scratch("gpt2-nano", ["some words"], Scratch(vocab_size=300), "causal-lm", folder))


def build(kind: str) -> PreTrainedModel:
    """A model whose weights are large enough that texts depend on positions and on every earlier token."""
    torch.manual_seed(3)
    ends = {"bos_token_id": 0, "eos_token_id": ENDS, "pad_token_id": 0}
    config = AutoConfig.for_model(kind, vocab_size=257, **{"initializer_range": 0.3, **ends, **SHAPES[kind]})
    model: PreTrainedModel = AutoModelForCausalLM.from_config(config).float().eval()
    return model


def draw_prompts(count: int) -> list[list[int]]:
    draw = random.Random(7)
    return [[draw.randrange(100, 257) for _ in range(draw.randint(1, 30))] for _ in range(count)]


def expected_ids(model: PreTrainedModel, prompts: list[list[int]]) -> list[tuple[int, ...]]:
    """What transformers' generate gives each prompt alone, so that no padding can come into it."""
    found = []
    for prompt in prompts:
        ids = torch.tensor([prompt])
        options = {"attention_mask": torch.ones_like(ids), "do_sample": False, "max_new_tokens": 12}
        with torch.inference_mode():
            found.append(tuple(model.generate(ids, **options)[0, len(prompt) :].tolist()))
    return found


@pytest.mark.parametrize("kind", SHAPES)
def test_greedy_equals_transformers_whatever_the_batch(kind: str, tokenizer: PreTrainedTokenizerBase) -> None:
    model, prompts = build(kind), draw_prompts(24)
    assert isinstance(state_of(model, 0, GREEDY, rows=1, positions=64), Cached)
    expected = expected_ids(model, prompts)
    assert len(set(expected)) > 12 and len({len(ids) for ids in expected}) > 3  # rows end at different steps
    for size in (1, 7, len(prompts)):
        settings = Generate(**{**GREEDY.model_dump(), "batch_size": size})
        found = decode(model, tokenizer, prompts, settings)
        assert [completion.ids for completion in found] == expected, size


def test_the_same_prompt_is_read_once_and_rows_that_end_are_dropped(tokenizer: PreTrainedTokenizerBase) -> None:
    model, prompts = build("llama"), draw_prompts(6)
    expected = expected_ids(model, prompts)
    read: list[tuple[int, ...]] = []
    model.register_forward_pre_hook(
        lambda _, args, given: read.append(tuple(given["input_ids"].shape)), with_kwargs=True
    )
    twice = [prompt for prompt in prompts for _ in range(2)]
    found = decode(model, tokenizer, twice, Generate(**{**GREEDY.model_dump(), "batch_size": 12}))
    assert [completion.ids for completion in found] == [ids for ids in expected for _ in range(2)]
    assert read[0] == (6, max(map(len, prompts)))
    going = [2 * sum(len(ids) > step for ids in expected) for step in range(1, max(map(len, expected)))]
    assert read[1:] == [(rows, 1) for rows in going] and going[-1] < 12
