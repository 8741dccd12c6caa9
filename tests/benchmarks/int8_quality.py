"""What decoding in bfloat16 and int8 costs a trained GPT-2: nats a token of a text, beside float32.

    python tests/benchmarks/int8_quality.py RUN --text FILE [--blocks 100] [--size 256]

RUN is a run or model folder of a GPT-2 that learnt such text; FILE is text that it did not learn. Blocks of --size
tokens go through the weights as `hfkit generate` lays them out for each number format. Every token but the first of a
block is scored, the same ones in all formats. One JSON line: nats a token, perplexity, the difference of nats to
float32 with its standard error over blocks, and how often the likeliest token is that of float32. On a CPU. Takes half
a minute for a small model.
"""

from __future__ import annotations

import argparse
import json
import math
from pathlib import Path
from typing import Any

import torch


def options() -> argparse.Namespace:
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("run", type=Path)
    p.add_argument("--text", type=Path, required=True)
    p.add_argument("--blocks", type=int, default=100)
    p.add_argument("--size", type=int, default=256)
    return p.parse_args()


def blocks_of(tokenizer: Any, text: str, count: int, size: int) -> list[list[int]]:
    """The first `count` blocks of `size` tokens."""
    ids = tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"]
    whole = [ids[at : at + size] for at in range(0, len(ids) - size + 1, size)]
    if not whole:
        raise SystemExit(f"the text has {len(ids)} tokens, fewer than a block of {size}")
    return whole[:count]


@torch.inference_mode()
def scored(folder: Path, kind: str, blocks: list[list[int]]) -> tuple[torch.Tensor, torch.Tensor]:
    """(blocks,) nats a token, and (blocks, tokens) the likeliest tokens, decoded in one number format."""
    from transformers import AutoModelForCausalLM

    from hfkit.engine.decoding.gpt2 import weights_of
    from hfkit.engine.decoding.prefill import Segment, prefill
    from hfkit.engine.decoding.slots import Slots

    dtype = torch.bfloat16 if kind == "bfloat16" else torch.float32
    model: Any = AutoModelForCausalLM.from_pretrained(folder, dtype=dtype).eval()
    weights = weights_of(model, int8=kind == "int8")
    nats, likeliest = [], []
    for block in blocks:
        # `add` keeps the last token's state only, which is all that decoding needs: look one step inside.
        hidden = prefill(weights, Slots(weights, 1, len(block)).cache, [Segment(0, block, 0, 0)])
        logits = weights.logits(hidden)[:-1].float()
        nats.append(torch.nn.functional.cross_entropy(logits, torch.tensor(block[1:])))
        likeliest.append(logits.argmax(-1))
    return torch.stack(nats).double(), torch.stack(likeliest)


def main() -> None:
    a = options()
    from transformers import AutoTokenizer

    folder = a.run / "model" if (a.run / "model").is_dir() else a.run
    blocks = blocks_of(AutoTokenizer.from_pretrained(folder), a.text.read_text("utf-8"), a.blocks, a.size)
    exact, chosen = scored(folder, "float32", blocks)
    report: dict[str, Any] = {"blocks": len(blocks), "tokens": len(blocks) * (len(blocks[0]) - 1)}
    for kind in ("float32", "bfloat16", "int8"):
        nats, tokens = (exact, chosen) if kind == "float32" else scored(folder, kind, blocks)
        apart = nats - exact
        report[kind] = {
            "nats": round(float(nats.mean()), 5),
            "perplexity": round(math.exp(float(nats.mean())), 3),
            "more": round(float(apart.mean()), 5),
            "error": round(float(apart.std() / len(blocks) ** 0.5), 5) if len(blocks) > 1 else None,
            "same_choice": round(float((tokens == chosen).double().mean()), 4),
        }
    print(json.dumps(report))


if __name__ == "__main__":
    main()
