"""The decoding loop: equal to transformers' generate, whatever the batch; sampling, stops, characters, limits."""

import copy
import random

import numpy as np
import pytest
import torch
from tokenizers.processors import TemplateProcessing
from transformers import GPT2Config, GPT2LMHeadModel

from hfkit.engine.decode import decode, pieces, resolve
from hfkit.engine.decoding.new_text import NewText
from hfkit.engine.decoding.row import Completion
from hfkit.engine.decoding.sampling import choose, noise, pick
from hfkit.errors import ModelError, UsageError
from hfkit.models import build_scratch, load_tokenizer
from hfkit.recipe.keys import Generate, Scratch

TEXT = "Die Äpfel 🍎 liegen im Gras, 中文字 und der stopper ist stop operation.\n" * 5
GREEDY = Generate(temperature=0, top_k=0, top_p=1, batch_size=4, max_new_tokens=12)
SAMPLED = Generate(temperature=0.9, top_k=0, top_p=1, batch_size=4, max_new_tokens=12)


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory):
    folder = tmp_path_factory.mktemp("nano")
    return load_tokenizer(build_scratch("gpt2-nano", [TEXT], Scratch(vocab_size=320), "causal-lm", folder))


@pytest.fixture(scope="module")
def model(tokenizer):
    torch.manual_seed(1)
    end = tokenizer.eos_token_id
    shape = {"n_positions": 48, "n_embd": 32, "n_layer": 2, "n_head": 4, "initializer_range": 0.4}
    config = GPT2Config(vocab_size=len(tokenizer), bos_token_id=end, eos_token_id=end, pad_token_id=end, **shape)
    return GPT2LMHeadModel(config).eval()


@pytest.fixture(scope="module")
def prompts(tokenizer):
    draw = random.Random(0)
    return [[draw.randrange(1, len(tokenizer)) for _ in range(draw.randint(1, 30))] for _ in range(12)]


def changed(settings: Generate, **values) -> Generate:
    return Generate(**{**settings.model_dump(), **values})


def expected_ids(model, prompt, count) -> tuple[int, ...]:
    with torch.inference_mode():
        out = model.generate(torch.tensor([prompt]), do_sample=False, max_new_tokens=count, pad_token_id=0)
    return tuple(out[0, len(prompt) :].tolist())


@pytest.mark.parametrize("size", [1, 3, 12])
def test_greedy_equals_transformers_row_by_row(model, tokenizer, prompts, size):
    found = decode(model, tokenizer, prompts, changed(GREEDY, batch_size=size))
    for prompt, completion in zip(prompts, found, strict=True):
        assert completion.ids == expected_ids(model, prompt, 12)


def test_rows_end_at_an_end_token_and_leave_the_batch(model, tokenizer, prompts):
    free = decode(model, tokenizer, prompts, GREEDY)
    end = free[0].ids[3]  # made an end token: rows that come to it are finished early
    kept = model.generation_config.eos_token_id
    model.generation_config.eos_token_id = [kept, end]
    try:
        found = decode(model, tokenizer, prompts, changed(GREEDY, batch_size=12))
        assert {c.finish_reason for c in found} == {"eos", "length"}
        for prompt, completion in zip(prompts, found, strict=True):
            assert completion.ids == expected_ids(model, prompt, 12)
            assert (completion.finish_reason == "eos") == (completion.ids[-1] in (kept, end))
    finally:
        model.generation_config.eos_token_id = kept


def test_samples_do_not_depend_on_the_batch_but_on_seed_and_id(model, tokenizer, prompts):
    ids = [f"row-{number}" for number in range(len(prompts))]
    one = decode(model, tokenizer, prompts, changed(SAMPLED, batch_size=1), ids=ids)
    assert decode(model, tokenizer, prompts, changed(SAMPLED, batch_size=12), ids=ids) == one
    backwards = decode(model, tokenizer, prompts[::-1], SAMPLED, ids=ids[::-1])
    assert backwards[::-1] == one
    assert decode(model, tokenizer, prompts, changed(SAMPLED, seed=1), ids=ids) != one
    twice = decode(model, tokenizer, [prompts[0]] * 2, SAMPLED, ids=["a", "b"])
    assert twice[0].ids != twice[1].ids


def test_samples_of_a_prompt_differ_and_the_first_is_what_one_would_be(model, tokenizer, prompts):
    one = decode(model, tokenizer, prompts, SAMPLED)
    three = decode(model, tokenizer, prompts, changed(SAMPLED, samples=3, batch_size=5))
    assert three[::3] == one
    assert all(len({c.ids for c in three[at : at + 3]}) > 1 for at in range(0, len(three), 3))
    with pytest.raises(ValueError, match="would be the same"):
        changed(GREEDY, samples=2)


@pytest.mark.parametrize("settings", [GREEDY, SAMPLED])
def test_logprobs_are_those_of_a_plain_forward(model, tokenizer, prompts, settings):
    for prompt, found in zip(prompts, decode(model, tokenizer, prompts, changed(settings, logprobs=True)), strict=True):
        with torch.inference_mode():
            logits = model(torch.tensor([prompt + list(found.ids)])).logits[0, len(prompt) - 1 : -1]
        expected = logits.log_softmax(-1).gather(-1, torch.tensor(found.ids)[:, None])[:, 0]
        assert found.logprobs == pytest.approx(expected.tolist(), abs=1e-4)
    assert decode(model, tokenizer, prompts[:1], settings)[0].logprobs is None


def test_beams_are_those_of_transformers(model, tokenizer, prompts):
    settings = changed(GREEDY, num_beams=3, logprobs=True)
    long = [[5] * 45]  # the context leaves it less room than the others
    for prompt, found in zip(prompts + long, decode(model, tokenizer, prompts + long, settings), strict=True):
        with torch.inference_mode():
            room = min(12, 48 - len(prompt))
            out = model.generate(torch.tensor([prompt]), num_beams=3, max_new_tokens=room, pad_token_id=0)
            logits = model(torch.tensor([prompt + list(found.ids)])).logits[0, len(prompt) - 1 : -1]
        assert found.ids == tuple(out[0, len(prompt) :].tolist())
        expected = logits.log_softmax(-1).gather(-1, torch.tensor(found.ids)[:, None])[:, 0]
        assert found.logprobs == pytest.approx(expected.tolist(), abs=1e-4)
    with pytest.raises(ValueError, match="does not sample"):
        changed(SAMPLED, num_beams=2)


def test_a_very_low_temperature_and_one_candidate_are_greedy(model, tokenizer, prompts):
    greedy = decode(model, tokenizer, prompts, GREEDY)
    for values in ({"temperature": 1e-6}, {"top_k": 1}, {"top_p": 1e-9}):
        assert decode(model, tokenizer, prompts, changed(SAMPLED, **values)) == greedy
    with pytest.raises(ValueError, match="take temperature=0"):
        changed(SAMPLED, temperature=1e-38)  # logits divided by it are no numbers


@pytest.mark.parametrize("values", [{}, {"top_k": 5}, {"top_p": 0.7}, {"top_k": 8, "top_p": 0.6, "temperature": 1.5}])
def test_samples_follow_the_filtered_softmax(values):
    from transformers import TemperatureLogitsWarper, TopKLogitsWarper, TopPLogitsWarper

    settings = changed(SAMPLED, **values)
    logits = torch.randn(1, 20, generator=torch.Generator().manual_seed(3)) * 2
    scores = TemperatureLogitsWarper(float(settings.temperature))(None, logits)
    if settings.top_k:
        scores = TopKLogitsWarper(settings.top_k)(None, scores)
    if settings.top_p < 1:
        scores = TopPLogitsWarper(settings.top_p)(None, scores)
    shares = scores.softmax(-1)[0].numpy()
    count = 20_000
    uniform = np.random.default_rng(0).random(count)
    drawn = np.bincount(choose(logits.expand(count, -1), settings, uniform).numpy(), minlength=20)
    assert drawn[shares == 0].sum() == 0
    kept = shares > 0
    chi = ((drawn - count * shares)[kept] ** 2 / (count * shares[kept])).sum()
    assert chi < kept.sum() + 5 * np.sqrt(2 * kept.sum())


def test_noise_is_a_stream_by_seed_and_row():
    assert np.array_equal(noise(0, "7", 5), noise(0, "7", 50)[:5])
    assert not np.array_equal(noise(0, "7", 5), noise(1, "7", 5))
    assert not np.array_equal(noise(0, "7", 5), noise(0, "8", 5))


def test_the_context_ends_a_completion_and_refuses_a_prompt_without_room(model, tokenizer):
    found = decode(model, tokenizer, [[5] * 45, [5]], changed(GREEDY, max_new_tokens=10))
    assert len(found[0].ids) == 3 and found[0].finish_reason == "length"
    assert len(found[1].ids) <= 10
    with pytest.raises(UsageError, match="48 tokens, but the model's context is 48"):
        decode(model, tokenizer, [[5], [5] * 48], GREEDY)


def with_begin(tokenizer):
    """The tokenizer, made to begin every text with its begin token."""
    own = copy.deepcopy(tokenizer)
    marks = [(own.bos_token, own.bos_token_id)]
    own.backend_tokenizer.post_processor = TemplateProcessing(single=f"{own.bos_token} $A", special_tokens=marks)
    return own


@pytest.mark.parametrize("adds", [True, False])
def test_a_context_that_slides_keeps_the_begin_token_that_the_tokenizer_adds(model, tokenizer, adds):
    begin = tokenizer.bos_token_id
    own = with_begin(tokenizer) if adds else tokenizer
    prompt = [begin, *range(5, 35)]
    settings = changed(GREEDY, overflow="slide", max_new_tokens=25)
    (found,) = decode(model, own, [prompt], settings)
    assert len(found.ids) == 25
    full = [*prompt, *found.ids[: 48 - len(prompt)]]
    read = [begin, *full[-23:]] if adds else full[-24:]
    assert found.ids[48 - len(prompt) :] == expected_ids(model, read, 8)


def test_pieces_add_up_to_the_completion(model, tokenizer, prompts):
    parts: dict[int, str] = {}
    settings = changed(SAMPLED, stop=["e", "中"])
    found = decode(
        model,
        tokenizer,
        prompts,
        settings,
        on_token=lambda row, text: parts.update({row: parts.get(row, "") + text}),
    )
    assert [parts.get(row, "") for row in range(len(prompts))] == [c.text for c in found]
    assert all("e" not in c.text and "中" not in c.text for c in found)
    last = [piece.completion for piece in pieces(model, tokenizer, prompts, settings) if piece.completion]
    assert sorted(last, key=found.index) == found


def test_the_completion_is_the_decoded_text(model, tokenizer, prompts):
    for completion in decode(model, tokenizer, prompts, SAMPLED):
        assert isinstance(completion, Completion)
        if completion.finish_reason == "length":
            assert completion.text == tokenizer.decode(completion.ids, skip_special_tokens=True)


def fed(tokenizer, prompt: str, tokens: list[int], stop=()) -> tuple[list[str], NewText]:
    text = NewText(tokenizer, tokenizer(prompt)["input_ids"], stop)
    shown = []
    for token in tokens:
        text.add(token)
        shown.append(text.fresh())
        if text.stopped:
            break
    text.end()
    shown.append(text.fresh(final=True))
    return shown, text


def bytes_as_tokens(tokenizer, text: str) -> list[int]:
    """One token for each byte: a character of several bytes comes in several tokens."""
    from tokenizers.pre_tokenizers import ByteLevel

    ((written, _),) = ByteLevel(add_prefix_space=False, use_regex=False).pre_tokenize_str(text)
    return tokenizer.convert_tokens_to_ids(list(written))


def test_only_whole_characters_are_shown(tokenizer):
    shown, text = fed(tokenizer, "x", bytes_as_tokens(tokenizer, " Ä🍎中 "))
    assert text.text == " Ä🍎中 "
    assert [piece for piece in shown if piece] == [" ", "Ä", "🍎中", " "]  # the apple might have gone on
    shown, text = fed(tokenizer, "x", bytes_as_tokens(tokenizer, "a🍎")[:-1])
    assert shown[0] == "a" and text.text == "a\ufffd"


def test_characters_of_several_code_points_are_shown_whole(tokenizer):
    family, flag, thumb, syllable = "👩‍👩‍👧", "🇩🇪", "👍🏽", "कि"
    for text in (family, flag, thumb, syllable, "é"):
        shown, found = fed(tokenizer, "x", bytes_as_tokens(tokenizer, f"a{text}b"))
        assert found.text == f"a{text}b" == "".join(shown)
        if text[0] != "e":  # a mark behind a Latin letter comes when it comes
            assert [piece for piece in shown if piece] == ["a", f"{text}b"]


def test_streamed_text_is_the_final_text_whatever_the_tokens(tokenizer):
    """Random tokens, most of them bytes that are no character, and random characters cut into bytes."""
    draw = random.Random(0)
    alphabet = "ae \n中文字ж́🍎👩‍👧🏽🇩🇪क्षि�"
    for _ in range(300):
        if draw.random() < 0.5:
            tokens = [draw.randrange(len(tokenizer)) for _ in range(draw.randint(1, 24))]
        else:
            text = "".join(draw.choice(alphabet) for _ in range(draw.randint(1, 12)))
            tokens = bytes_as_tokens(tokenizer, text)[draw.randrange(3) :]
        prompt = [draw.randrange(1, 260) for _ in range(draw.randint(0, 3))]
        found, parts = NewText(tokenizer, prompt, []), []
        for token in tokens:
            found.add(token)
            parts.append(found.fresh())
        found.end()
        parts.append(found.fresh(final=True))
        assert "".join(parts) == found.text
        if not found_open(tokenizer, prompt):
            before = tokenizer.decode(prompt, skip_special_tokens=True)
            assert before + found.text == tokenizer.decode([*prompt, *tokens], skip_special_tokens=True)
        assert "".join(parts).count("�") == found.text.count("�")


def found_open(tokenizer, prompt: list[int]) -> bool:
    """Whether a prompt ends inside a character."""
    return tokenizer.decode(prompt, skip_special_tokens=True).endswith("�")


def test_stop_strings_are_cut_when_a_token_hangs_over(tokenizer):
    over = max((t for t in tokenizer.get_vocab() if t.isascii() and t.isalpha()), key=len)
    assert len(over) > 2  # as "opera" is for the stop string "stop"
    tokens = [*bytes_as_tokens(tokenizer, "a #"), tokenizer.convert_tokens_to_ids(over)]
    shown, text = fed(tokenizer, "x", tokens, stop=["#" + over[:2]])
    assert text.text == "a " and "".join(shown) == "a "
    shown, text = fed(tokenizer, "x", bytes_as_tokens(tokenizer, "a stark"), stop=["stop", "arx"])
    assert text.text == "".join(shown) == "a stark" and not text.stopped
    held, _ = fed(tokenizer, "x", bytes_as_tokens(tokenizer, "stst"), stop=["stop"])
    assert held == ["", "", "st", "", "st"]  # the first "st" can no longer begin "stop"


def test_special_tokens_are_left_out(tokenizer):
    _, text = fed(tokenizer, "x", [tokenizer.eos_token_id, *bytes_as_tokens(tokenizer, " a")])
    assert text.text == " a"


def test_auto_comes_from_the_checkpoint_or_is_the_default():
    cpu = torch.device("cpu")
    found, lines = resolve(Generate(), {}, cpu, 100)
    assert (found.temperature, found.top_k, found.top_p, found.batch_size) == (0.8, 50, 1.0, 32)
    assert {line.key for line in lines} == {f"generate.{n}" for n in ("temperature", "top_k", "top_p", "batch_size")}
    found, lines = resolve(Generate(), {"temperature": 0.6, "top_p": 0.9}, cpu, 4096)
    assert (found.temperature, found.top_k, found.top_p, found.batch_size) == (0.6, 50, 0.9, 4)
    found, lines = resolve(Generate(temperature=0, batch_size=3), {"temperature": 0.6}, cpu, 100)
    assert (found.temperature, lines) == (0, [])
    found, lines = resolve(Generate(num_beams=2), {"temperature": 0.6}, cpu, 100)
    assert (found.temperature, lines[0].why) == (0, "beam search is greedy")


def test_a_broken_model_says_so():
    with pytest.raises(ModelError, match="not a number"):
        pick(torch.full((1, 4), float("nan")), GREEDY, None)


def test_no_prompts_give_no_completions(model, tokenizer):
    assert decode(model, tokenizer, [], GREEDY) == []
