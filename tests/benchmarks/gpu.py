"""GPU: training steps of BERT (base, large) on QA windows and of GPT-2 124M on blocks, hfkit's engine against Trainer.

    python tests/benchmarks/gpu.py [--shapes bert-base bert-large gpt2] [--rounds 3] [--data train.json]

Random weights of the real shapes, features made in memory: needs torch, transformers and accelerate, no datasets, no
pydantic, no downloads, no network. --data is a local SQuAD-style JSON whose questions and contexts give the lengths of
the windows (its words become random pieces); without it lengths are drawn like SQuAD's (mean 159, at most 384).

Sides: hfkit (bfloat16, packed), hfkit without attention dropout, on request both with compiled layers (hfkit-compiled,
hfkit-nodrop-compiled: whether train.compile pays), Trainer tuned (bfloat16, grouped by length, fused
AdamW), Trainer compile. Each runs in a process of its own, in turn (A B A B), with the same batch and steps. Columns:
examples and real tokens a second of the steps after the first --skip, share of the bfloat16 rate of matrix products
measured in the same process, peak memory of the device, loss of the last steps, and hfkit's ratio to the side: median
(least-largest of a round). Goals on an H200: 2 times Trainer tuned and 45 % (bert-base), 55 % (bert-large), 400,000
tokens/s (gpt2).

Takes about 10 minutes on an H200 with the defaults. --tiny: two small layers and 4 steps, on a CPU too, in 2 minutes;
that is the script's test. Without a GPU, only --tiny makes sense.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from interleaved import middle, ratios, spoken, table

ROOT = Path(__file__).resolve().parents[2]
BERT = {"vocab_size": 30522, "max_position_embeddings": 512}
SIZES = ("hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size")
SHAPES: dict[str, dict[str, Any]] = {
    "bert-base": BERT | dict(zip(SIZES, (768, 12, 12, 3072), strict=True)),
    "bert-large": BERT | dict(zip(SIZES, (1024, 24, 16, 4096), strict=True)),
    "gpt2": {"n_embd": 768, "n_layer": 12, "n_head": 12, "vocab_size": 50257, "n_positions": 1024},
}
TINY: dict[str, dict[str, Any]] = {
    name: (
        {"n_embd": 32, "n_layer": 2, "n_head": 2, "vocab_size": 300, "n_positions": 64}
        if name == "gpt2"
        else dict(zip(SIZES, (32, 2, 2, 64), strict=True))
    )
    for name in SHAPES
}
BATCH = {"bert-base": 64, "bert-large": 32, "gpt2": 32}
SIDES = ("hfkit", "hfkit-nodrop", "tuned", "compile")
COMPILED = ("hfkit-compiled", "hfkit-nodrop-compiled")


class Spans:
    """The loss of QA: mean of start and end cross-entropy, summed over windows."""

    def loss(self, outputs: Any, batch: Any) -> tuple[Any, Any]:
        from torch.nn.functional import cross_entropy

        hidden = batch["attention_mask"] == 0
        total = sum(
            cross_entropy(logits.float().masked_fill(hidden, float("-inf")), batch[name], reduction="sum")
            for logits, name in ((outputs.start_logits, "start_positions"), (outputs.end_logits, "end_positions"))
        )
        return total / 2, batch["start_positions"].new_tensor(len(hidden))


class NextTokens:
    """The loss of a language model: nats, summed over the tokens after the first of each block."""

    def loss(self, outputs: Any, batch: Any) -> tuple[Any, Any]:
        from torch.nn.functional import cross_entropy

        logits, targets = outputs.logits[:, :-1].flatten(0, 1), batch["input_ids"][:, 1:].flatten()
        return cross_entropy(logits.float(), targets, reduction="sum"), targets.new_tensor(targets.numel())


class Listed:
    """Features in memory, as the engine takes them."""

    def __init__(self, features: Sequence[dict[str, Any]]) -> None:
        self.features = features
        self.lengths = np.asarray([len(f["input_ids"]) for f in features], dtype=np.int32)
        self.rows = np.arange(len(features))

    def __len__(self) -> int:
        return len(self.features)

    def take(self, indices: Sequence[int]) -> list[dict[str, Any]]:
        return [self.features[i] for i in indices]


def lengths(a: argparse.Namespace, count: int) -> np.ndarray:
    """Tokens of each window: of a SQuAD-style file (1.25 pieces a word, 3 special tokens), or drawn like them."""
    draw = np.random.default_rng(0)
    if a.data is None:
        found = draw.gamma(9.0, 159 / 9.0, count)
    else:
        articles = json.loads(a.data.read_text(encoding="utf-8"))["data"]
        words = [
            len(f"{qa['question']} {p['context']}".split())
            for article in articles for p in article["paragraphs"] for qa in p["qas"]
        ]  # fmt: skip
        found = draw.choice(np.asarray(words), count) * 1.25 + 3
    return np.clip(found.astype(np.int64), 16, 384) // (8 if a.tiny else 1)


def make_features(a: argparse.Namespace, count: int) -> Listed:
    draw = np.random.default_rng(1)
    shape = (TINY if a.tiny else SHAPES)[a.shape]
    size = shape.get("vocab_size", 30522)
    if a.shape == "gpt2":
        return Listed([{"row": i, "input_ids": draw.integers(0, size, shape["n_positions"])} for i in range(count)])
    made = []
    for number, length in enumerate(lengths(a, count).tolist()):
        start = int(draw.integers(0, length))
        made.append({
            "row": number, "input_ids": draw.integers(1000, size, length),
            "token_type_ids": np.zeros(length, dtype=np.int64), "start_positions": start,
            "end_positions": min(length - 1, start + 3),
        })  # fmt: skip
    return Listed(made)


def make_model(a: argparse.Namespace) -> Any:
    import torch
    from transformers import BertConfig, BertForQuestionAnswering, GPT2Config, GPT2LMHeadModel

    torch.manual_seed(0)
    shape = (TINY if a.tiny else SHAPES)[a.shape]
    attention = 0.0 if a.side.startswith("hfkit-nodrop") else 0.1
    if a.shape == "gpt2":
        return GPT2LMHeadModel(GPT2Config(**shape, attn_pdrop=attention, bos_token_id=0, eos_token_id=0))
    return BertForQuestionAnswering(BertConfig(**shape, attention_probs_dropout_prob=attention))


def clock(device: Any) -> float:
    import torch

    if device.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter()


def train_ours(a: argparse.Namespace, features: Listed) -> dict[str, float]:
    from hfkit.engine.memory import peak_memory
    from hfkit.engine.optimize import Schedule, build_optimizer
    from hfkit.engine.packing import packed
    from hfkit.engine.processes.place import take_place
    from hfkit.engine.regional import Regions
    from hfkit.engine.train import Training

    place = take_place(cpu=a.cpu, processes=1, precision="bfloat16")
    model = make_model(a).to(place.device)
    optimizer = build_optimizer(model, 1e-4, 0.0)
    task: Any = NextTokens() if a.shape == "gpt2" else Spans()
    compiled = a.side in COMPILED
    made = Training(
        packed(model, place, compiled=compiled), optimizer, task, features,
        schedule=Schedule(1e-4, a.steps, 0, "linear"),
        batch_size=a.batch_size, micro_batch_size=a.micro_batch_size or a.batch_size, max_grad_norm=1.0, seed=0,
        place=place, pad_id=0, alone=compiled,
    )  # fmt: skip
    if compiled:
        regions = Regions(made.bare, place, tokens=made.micro_batch_size * float(features.lengths.mean()))
        begun = clock(place.device)
        regions.compile()
        print(f"compiling took {clock(place.device) - begun:.1f} s", file=sys.stderr)
    done, begun = [], 0.0
    for step in range(a.steps):
        if step == a.skip:
            done += list(made.finished(wait=True))
            begun = clock(place.device)
        made.advance(step)
        done += list(made.finished(wait=False))
    done += list(made.finished(wait=True))
    seconds = clock(place.device) - begun
    return {
        "examples_per_s": sum(d.features for d in done[a.skip :]) / seconds,
        "tokens_per_s": sum(d.tokens for d in done[a.skip :]) / seconds,
        "gb": peak_memory(place.device) / 1e9,
        "loss": float(np.mean([d.loss for d in done[-5:]])),
    }


def train_theirs(a: argparse.Namespace, features: Listed) -> dict[str, float]:
    import torch
    from transformers import Trainer, TrainerCallback, TrainingArguments

    from hfkit.engine.memory import peak_memory

    device = torch.device("cpu" if a.cpu else "cuda")
    times: list[float] = []

    class Clock(TrainerCallback):
        def on_step_end(self, *_: Any, **__: Any) -> None:
            if len(times) + 1 == a.skip or len(times) + 1 == a.steps:
                times.append(clock(device))
            else:
                times.append(0.0)

    def collate(found: list[dict[str, Any]]) -> dict[str, Any]:
        width = max(len(f["input_ids"]) for f in found)
        rows = np.zeros((len(found), width), dtype=np.int64)
        mask = np.zeros_like(rows)
        for row, kept, feature in zip(rows, mask, found, strict=True):
            row[: len(feature["input_ids"])], kept[: len(feature["input_ids"])] = feature["input_ids"], 1
        batch = {"input_ids": torch.from_numpy(rows), "attention_mask": torch.from_numpy(mask)}
        if a.shape == "gpt2":
            return {**batch, "labels": batch["input_ids"]}
        names = ("start_positions", "end_positions")
        return {**batch, **{name: torch.tensor([f[name] for f in found]) for name in names}}

    with tempfile.TemporaryDirectory() as folder:
        arguments = TrainingArguments(
            output_dir=folder, per_device_train_batch_size=a.batch_size, max_steps=a.steps, learning_rate=1e-4,
            save_strategy="no", report_to=[], logging_steps=min(5, a.steps // 2), disable_tqdm=True, bf16=True,
            use_cpu=a.cpu, seed=0,
            torch_compile=a.side == "compile", optim="adamw_torch_fused", remove_unused_columns=False,
            train_sampling_strategy="group_by_length", dataloader_pin_memory=not a.cpu,
        )  # fmt: skip
        trainer = Trainer(
            model=make_model(a), args=arguments, train_dataset=features.features, data_collator=collate,
            callbacks=[Clock()],
        )  # fmt: skip
        trainer.train()
    seconds = times[a.steps - 1] - times[a.skip - 1]
    examples = (a.steps - a.skip) * a.batch_size / seconds
    losses = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
    return {
        "examples_per_s": examples,
        "tokens_per_s": examples * float(features.lengths.mean()),
        "gb": peak_memory(device) / 1e9,
        "loss": losses[-1] if losses else float("nan"),
    }


def one_side(a: argparse.Namespace) -> None:
    """The child: one side of one round, one JSON line."""
    import contextlib

    import torch
    from rate import operations_per_token, products_per_second

    features = make_features(a, a.batch_size * a.steps)
    device = "cpu" if a.cpu else "cuda"
    size, seconds = (256, 0.05) if a.tiny else (8192, 1.0)
    with contextlib.redirect_stdout(sys.stderr):
        products = products_per_second("bfloat16", device, size=size, seconds=seconds)
        found = (train_ours if a.side.startswith("hfkit") else train_theirs)(a, features)
    length = float(features.lengths.mean())
    config = (TINY if a.tiny else SHAPES)[a.shape]
    operations = operations_per_token(
        config, length / 2 if a.shape == "gpt2" else length
    )  # half is hidden by causality
    if a.shape == "gpt2":
        operations += 6 * config["n_embd"] * config["vocab_size"]  # its head is as large as half of the layers
    found["share"] = 100 * found["tokens_per_s"] * operations / products
    print(json.dumps({**found, "products": products, "torch": torch.__version__}))


def options() -> argparse.Namespace:
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--shapes", nargs="+", choices=SHAPES, default=list(SHAPES))
    p.add_argument("--sides", nargs="+", choices=SIDES + COMPILED, default=list(SIDES))
    p.add_argument("--data", type=Path, help="a SQuAD-style JSON for the lengths of the windows")
    p.add_argument("--rounds", type=int, default=3)
    p.add_argument("--steps", type=int, default=60)
    p.add_argument("--skip", type=int, default=10, help="steps left out of the timing")
    p.add_argument("--batch-size", type=int, help="else 64 windows (bert-base), 32 (bert-large), 32 blocks (gpt2)")
    p.add_argument("--micro-batch-size", type=int, help="of hfkit; else the whole batch at once")
    p.add_argument("--tiny", action="store_true", help="small shapes, 4 steps, one round")
    p.add_argument("--cpu", action="store_true", help="also taken where there is no GPU")
    p.add_argument("--json", type=Path, help="write every figure of every round here")
    p.add_argument("--side", choices=SIDES + COMPILED, help=argparse.SUPPRESS)
    p.add_argument("--shape", choices=SHAPES, help=argparse.SUPPRESS)
    a = p.parse_args()
    if a.tiny:
        a.steps, a.skip, a.rounds, a.batch_size = 4, 2, 1, a.batch_size or 4
    if a.shape:
        a.batch_size = a.batch_size or BATCH[a.shape]
        import torch

        a.cpu = a.cpu or not torch.cuda.is_available()
    return a


def compared(a: argparse.Namespace, shape: str) -> dict[str, list[dict[str, Any]]]:
    """Every side's figures, round by round."""
    path = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    environment = {**os.environ, "PYTHONPATH": path, "TOKENIZERS_PARALLELISM": "false"}
    found: dict[str, list[dict[str, Any]]] = {side: [] for side in a.sides}
    given = sys.argv[1:]
    for number in range(a.rounds):
        for side in a.sides:
            command = [sys.executable, str(Path(__file__).resolve()), *given, "--shape", shape, "--side", side]
            found[side].append(spoken(command, environment)[1])
            print(
                json.dumps({"shape": shape, "round": number, "side": side, **found[side][-1]}),
                file=sys.stderr,
                flush=True,
            )
    return found


def main() -> None:
    a = options()
    if a.side:
        one_side(a)
        return
    everything = {}
    for shape in a.shapes:
        found = everything[shape] = compared(a, shape)
        base = [said["examples_per_s"] for said in next(iter(found.values()))]
        lines = []
        for side, said in found.items():
            column = {
                key: [each[key] for each in said] for key in ("examples_per_s", "tokens_per_s", "share", "gb", "loss")
            }
            lines.append([
                side if side.startswith("hfkit") else f"Trainer {side}", middle(column["examples_per_s"], 0),
                middle(column["tokens_per_s"], 0), middle(column["share"], 1) + " %", middle(column["gb"], 1),
                middle(column["loss"], 3), middle(ratios(base, column["examples_per_s"])),
            ])  # fmt: skip
        products = middle([each["products"] / 1e12 for said in found.values() for each in said], 1)
        print(f"\n{shape}, {a.rounds} rounds; bfloat16 products {products} TFLOP/s\n")
        head = ["side", "examples/s", "tokens/s", "of products", "peak GB", "loss", f"{next(iter(found))}: ratio"]
        print(table(head, lines), flush=True)
    if a.json:
        a.json.write_text(json.dumps(everything, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
