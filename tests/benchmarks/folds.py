"""The competition loop on Banking77: cross-validations, one killed and continued, an ensemble, a checked submission.

    python tests/benchmarks/folds.py ../folds [--data ../shared/data] [--epochs 4] [--folds 5] [--tiny]

Makes a competition of Banking77 (train, test, sample; the answers of the test rows aside) and cross-validates three
recipes on it: the shipped one with --epochs, the same with mean pooling, and one epoch, which is trained once in peace
and once killed by SIGKILL in the middle of its third fold and continued. Then the three are one ensemble.

Prints what must hold: out-of-fold predictions hold every training id exactly once; the continued cross-validation has
the files of the other; the file that is handed in has the sample's ids and scores what `hfkit eval` says. And a table:
accuracy out of fold and on the test rows, of each member and the ensemble, with its difference to the best member.

What is finished in FOLDER is not done again. Takes about 45 minutes on two cores; --tiny (a random model of two layers,
1,500 rows) two minutes, its figures say nothing.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

from compete import HFKIT, Folder, many, score, submitted
from small import save_small

PLAIN, MEAN, SHORT = "plain", "mean pooling", "one epoch"
KILLED = 2  # the fold in whose middle


def options() -> argparse.Namespace:
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("folder", type=Path, help="where all is kept; the same one goes on")
    p.add_argument("--data", type=Path, default=Path("../shared/data"))
    p.add_argument("--epochs", type=int, default=4)
    p.add_argument("--folds", type=int, default=5)
    p.add_argument("--tiny", action="store_true")
    a = p.parse_args()
    a.rows, a.test = (1500, 100) if a.tiny else (1_000_000, 1_000_000)
    a.model = str(save_small(a.folder / "small", "AutoModel")) if a.tiny else "starter"
    return a


def hfkit(*words: str) -> dict[str, Any]:
    """What a command ends with on stdout."""
    command = [*HFKIT, *words, "--json", "--quiet"]
    return dict(json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout.splitlines()[-1]))


def cross_validation(a: argparse.Namespace, competition: Folder, name: str) -> list[str]:
    """The words of `hfkit cv` but for the output; scored once, at the end of each run."""
    keys = {
        PLAIN: [f"train.epochs={a.epochs}"],
        MEAN: [f"train.epochs={a.epochs}", "tricks.pooling=mean"],
        SHORT: ["train.epochs=1"],
    }[name]
    keys += ["train.eval_steps=null", f"train.save_steps={2 if a.tiny else 50}"]
    return ["cv", "banking77", "--train", str(competition.train), "--model", a.model, "--folds", str(a.folds), *keys]


def finished(folder: Path) -> bool:
    return (folder / "cv.json").exists()


def killed_and_continued(words: list[str], output: Path) -> None:
    """SIGKILL while the third fold trains, after its first checkpoint, then --resume."""
    checkpoints = output / f"fold-{KILLED}-seed-42" / "checkpoints"
    process = subprocess.Popen([*HFKIT, *words, "-o", str(output), "--quiet"], stdout=subprocess.DEVNULL)
    while process.poll() is None and not any(checkpoints.glob("step-*")):
        time.sleep(0.2)
    if process.poll() is not None:
        raise SystemExit(f"the cross-validation ended with {process.returncode} before it was killed")
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    hfkit(*words, "-o", str(output), "--resume")


def same_files(one: Path, other: Path) -> bool:
    """Whether out-of-fold predictions and the weights of all folds are equal to the byte."""
    names = [path.relative_to(one) for path in [*one.glob("oof*.jsonl"), *one.glob("fold-*/model/model.safetensors")]]
    digest = [[hashlib.sha256((place / name).read_bytes()).digest() for name in names] for place in (one, other)]
    return digest[0] == digest[1]


def each_id_once(competition: Folder, oof: Path) -> bool:
    with competition.train.open(encoding="utf-8", newline="") as handle:
        wanted = Counter(row["id"] for row in csv.DictReader(handle))
    found = Counter(json.loads(line)["id"] for line in oof.read_text(encoding="utf-8").splitlines())
    return wanted == found and max(found.values()) == 1


def with_answers(competition: Folder) -> Path:
    """The test rows with their labels, for `hfkit eval`."""
    path = competition.test.with_name("answers.csv")
    with competition.test.open(encoding="utf-8", newline="") as source:
        rows = [{**row, **competition.gold[row["id"]]} for row in csv.DictReader(source)]
    with path.open("w", encoding="utf-8", newline="") as handle:
        writer = csv.DictWriter(handle, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return path


def rows_of_table(made: dict[str, Any], test: dict[str, dict[str, Any]]) -> list[str]:
    """Each member's weight, its accuracy out of fold and on the test rows; the ensemble's last."""
    lines = ["| model | weight | out of fold | test | 95 % interval |", "|---|---|---|---|---|"]
    members = [*made["members"], {"weight": 1, "metrics": made["metrics"]}]
    for (name, one), member in zip(test.items(), members, strict=True):
        low, high = one["ci95"]["accuracy"]
        shown = [f"{member['weight']:.2f}", f"{member['metrics']['accuracy']:.2f}", f"{one['metrics']['accuracy']:.2f}"]
        lines.append("| " + " | ".join([name, *shown, f"{low:.1f} to {high:.1f}"]) + " |")
    return lines


def trained(a: argparse.Namespace, competition: Folder) -> tuple[dict[str, Path], Path]:
    """Folders of the three cross-validations, and of the one that was killed."""
    folders = {name: a.folder / name.replace(" ", "-") for name in (PLAIN, MEAN, SHORT)}
    for name, folder in folders.items():
        if not finished(folder):
            hfkit(*cross_validation(a, competition, name), "-o", str(folder), "--resume")
            print(f"{name}: trained", file=sys.stderr)
    killed = a.folder / "killed"
    if not finished(killed):
        killed_and_continued(cross_validation(a, competition, SHORT), killed)
    return folders, killed


def handed_in(a: argparse.Namespace, competition: Folder, model: Path) -> float | None:
    """Accuracy of the file that `hfkit submission` writes; None if it is not valid."""
    file = a.folder / "submission.csv"
    file.unlink(missing_ok=True)
    files = ["--test", str(competition.test), "--sample", str(competition.sample), "-o", str(file)]
    hfkit("submission", str(model), *files)
    return score(competition, submitted(competition, file))


def main() -> None:
    a = options()
    place = a.folder / "data"
    place.mkdir(parents=True, exist_ok=True)
    competition = many(a.data, place, a.rows, a.test)
    folders, killed = trained(a, competition)
    answers, both = with_answers(competition), a.folder / "ensemble"
    made = hfkit("ensemble", *map(str, folders.values()), "-o", str(both), "--overwrite")
    models = {name: folder.with_name(f"{folder.name}-model") for name, folder in folders.items()}
    for name, model in models.items():  # the five models of a cross-validation as one
        hfkit("ensemble", str(folders[name]), "-o", str(model), "--overwrite")
    models["ensemble"] = both
    test = {
        name: hfkit("eval", str(model), "--data", str(answers), "--name", "test", "--overwrite")
        for name, model in models.items()
    }

    print("\n".join(rows_of_table(made, test)))
    best = max(folders, key=lambda name: float(made["members"][list(folders).index(name)]["metrics"]["accuracy"]))
    difference = hfkit("compare", *(str(models[name] / "eval" / "test") for name in (best, "ensemble")))
    print(f"\nout of fold, ensemble - best member: {made['difference']}")
    shown = {key: difference[key]["accuracy"] for key in ("differences", "ci95", "p_value")}
    print(f"test, ensemble - {best}: {shown}\n")
    file = handed_in(a, competition, both)
    same = file is not None and abs(file - test["ensemble"]["metrics"]["accuracy"]) < 1e-6
    checks = {
        **{
            f"{name}: every id once out of fold": each_id_once(competition, at / "oof.jsonl")
            for name, at in folders.items()
        },
        "killed and continued: predictions and weights of the one in peace": same_files(folders[SHORT], killed),
        "submission: valid, and scores what eval says": same,
    }
    for what, holds in checks.items():
        print(f"{'yes' if holds else 'NO'}: {what}")
    raise SystemExit(0 if all(checks.values()) else 1)


if __name__ == "__main__":
    main()
