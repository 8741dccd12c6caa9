"""Generated tokens a second: hfkit's decoding beside transformers' generate and CTranslate2, on a random GPT-2.

  python tests/benchmarks/generating.py                 # batches of 1, 8 and 32, and 256 mixed prompts
  python tests/benchmarks/generating.py --threads 1     # by processor time: for a machine that others use too
  python tests/benchmarks/generating.py --tiny --rounds 1

Greedy, 64 new tokens after prompts of 64. The mixed job has prompts of 8 to 64 tokens and ends rows at one of many end
tokens; peers get it sorted by length, in batches of 32, hfkit takes its own: 32 rows on CPUs, 128 on GPUs. All sides
are loaded into one process and run in turn; a line gives each side's rate, and the ratio of each of hfkit's to the best
of transformers' of the same round. `bandwidth` is the share of the measured memory bandwidth that reading the weights
once a token takes. On a GPU, CTranslate2 is left out. Every side must make as many tokens as it was asked for, or the
benchmark ends. With --tiny a step is so little work that Python's overhead is what is measured, of which CTranslate2
has none. llama.cpp is not compared: on PyPI llama-cpp-python (0.3.36) has no wheel, only its source. Takes 40 minutes
on 2 cores; --tiny a few seconds.
"""

from __future__ import annotations

import argparse
import json
import random
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any

from interleaved import middle

END_SHARE = 0.03  # of the vocabulary ends a row of the mixed job
Prompts = list[list[int]]
Side = Callable[[Prompts, bool], list[int]]  # (prompts, whether rows may end early) -> new tokens made, row by row


def options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=0, help="0: all cores; 1 measures processor time")
    parser.add_argument("--new-tokens", type=int, default=64)
    parser.add_argument("--jobs", nargs="+", default=["1", "8", "32", "mixed"])
    parser.add_argument("--sides", nargs="+", help="names of sides to run; all by default")
    parser.add_argument("--tiny", action="store_true", help="show that everything runs; its figures say nothing")
    return parser.parse_args()


def save_model(folder: Path, *, tiny: bool) -> None:
    """A GPT-2 with random weights, large enough that greedy texts do not repeat one token, and a tokenizer of words."""
    import torch
    from tokenizers import Tokenizer, models
    from transformers import GPT2Config, GPT2LMHeadModel, PreTrainedTokenizerFast

    torch.manual_seed(0)
    shape = {"n_embd": 32, "n_layer": 2, "n_head": 2, "vocab_size": 300, "bos_token_id": 299, "eos_token_id": 299}
    config = GPT2Config(initializer_range=0.1, **(shape if tiny else {}))
    GPT2LMHeadModel(config).save_pretrained(folder)
    end = f"t{config.vocab_size - 1}"
    words = Tokenizer(models.BPE(vocab={f"t{i}": i for i in range(config.vocab_size)}, merges=[]))
    PreTrainedTokenizerFast(tokenizer_object=words, bos_token=end, eos_token=end, unk_token=end).save_pretrained(folder)


def end_tokens(vocabulary: int) -> list[int]:
    return sorted(random.Random(1).sample(range(vocabulary), max(1, int(END_SHARE * vocabulary))))


def ours(folder: Path, dtype: str, device: str, new: int) -> Side:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from hfkit.engine.decode import BATCH_SIZE, decode
    from hfkit.recipe.keys import Generate

    stored = "float32" if dtype == "int8" else dtype
    model: Any = AutoModelForCausalLM.from_pretrained(folder, dtype=getattr(torch, stored)).to(device).eval()
    tokenizer = AutoTokenizer.from_pretrained(folder)
    ends = end_tokens(model.config.vocab_size)

    def run(prompts: Prompts, early: bool) -> list[int]:
        model.generation_config.eos_token_id = ends if early else [model.config.vocab_size]  # which no token is
        keys = {"temperature": 0, "top_k": 0, "top_p": 1, "max_new_tokens": new, "dtype": dtype}
        found = decode(model, tokenizer, prompts, Generate(batch_size=min(BATCH_SIZE[device], len(prompts)), **keys))
        return [len(completion.ids) for completion in found]

    return run


def transformers(folder: Path, dtype: str, device: str, new: int) -> Side:
    import torch
    from transformers import AutoModelForCausalLM

    model: Any = AutoModelForCausalLM.from_pretrained(folder, dtype=getattr(torch, dtype)).to(device).eval()
    pad = model.config.vocab_size - 1
    ends = end_tokens(model.config.vocab_size)

    def batch(prompts: Prompts, early: bool) -> list[int]:
        width = max(map(len, prompts))
        ids = torch.tensor([[pad] * (width - len(p)) + p for p in prompts], device=device)
        mask = torch.tensor([[0] * (width - len(p)) + [1] * len(p) for p in prompts], device=device)
        limits = {"eos_token_id": ends} if early else {"min_new_tokens": new}
        with torch.inference_mode():
            greedy = {"do_sample": False, "max_new_tokens": new, "pad_token_id": pad}
            out = model.generate(ids, attention_mask=mask, **greedy, **limits)
        rows = out[:, width:].tolist()
        stops = set(ends) if early else set()
        return [next((at for at, token in enumerate(row, 1) if token in stops), len(row)) for row in rows]

    return lambda prompts, early: [made for part in sorted_batches(prompts) for made in batch(part, early)]


def ctranslate2(folder: Path, dtype: str, threads: int, new: int) -> Side:
    import ctranslate2
    from ctranslate2.converters import TransformersConverter

    target = folder / "ct2"
    if not target.exists():
        TransformersConverter(str(folder)).convert(str(target))
    generator = ctranslate2.Generator(str(target), device="cpu", compute_type=dtype, intra_threads=threads)
    vocabulary = json.loads((folder / "config.json").read_text("utf-8"))["vocab_size"]
    ends = [f"t{token}" for token in end_tokens(vocabulary)]

    def batch(prompts: Prompts, early: bool) -> list[int]:
        words = [[f"t{token}" for token in prompt] for prompt in prompts]
        limits: dict[str, Any] = {"end_token": ends, "return_end_token": True} if early else {"min_length": new}
        keys = {"sampling_topk": 1, "include_prompt_in_result": False}
        found = generator.generate_batch(words, max_length=new, **limits, **keys)
        return [len(result.sequences_ids[0]) for result in found]

    return lambda prompts, early: [made for part in sorted_batches(prompts) for made in batch(part, early)]


def sorted_batches(prompts: Prompts) -> list[Prompts]:
    """Batches of 32, longest first."""
    order = sorted(prompts, key=len, reverse=True)
    return [order[at : at + 32] for at in range(0, len(order), 32)]


def make_sides(folder: Path, device: str, threads: int, new: int) -> dict[str, Side]:
    """Every side that this machine has, by name."""
    ours_too = ("int8",) if device == "cpu" else ()
    sides = {f"hfkit {dtype}": ours(folder, dtype, device, new) for dtype in ("float32", "bfloat16", *ours_too)}
    for dtype in ("float32", "bfloat16"):
        sides[f"transformers {dtype}"] = transformers(folder, dtype, device, new)
    if device == "cpu":
        try:
            for dtype in ("float32", "int8"):
                sides[f"ctranslate2 {dtype}"] = ctranslate2(folder, dtype, threads, new)
        except ImportError:
            print("ctranslate2 is not installed: pip install ctranslate2", flush=True)
    return sides


def make_prompts(job: str, vocabulary: int, *, tiny: bool) -> Prompts:
    draw = random.Random(0)
    count, longest = (256, 64) if job == "mixed" else (int(job), 64)
    if tiny:
        count, longest = min(count, 6), 12
    lengths = [draw.randint(8, longest) if job == "mixed" else longest for _ in range(count)]
    return [[draw.randrange(vocabulary - 1) for _ in range(length)] for length in lengths]


def bandwidth(device: str, clock: Any) -> float:
    """Bytes a second that a sum over 200 MB reads, the best of five."""
    import torch

    values, best = torch.ones(50_000_000, device=device), 0.0
    for _ in range(5):
        begun = clock()
        values.sum().item()
        best = max(best, values.nbytes / (clock() - begun))
    return best


def measure(
    sides: Mapping[str, Side], prompts: Prompts, job: str, new: int, rounds: int, clock: Any
) -> dict[str, list[float]]:
    """Tokens a second of each side, by round; each side runs a part of the job before the clock does.

    Ends the program when a side did not make the `new` tokens a row that were asked for; an end token may come earlier
    in the mixed job.
    """
    rates: dict[str, list[float]] = {name: [] for name in sides}
    for side in sides.values():
        side(prompts[:1], job == "mixed")
    for _ in range(rounds):
        for name, side in sides.items():
            begun = clock()
            made = side(prompts, job == "mixed")
            rates[name].append(sum(made) / (clock() - begun))
            least = 1 if job == "mixed" else new
            if len(made) != len(prompts) or not all(least <= tokens <= new for tokens in made):
                raise SystemExit(f"{name} made {made} new tokens of {len(prompts)} prompts, {new} each were asked for")
    return rates


def report(job: str, rates: Mapping[str, Sequence[float]], weights: int, limit: float) -> None:
    """The table of one job; `weights` are the model's parameters, `limit` the bandwidth in bytes a second."""
    print(f"\n{'batch ' if job != 'mixed' else ''}{job:<20} tokens/s                   of transformers' best", end="")
    print("      bandwidth" if job == "1" else "")
    peers = [values for name, values in rates.items() if name.startswith("transformers")]
    for name, values in rates.items():
        best = [max(each) for each in zip(*peers, strict=True)] if peers else []
        ratio = middle([mine / theirs for mine, theirs in zip(values, best, strict=True)]) if best else "-"
        bytes_each = {"float32": 4, "bfloat16": 2, "int8": 1}[name.split()[1]]
        share = f"{100 * median(values) * weights * bytes_each / limit:6.0f} %" if job == "1" else ""
        print(f"{name:<24} {middle(values, 1):<28} {ratio:<22} {share}", flush=True)


def main() -> None:
    wanted = options()
    import torch
    from transformers.utils import logging

    logging.disable_progress_bar()
    logging.set_verbosity_error()
    if wanted.threads:
        torch.set_num_threads(wanted.threads)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    clock = time.process_time if wanted.threads == 1 and device == "cpu" else time.perf_counter
    limit, new = bandwidth(device, clock), 6 if wanted.tiny else wanted.new_tokens
    vocabulary, weights = (300, 40_000) if wanted.tiny else (50257, 124_439_808)
    print(f"{device}, {torch.get_num_threads()} threads, {limit / 1e9:.1f} GB/s read, {clock.__name__}", flush=True)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        save_model(folder, tiny=wanted.tiny)
        sides = make_sides(folder, device, torch.get_num_threads(), new)
        sides = {name: side for name, side in sides.items() if not wanted.sides or name in wanted.sides}
        for job in wanted.jobs:
            prompts = make_prompts(job, vocabulary, tiny=wanted.tiny)
            report(job, measure(sides, prompts, job, new, wanted.rounds, clock), weights, limit)


if __name__ == "__main__":
    main()
