"""The rate of matrix products on this machine, and how many of their operations a model's training step holds.

    python tests/benchmarks/rate.py [--size 2048] [--seconds 2]

One JSON line: operations per second in bfloat16 and float32. Takes 5 seconds; the benchmarks call it in every round.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Mapping
from typing import Any


def products_per_second(name: str, device: str, *, size: int = 2048, seconds: float = 2.0) -> float:
    """Floating-point operations per second of products of square matrices in the format `name`, the best repeat."""
    import torch

    dtype = getattr(torch, name)
    one, other = (torch.randn(size, size, device=device).to(dtype) for _ in range(2))
    best, begun = 0.0, time.perf_counter()
    while time.perf_counter() - begun < seconds or not best:
        if device != "cpu":
            torch.cuda.synchronize()
        before = time.perf_counter()
        for _ in range(1 if device == "cpu" else 20):
            one @ other
        if device != "cpu":
            torch.cuda.synchronize()
        taken = time.perf_counter() - before
        best = max(best, 2.0 * size**3 * (1 if device == "cpu" else 20) / taken)
    return best


def operations_per_token(config: Mapping[str, Any], length: float, *, training: bool = True) -> float:
    """Of matrix products for a real token in sequences of `length`: the layers' weights, and attention's two products.

    Two operations for each weight forward, four backward; heads and embeddings are left out, as is usual (Kaplan et al.
    2020, section 2.1).
    """
    width = config.get("hidden_size") or config["n_embd"]
    layers = config.get("num_hidden_layers") or config["n_layer"]
    inner = config.get("intermediate_size") or config.get("n_inner") or 4 * width
    weights = layers * (4 * width * width + 2 * width * inner)
    attention = layers * 2 * width * length
    return (3 if training else 1) * 2 * (weights + attention)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=2048)
    parser.add_argument("--seconds", type=float, default=2.0)
    asked = parser.parse_args()
    import torch

    device = "cuda" if torch.cuda.is_available() else "cpu"
    found = {
        name: products_per_second(name, device, size=asked.size, seconds=asked.seconds)
        for name in ("bfloat16", "float32")
    }
    print(json.dumps({"device": device, "operations_per_s": found}))


if __name__ == "__main__":
    main()
