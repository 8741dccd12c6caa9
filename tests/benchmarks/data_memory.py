"""Peak memory of `hfkit finetune` on parquet shards of 10,000 and of 200,000 rows of 4 kB: at most 10 % apart.

    python tests/benchmarks/data_memory.py [--rows 10000 200000]

The larger set holds 800 MB of text, so a run that kept it would show. Makes a tiny model with random weights and shards
of its own, in a folder that is removed; needs no network. Each size runs in a process of its own, which reads, encodes,
and does 20 steps. One JSON line: peaks with the pages of files that were mapped, and of the process's own memory. Takes
about 3 minutes on two cores; Linux only.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from eval_memory import make_model, peak, report

SHARD = 5_000  # rows
WIDTH = 4_000  # characters a row; nearly all are spaces, so that reading weighs more than encoding


def text(number: int) -> str:
    known = "the small river runs behind the old mill " * 4  # few other words, which the tiny model does not know
    return f"{known}{' ' * WIDTH}{number} {('salt', 'bread')[number % 2]}"


def write_shards(folder: Path, numbers: range) -> Path:
    """Parquet files of at most SHARD rows."""
    folder.mkdir()
    for first in range(0, len(numbers), SHARD):
        rows = [{"text": text(n), "label": ("salt", "bread")[n % 2]} for n in numbers[first : first + SHARD]]
        pq.write_table(pa.Table.from_pylist(rows), folder / f"part-{first // SHARD:05d}.parquet", compression=None)
    return folder


def finetune(model: Path, shards: Path, validation: Path) -> list[str]:
    """The arguments of a run of 20 steps."""
    keys = ["train.max_steps=20", "train.batch_size=8", "train.eval_steps=null", "classify.max_length=32"]
    return [
        "finetune", "classify", "--model", str(model), "--train", str(shards), "--validation", str(validation),
        "--output", f"{shards}-run", "--cpu", "--json", *keys,
    ]  # fmt: skip


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, nargs=2, default=[10_000, 200_000], metavar="N")
    asked = parser.parse_args()
    found: dict[int, tuple[int, int]] = {}
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        make_model("classify", folder / "model")
        validation = write_shards(folder / "validation", range(10_000_000, 10_000_040))
        environment = {**os.environ, "HFKIT_CACHE": str(folder / "cache"), "HFKIT_RUNS": str(folder / "runs")}
        for count in asked.rows:
            shards = write_shards(folder / f"train-{count}", range(count))
            found[count] = peak(finetune(folder / "model", shards, validation), environment)
    return report("data_memory", found, text={count: count * WIDTH for count in found})


if __name__ == "__main__":
    sys.exit(main())
