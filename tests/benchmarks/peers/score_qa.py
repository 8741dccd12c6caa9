"""What a user would run in place of `hfkit eval` on a trained QA model: the windows and spans of trainer_qa.py.

    python tests/benchmarks/peers/score_qa.py --peers ../shared/peers --model DIR --data dev.json [--engine float32]

Engines: tuned (bfloat16, batches of 32 windows sorted by length), float32 (the same without bfloat16, for processors
that have none), onnx (ONNX Runtime, float32, the model exported into --export, or taken from there when it is there).
One JSON line: windows_per_s of the model's work, exact match and F1. Takes what the model's pass takes: MiniLM on
squad/dev about 2 minutes on two cores.
"""

import argparse
import json
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from squad_score import average, squad2_values
from transformers import AutoModelForQuestionAnswering, AutoTokenizer


class OnnxModel:
    """An exported model, called as the transformers model it came from."""

    device = torch.device("cpu")

    def __init__(self, path: Path, threads: int) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        self.session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        self.names = [each.name for each in self.session.get_inputs()]

    def eval(self) -> None:
        """There is nothing to switch off."""

    def __call__(self, **batch: torch.Tensor) -> SimpleNamespace:
        start, end = self.session.run(None, {name: batch[name].numpy().astype(np.int64) for name in self.names})
        return SimpleNamespace(start_logits=torch.from_numpy(start), end_logits=torch.from_numpy(end))


class Bare(torch.nn.Module):
    """Positional inputs, a pair of logits: what the exporter takes."""

    def __init__(self, model: Any, names: list[str]) -> None:
        super().__init__()
        self.model, self.names = model, names

    def forward(self, *inputs: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        found = self.model(**dict(zip(self.names, inputs, strict=True)))
        return found.start_logits, found.end_logits


def export(model: Any, tokenizer: Any, path: Path) -> None:
    """Write the model in float32 for batches of any size and length."""
    sample = tokenizer(["a b", "c"], ["d e f", "g"], padding=True, return_tensors="pt")
    names = [name for name in tokenizer.model_input_names if name in sample]
    rows, tokens = torch.export.Dim("rows", min=1, max=4096), torch.export.Dim("tokens", min=2, max=512)
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.onnx.export(
        Bare(model.eval(), names), tuple(sample[name] for name in names), str(path), dynamo=True, verbose=False,
        input_names=names, output_names=["start_logits", "end_logits"],
        dynamic_shapes={"inputs": tuple({0: rows, 1: tokens} for _ in names)},
    )  # fmt: skip


def main() -> None:
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--peers", type=Path, default=Path("../shared/peers"), help="folder of trainer_qa.py")
    p.add_argument("--model", type=Path, required=True)
    p.add_argument("--data", type=Path, required=True)
    p.add_argument("--engine", choices=["tuned", "float32", "onnx"], default="tuned")
    p.add_argument("--export", type=Path, help="where the exported model is kept; else beside the model")
    p.add_argument("--batch-size", type=int, default=32)
    p.add_argument("--max-length", type=int, default=384)
    p.add_argument("--stride", type=int, default=128)
    a = p.parse_args()
    sys.path.insert(0, str(a.peers))
    import trainer_qa

    begun = time.perf_counter()
    tokenizer = AutoTokenizer.from_pretrained(a.model)
    rows = list(trainer_qa.read_squad(a.data))
    if a.engine == "onnx":
        path = (a.export or a.model) / "model.onnx"
        if not path.exists():
            export(AutoModelForQuestionAnswering.from_pretrained(a.model), tokenizer, path)
        model: Any = OnnxModel(path, torch.get_num_threads())
    else:
        model = AutoModelForQuestionAnswering.from_pretrained(a.model)
        model.to("cuda" if torch.cuda.is_available() else "cpu")
    answers, rate = trainer_qa.predict(
        model, tokenizer, rows, a.max_length, a.stride, a.batch_size, a.engine == "tuned"
    )
    seconds = time.perf_counter() - begun
    exact, f1 = average([squad2_values([text for _, text in row["answers"]], answers[row["id"]]) for row in rows])
    scores = {"exact_match": exact, "f1": f1}
    print(json.dumps({"peer": a.engine, "windows_per_s": round(rate, 2), "seconds": round(seconds, 2), **scores}))


if __name__ == "__main__":
    main()
