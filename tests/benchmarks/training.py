"""Training: hfkit and transformers' Trainer in turn on the same rows, batch, rate and number of steps; one table.

    python tests/benchmarks/training.py squad [--peers ../shared/peers] [--rounds 3] [--steps 60]
    python tests/benchmarks/training.py snli

Sides: hfkit with the peer's dropout (0.1 everywhere), hfkit without attention dropout, hfkit as its recipe says, and
Trainer default, tuned, nodrop, compile. squad runs trainer_qa.py of --peers, snli runs peers/trainer_nli.py. Every
round runs each side once, one after the other (A B A B), each encoding anew, and measures the rate of matrix products.
The scripts ask for bfloat16; where the processor has no such products, ask for tuned-float32 and nodrop-float32 by
--sides.

Columns: windows (pairs) and real tokens a second of the steps after the fifth, the share of this machine's rate of
matrix products in the faster of bfloat16 and float32, peak memory, mean loss over the same steps, seconds of the whole
command, and both ratios of the first side to the side: median (least-largest of a round). Windows are drawn once for
all sides: --rows of the file.

Takes about 60 minutes on two cores with the defaults (60 steps, 3 rounds, 7 sides); `--sides hfkit tuned` 10. --tiny
takes a random model of two layers and 8 steps: it shows that everything runs, its figures say nothing.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from statistics import median
from typing import Any

from interleaved import Taken, middle, ratios, spoken, table
from rate import operations_per_token

HERE = Path(__file__).resolve().parent
HFKIT = {
    "hfkit": [],
    "hfkit peer's dropout": ["dropout=0.1", "attention_dropout=0.1"],
    "hfkit nodrop": ["dropout=0.1", "attention_dropout=0"],
}
OURS = ("hfkit", "peer-dropout", "hfkit-nodrop")  # as --sides names them
PEERS = {f"Trainer {name}": name for name in ("default", "tuned", "nodrop", "compile")}
IN_FLOAT32 = {f"Trainer {name} float32": f"{name}-float32" for name in ("tuned", "nodrop")}  # on request
DATA = {"squad": ("squad/train.json", "squad/dev.json"), "snli": ("snli/train.jsonl", "snli/validation.jsonl")}
Runs = dict[str, list[tuple[Taken, dict[str, Any]]]]


def options() -> argparse.Namespace:
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("data", choices=DATA)
    p.add_argument("--data-dir", type=Path, default=Path("../shared/data"))
    p.add_argument("--peers", type=Path, default=Path("../shared/peers"), help="folder of trainer_qa.py")
    p.add_argument("--model", type=Path, help="a folder; else the starter, MiniLM-L6")
    p.add_argument("--rows", type=int, default=4000, help="questions or pairs drawn from the training file")
    p.add_argument("--validation-rows", type=int, default=32)
    p.add_argument("--steps", type=int, default=60)
    p.add_argument("--batch-size", type=int, help="examples a step; else 16 (squad) or 32 (snli)")
    p.add_argument("--lr", type=float, default=1e-4)
    p.add_argument("--rounds", type=int, default=3)
    p.add_argument("--sides", nargs="+", choices=[*OURS, *PEERS.values(), *IN_FLOAT32.values()])
    p.add_argument("--tiny", action="store_true", help="a random model of two layers, 8 steps, one round")
    p.add_argument("--json", type=Path, help="write every figure of every round here")
    a = p.parse_args()
    a.batch_size = a.batch_size or {"squad": 16, "snli": 32}[a.data]
    if a.tiny:
        a.rows, a.steps, a.rounds, a.batch_size, a.validation_rows = 80, 8, 1, 8, 8
    return a


def drawn(source: Path, target: Path, count: int) -> Path:
    """`count` questions or pairs of a file, the same for every side."""
    draw = random.Random(0)
    if source.suffix == ".jsonl":
        lines = [line for line in source.read_text(encoding="utf-8").splitlines() if '"label": -1' not in line]
        target.write_text("\n".join(draw.sample(lines, min(count, len(lines)))) + "\n", encoding="utf-8")
        return target
    paragraphs = [p for a in json.loads(source.read_text(encoding="utf-8"))["data"] for p in a["paragraphs"]]
    asked = [(p["context"], qa) for p in paragraphs for qa in p["qas"]]
    chosen = draw.sample(asked, min(count, len(asked)))
    made = [{"title": "", "paragraphs": [{"context": context, "qas": [qa]} for context, qa in chosen]}]
    target.write_text(json.dumps({"version": "1.1", "data": made}), encoding="utf-8")
    return target


def model_folder(a: argparse.Namespace, scratch: Path) -> Path:
    if a.model is not None:
        return a.model
    if not a.tiny:
        sys.path.insert(0, str(HERE / "peers"))
        from common import model_folder as starter

        return Path(starter("starter"))
    from small import save_small

    return save_small(scratch / "tiny", "AutoModel")


def commands(a: argparse.Namespace, scratch: Path) -> dict[str, list[str]]:
    """The command of each side; {round} in it is a folder of its own for each round."""
    source, held = (a.data_dir / name for name in DATA[a.data])
    ending = source.suffix
    train = drawn(source, scratch / f"train{ending}", a.rows)
    validation = drawn(held, scratch / f"validation{ending}", a.validation_rows)
    model, length = str(model_folder(a, scratch)), 384 if a.data == "squad" else 128
    length = min(length, 64) if a.tiny else length
    task = {"squad": "qa", "snli": "nli"}[a.data]
    keys = [
        f"train.max_steps={a.steps}", f"train.batch_size={a.batch_size}", f"train.lr={a.lr}", "train.weight_decay=0",
        "train.eval_steps=null", "train.warmup=0", f"{task}.max_length={length}",
        *(["qa.stride=16" if a.tiny else "qa.stride=128"] if task == "qa" else []),
    ]  # fmt: skip
    ours = [
        sys.executable, "-m", "hfkit", "finetune", task, "--model", model, "--train", str(train),
        "--validation", str(validation), "--output", "{round}/run", "--json", *keys,
    ]  # fmt: skip
    script = a.peers / "trainer_qa.py" if a.data == "squad" else HERE / "peers" / "trainer_nli.py"
    theirs = [
        sys.executable, str(script), "--model", model, "--train", str(train), "--validation", str(validation),
        "--output", "{round}/peer", "--max-steps", str(a.steps), "--batch-size", str(a.batch_size), "--lr", str(a.lr),
        "--max-length", str(length), *((["--stride", "16" if a.tiny else "128"]) if a.data == "squad" else []),
    ]  # fmt: skip
    found = {name: [*ours, *extra] for name, extra in HFKIT.items()}
    found |= {name: [*theirs, "--flavour", flavour] for name, flavour in PEERS.items()}
    if a.sides:
        launcher = str(HERE / "peers" / "in_float32.py")
        found |= {
            name: [sys.executable, launcher, *theirs[1:], "--flavour", side.removesuffix("-float32")]
            for name, side in IN_FLOAT32.items()
        }
        long = dict(zip(OURS, HFKIT, strict=True)) | {side: name for name, side in (PEERS | IN_FLOAT32).items()}
        asked = {long[side] for side in a.sides}
        found = {name: command for name, command in found.items() if name in asked}
    return found


def run(command: list[str], folder: Path) -> tuple[Taken, dict[str, Any]]:
    """One run of a side in an empty folder: its times, and its figures under the same names for all."""
    folder.mkdir(parents=True)
    environment = {**os.environ, "HFKIT_CACHE": str(folder / "cache"), "HF_HUB_OFFLINE": "1"}
    taken, said = spoken([word.replace("{round}", str(folder)) for word in command], environment)
    if "throughput" not in said:
        return taken, {
            "windows_per_s": said["examples_per_s"], "tokens_per_s": said["tokens_per_s"],
            "loss": said["train_loss"], "gb": said["peak_rss_mb"] * 2**20 / 1e9,
        }  # fmt: skip
    events = (json.loads(line) for line in (folder / "run/events.jsonl").read_text(encoding="utf-8").splitlines())
    losses = [event["fields"]["loss"] for event in events if event["kind"] == "step"]
    rates = said["throughput"]
    return taken, {
        "windows_per_s": rates["rows_per_s"], "tokens_per_s": rates["tokens_per_s"],
        "loss": sum(losses) / len(losses), "gb": said["peak_memory_bytes"] / 1e9,
    }  # fmt: skip


def shown(a: argparse.Namespace, found: Runs, rates: list[dict[str, float]], config: Mapping[str, Any]) -> str:
    """The table. A side's share is its real tokens' operations by the rate of the same round."""
    lines = []
    base = next(iter(found))
    dtype = max(rates[0], key=rates[0].__getitem__)
    products = [rate[dtype] for rate in rates]
    for name, runs in found.items():
        column = {key: [said[key] for _, said in runs] for key in runs[0][1]}
        wall = [taken[0] for taken, _ in runs]
        tokens = median(column["tokens_per_s"]) / max(1e-9, median(column["windows_per_s"]))
        each = operations_per_token(config, tokens)
        share = [100 * rate * each / product for rate, product in zip(column["tokens_per_s"], products, strict=True)]
        steady = ratios([said["windows_per_s"] for _, said in found[base]], column["windows_per_s"])
        whole = ratios(wall, [taken[0] for taken, _ in found[base]])
        lines.append([
            name, middle(column["windows_per_s"], 1), middle(column["tokens_per_s"], 0), middle(share, 1) + " %",
            middle(column["gb"], 1), middle(column["loss"], 3), middle(wall, 0), middle(steady), middle(whole),
        ])  # fmt: skip
    head = ["side", "windows/s", "tokens/s", "of products", "peak GB", "loss", "s", f"{base}: steady", f"{base}: whole"]
    unit = f"{dtype} products {middle([p / 1e12 for p in products])} TFLOP/s"
    return f"{a.data}, {a.steps} steps of {a.batch_size}, {a.rounds} rounds; {unit}\n\n{table(head, lines)}"


def main() -> None:
    a = options()
    with tempfile.TemporaryDirectory() as name:
        scratch = Path(name)
        sides = commands(a, scratch)
        model = next(iter(sides.values()))
        config = json.loads((Path(model[model.index("--model") + 1]) / "config.json").read_text(encoding="utf-8"))
        found: Runs = {side: [] for side in sides}
        products: list[dict[str, float]] = []
        for number in range(a.rounds):
            rate = [sys.executable, str(HERE / "rate.py"), *(["--size", "256", "--seconds", "0.1"] if a.tiny else [])]
            products.append(spoken(rate)[1]["operations_per_s"])
            for place, (side, command) in enumerate(sides.items()):
                found[side].append(run(command, scratch / f"{number}-{place}"))
                print(json.dumps({"round": number, "side": side, **found[side][-1][1]}), file=sys.stderr, flush=True)
    if a.json:
        a.json.write_text(json.dumps({"products": products, "runs": found}, indent=1), encoding="utf-8")
    print(shown(a, found, products, config))


if __name__ == "__main__":
    main()
