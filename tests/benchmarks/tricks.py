"""Tricks: each against the plain recipe, on two data sets over three seeds; one table in markdown.

    python tests/benchmarks/tricks.py ../tricks [--data-dir ../shared/data] [--seeds 3] [--only fgm awp]
    python tests/benchmarks/tricks.py ../tricks --table        what was measured so far, without training

Each seed draws its own training rows; the plain recipe and every trick of that seed get the same ones. The whole dev
(sst2) or test set (banking77) scores them once, at the end, so nothing is chosen by it. Pseudo-labels are those that
the plain model of the same seed gives to rows it was not trained on.

The table: the mean difference of accuracy to the plain recipe, its 95 % interval (paired bootstrap over rows, seeds
averaged, as `hfkit compare` takes it), the difference of each seed, and the time of the steps beside the plain ones.
"yes" and "harms" stand where the interval and twice the standard error over seeds both keep clear of 0.

Every finished run is a line of FOLDER/finished.jsonl: stopped and started again, it goes on after the last one.
Takes about 70 minutes on two cores (42 runs a data set); --tiny a minute or two, its figures say nothing.
"""

from __future__ import annotations

import argparse
import csv
import json
import random
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

PLAIN, PSEUDO = "plain", "pseudo-labels"
BATCH = 16
TRICKS: dict[str, dict[str, Any]] = {
    PLAIN: {},
    "layer_lr_decay 0.9": {"train.layer_lr_decay": 0.9},
    "head_lr 10 times": {},  # by the data set's own rate, see `keys`
    "fgm": {"tricks.adversarial": "fgm"},
    "awp": {"tricks.adversarial": "awp"},
    "fgm epsilon 1": {"tricks.adversarial": "fgm", "tricks.adversarial_epsilon": 1.0},
    "awp lr 1": {"tricks.adversarial": "awp", "tricks.adversarial_lr": 1.0},
    "r_drop 1": {"tricks.r_drop": 1.0},
    "multi_dropout 5": {"tricks.multi_dropout": 5},
    "ema 0.99": {"tricks.average": "ema", "tricks.ema_decay": 0.99},
    "swa": {"tricks.average": "swa"},
    "reinit_layers 1": {"tricks.reinit_layers": 1},
    "pooling mean": {"tricks.pooling": "mean"},
    PSEUDO: {},  # its files are written when the plain model is there
}


@dataclass(frozen=True)
class Data:
    """A data set of the benchmark: files, columns, and how long and fast to train on `rows` of it."""

    train: str
    scored: str
    text: str
    label: str
    rows: int
    unlabelled: int
    epochs: int
    lr: float


DATA = {
    "sst2": Data("sst2/train.tsv", "sst2/dev.tsv", "sentence", "label", 1000, 500, 2, 1e-4),
    "banking77": Data("banking77/train.csv", "banking77/test.csv", "text", "category", 1000, 500, 4, 2e-4),
}


def options() -> argparse.Namespace:
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("folder", type=Path, help="where runs are kept; the same one goes on")
    p.add_argument("--data-dir", type=Path, default=Path("../shared/data"))
    p.add_argument("--sets", nargs="+", choices=DATA, default=list(DATA))
    p.add_argument("--only", nargs="+", choices=[name.split()[0] for name in TRICKS if name != PLAIN])
    p.add_argument("--seeds", type=int, default=3)
    p.add_argument("--model", default="starter")
    p.add_argument("--table", action="store_true", help="train nothing")
    p.add_argument("--tiny", action="store_true", help="a random model of two layers, 40 rows, 2 seeds")
    a = p.parse_args()
    a.seeds = 2 if a.tiny else a.seeds
    a.tricks = [name for name in TRICKS if name == PLAIN or a.only is None or name.split()[0] in a.only]
    return a


def drawn(a: argparse.Namespace, name: str, seed: int) -> tuple[Path, Path, Path]:
    """Files of this seed's training rows, of unlabelled rows beside them, and of the rows that are scored."""
    data, folder = DATA[name], a.folder / "data"
    places = tuple(folder / f"{name}-{seed}-{part}.csv" for part in ("train", "unlabelled", "scored"))
    rows = read(a.data_dir / data.train)
    scored = read(a.data_dir / data.scored)
    count, more = (40, 40) if a.tiny else (data.rows, data.unlabelled)
    chosen = random.Random(seed).sample(rows, count + more)
    parts = chosen[:count], [{"id": str(i), data.text: row[data.text]} for i, row in enumerate(chosen[count:])], scored
    folder.mkdir(parents=True, exist_ok=True)
    for place, part in zip(places, (parts[0], parts[1], parts[2][:60] if a.tiny else parts[2]), strict=True):
        with place.open("w", encoding="utf-8", newline="") as handle:
            writer = csv.DictWriter(handle, list(part[0]))
            writer.writeheader()
            writer.writerows(part)
    return places[0], places[1], places[2]


def read(path: Path) -> list[dict[str, str]]:
    """The rows of a published file; tsv has no quoting."""
    with path.open(encoding="utf-8", newline="") as handle:
        if path.suffix == ".tsv":
            return list(csv.DictReader(handle, delimiter="\t", quoting=csv.QUOTE_NONE))
        return list(csv.DictReader(handle))


def keys(a: argparse.Namespace, name: str, trick: str, seed: int) -> dict[str, Any]:
    """The recipe keys of one run."""
    data = DATA[name]
    head = {"train.head_lr": 10 * data.lr} if trick.startswith("head_lr") else {}
    labels = sorted({row[data.label] for row in read(a.data_dir / data.train)})  # a slice may lack some
    return {
        "classify.labels": labels,
        "data.columns": {"text": data.text, "label": data.label}, "train.epochs": 1 if a.tiny else data.epochs,
        "train.lr": data.lr, "train.batch_size": BATCH, "train.seed": seed, "train.eval_steps": None,
        **TRICKS[trick], **head,
    }  # fmt: skip


def train(a: argparse.Namespace, name: str, trick: str, seed: int) -> dict[str, Any]:
    """One run; of its folder only the evaluation is kept, and the plain model for the pseudo-labels."""
    import hfkit

    rows, unlabelled, scored = drawn(a, name, seed)
    output = place(a, name, trick, seed)
    given = keys(a, name, trick, seed)
    if trick == PSEUDO:
        labels = output.with_suffix(".jsonl")
        said = hfkit.predict(
            place(a, name, PLAIN, seed), str(unlabelled), cpu=True, **{"data.columns": {"text": DATA[name].text}}
        )
        labels.write_text("".join(json.dumps(one) + "\n" for one in said), encoding="utf-8")
        given |= {"data.pseudo": str(unlabelled), "data.pseudo_labels": str(labels)}
    made = hfkit.finetune(
        "classify", train=rows, validation=scored, model=model(a), output=output, overwrite=True, cpu=True,
        processes=1, quiet=True, **given,
    )  # fmt: skip
    shutil.rmtree(output / "checkpoints", ignore_errors=True)
    if trick != PLAIN or PSEUDO not in a.tricks:
        shutil.rmtree(output / "model", ignore_errors=True)
    examples = made.result["steps"] * BATCH
    return {"accuracy": made.metrics["accuracy"], "seconds": examples / made.result["throughput"]["rows_per_s"]}


def model(a: argparse.Namespace) -> str:
    """The checkpoint that all start from."""
    if not a.tiny:
        return str(a.model)
    from small import save_small

    folder = a.folder / "tiny"
    return str(folder if folder.exists() else save_small(folder, "AutoModel"))


def place(a: argparse.Namespace, name: str, trick: str, seed: int) -> Path:
    """The folder of a run."""
    return Path(a.folder) / f"{name}-{trick.replace(' ', '-')}-{seed}"


def finished(a: argparse.Namespace) -> dict[tuple[str, str, int], dict[str, Any]]:
    """What FOLDER/finished.jsonl holds."""
    path = a.folder / "finished.jsonl"
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    return {(one["set"], one["trick"], one["seed"]): one for one in map(json.loads, lines)}


def planned(a: argparse.Namespace) -> Iterator[tuple[str, str, int]]:
    """Seed by seed, so that a stopped benchmark has all tricks of the seeds it has."""
    return ((name, trick, seed) for seed in range(1, a.seeds + 1) for name in a.sets for trick in a.tricks)


def table(a: argparse.Namespace, found: Mapping[tuple[str, str, int], Mapping[str, Any]]) -> str:
    """The table of what is finished; seeds that both sides have."""
    lines = [
        "| trick | data | seeds | accuracy | difference | 95 % interval | each seed | time | pays |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for trick in a.tricks:
        for name in a.sets:
            seeds = [s for s in range(1, a.seeds + 1) if (name, PLAIN, s) in found and (name, trick, s) in found]
            if seeds:
                lines.append(
                    line(a, name, trick, [(found[name, PLAIN, s], found[name, trick, s]) for s in seeds], seeds)
                )
    return "\n".join(lines)


def line(a: argparse.Namespace, name: str, trick: str, pairs: list[Any], seeds: list[int]) -> str:
    """One trick on one data set."""
    mean = fmean(other["accuracy"] for _, other in pairs)
    if trick == PLAIN:
        seconds = fmean(plain["seconds"] for plain, _ in pairs)
        return f"| {trick} | {name} | {len(seeds)} | {mean:.2f} | | | | {seconds:.0f} s | |"
    import hfkit

    sides = [[place(a, name, side, s) / "eval" / "validation" for s in seeds] for side in (PLAIN, trick)]
    said = hfkit.compare(*sides)
    size, (low, high) = said["differences"]["accuracy"], said["ci95"]["accuracy"]
    each = [other["accuracy"] - plain["accuracy"] for plain, other in pairs]
    noise = 2 * stdev(each) / len(each) ** 0.5 if len(each) > 1 else float("inf")
    clear = (low > 0 or high < 0) and abs(size) > noise
    slower = fmean(other["seconds"] for _, other in pairs) / fmean(plain["seconds"] for plain, _ in pairs)
    shown = ", ".join(f"{value:+.2f}" for value in each)
    pays = ("yes" if size > 0 else "harms") if clear else "not clear"
    return (
        f"| {trick} | {name} | {len(seeds)} | {mean:.2f} | {size:+.2f} | {low:+.2f} to {high:+.2f} | {shown} "
        f"| {slower:.2f}x | {pays} |"
    )


def main() -> None:
    a = options()
    done = finished(a)
    for name, trick, seed in () if a.table else planned(a):
        if (name, trick, seed) in done:
            continue
        one = {"set": name, "trick": trick, "seed": seed, **train(a, name, trick, seed)}
        with (a.folder / "finished.jsonl").open("a", encoding="utf-8") as handle:
            handle.write(json.dumps(one) + "\n")
        done[name, trick, seed] = one
        print(json.dumps(one), flush=True)
    print(table(a, done))


if __name__ == "__main__":
    main()
