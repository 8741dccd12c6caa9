"""Scoring: `hfkit eval` against a tuned script and ONNX Runtime on the same model and questions, in turn; one table.

    pip install -r tests/benchmarks/requirements.txt
    python tests/benchmarks/scoring.py [--model RUN_OR_FOLDER] [--rounds 3] [--questions 2000]

Sides: hfkit (its own choice of number format), hfkit in float32, the tuned script (bfloat16, or --float32; sorted by
length, peers/score_qa.py with the windows and spans of trainer_qa.py of --peers), ONNX Runtime in float32. One full
pass of each side is discarded (it also exports the ONNX model), then every round runs each once. hfkit encodes anew
each time, as the peers do.

Columns: questions a second of the model's work and of the whole command (start, encoding, model, spans, scores), F1,
and hfkit's ratio to the side, end to end: median (least-largest of a round). Without --model, the starter with a
random head is scored: as fast as a trained one, F1 near 0. With a trained model the F1 of all sides must be near.

Takes about 25 minutes on two cores (MiniLM-L6, 2,000 questions, 3 rounds). --tiny: 30 questions, a random model of two
layers, one round; --no-onnx leaves ONNX Runtime out.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from cold_predict import MAKE
from interleaved import Taken, middle, ratios, spoken, table
from training import drawn

HERE = Path(__file__).resolve().parent
SETTINGS = {"max_length": 64, "stride": 16, "max_question_length": 16, "max_answer_length": 8, "scorer": "squad"}


def options() -> argparse.Namespace:
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--model", type=Path, help="a run's model folder; else the starter with a random head")
    p.add_argument("--data", type=Path, default=Path("../shared/data/squad/dev.json"))
    p.add_argument("--peers", type=Path, default=Path("../shared/peers"), help="folder of trainer_qa.py")
    p.add_argument("--questions", type=int, default=2000)
    p.add_argument("--rounds", type=int, default=3)
    p.add_argument("--no-onnx", action="store_true")
    p.add_argument("--float32", action="store_true", help="the script in float32: for a processor without bfloat16")
    p.add_argument("--tiny", action="store_true", help="30 questions, a random model of two layers, one round")
    p.add_argument("--json", type=Path, help="write every figure of every round here")
    a = p.parse_args()
    if a.tiny:
        a.questions, a.rounds = 30, 1
    return a


def model_folder(a: argparse.Namespace, scratch: Path) -> Path:
    if a.model is not None:
        return a.model / "model" if (a.model / "model").is_dir() else a.model
    folder = scratch / "model"
    if not a.tiny:
        subprocess.run([sys.executable, "-c", MAKE, str(folder)], check=True, capture_output=True)
        return folder
    from small import save_small

    save_small(folder, "AutoModelForQuestionAnswering")
    saved = {"hfkit": "0", "task": "qa", "settings": SETTINGS}
    (folder / "hfkit.json").write_text(json.dumps(saved), encoding="utf-8")
    return folder


def commands(a: argparse.Namespace, scratch: Path) -> dict[str, list[str]]:
    model, data = str(model_folder(a, scratch)), str(drawn(a.data, scratch / "questions.json", a.questions))
    ours = [sys.executable, "-m", "hfkit", "eval", model, "--data", data, "--overwrite", "--json"]
    theirs = [sys.executable, str(HERE / "peers" / "score_qa.py"), "--peers", str(a.peers), "--model", model]
    theirs += ["--data", data, *(["--max-length", "64", "--stride", "16"] if a.tiny else [])]
    script, engine = ("tuned script float32", "float32") if a.float32 else ("tuned script", "tuned")
    found = {
        "hfkit": ours,
        "hfkit float32": [*ours, "--set", "train.precision=float32"],
        script: [*theirs, "--engine", engine],
        "ONNX Runtime float32": [*theirs, "--engine", "onnx", "--export", str(scratch / "onnx")],
    }
    if a.no_onnx:
        del found["ONNX Runtime float32"]
    return found


def run(command: list[str], folder: Path) -> tuple[Taken, dict[str, Any]]:
    """One pass, in an empty cache; figures under the same names for all."""
    environment = {
        **os.environ, "HFKIT_CACHE": str(folder / "cache"), "HFKIT_RUNS": str(folder / "runs"), "HF_HUB_OFFLINE": "1",
    }  # fmt: skip
    taken, said = spoken(command, environment)
    if "throughput" in said:
        return taken, {"model": said["throughput"]["rows_per_s"], "unit": "questions", "f1": said["metrics"]["f1"]}
    return taken, {"model": said["windows_per_s"], "unit": "windows", "f1": said["f1"]}


def main() -> None:
    a = options()
    with tempfile.TemporaryDirectory() as name:
        scratch = Path(name)
        sides = commands(a, scratch)
        found: dict[str, list[tuple[Taken, dict[str, Any]]]] = {side: [] for side in sides}
        for number in range(-1, a.rounds):  # the pass before the first round is discarded
            for place, (side, command) in enumerate(sides.items()):
                done = run(command, scratch / f"{number}-{place}")
                print(
                    json.dumps({"round": number, "side": side, "s": done[0][0], **done[1]}), file=sys.stderr, flush=True
                )
                if number >= 0:
                    found[side].append(done)
    if a.json:
        a.json.write_text(json.dumps(found, indent=1), encoding="utf-8")
    ours = [taken[0] for taken, _ in found["hfkit"]]
    lines = []
    for side, runs in found.items():
        wall = [taken[0] for taken, _ in runs]
        lines.append([
            side, f"{middle([said['model'] for _, said in runs], 1)} {runs[0][1]['unit']}",
            middle([a.questions / seconds for seconds in wall], 1), middle([said["f1"] for _, said in runs]),
            middle(wall, 1), middle(ratios(wall, ours)),
        ])  # fmt: skip
    print(f"{a.questions} questions, {a.rounds} rounds\n")
    print(table(["side", "model's work /s", "questions/s end to end", "F1", "s", "hfkit: end to end"], lines))


if __name__ == "__main__":
    main()
