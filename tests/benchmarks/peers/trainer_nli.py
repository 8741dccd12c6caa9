"""What a user would run in place of `hfkit finetune nli`: transformers' Trainer on a JSON-lines file of pairs.

Flavours of the same work, as in trainer_qa.py of the shared peers:
  default  pad every pair to the longest length, fp32, random batches  (the settings most tutorials print)
  tuned    bf16, dynamic padding, length-grouped batches, fused AdamW  (what an expert would switch on)
  nodrop   tuned without attention dropout                             (for a ratio at equal dropout)
  compile  tuned with torch.compile

One JSON line: windows (pairs), steps, seconds, examples_per_s and tokens_per_s (real tokens) of the steps after the
first few, train_loss, peak_rss_mb. Takes what its --max-steps take: 200 steps of 32 about a minute on two cores.

    python tests/benchmarks/peers/trainer_nli.py --flavour tuned --model starter --train FILE --max-steps 200
"""

import argparse
import contextlib
import json
import resource
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from common import load_model, load_tokenizer, model_folder
from datasets import Dataset
from transformers import (
    AutoModelForSequenceClassification,
    DataCollatorWithPadding,
    Trainer,
    TrainerCallback,
    TrainingArguments,
    set_seed,
)

NAMES = ("entailment", "neutral", "contradiction")


class Clock(TrainerCallback):
    """When the first `skip` steps were done, and the last one."""

    def __init__(self, skip: int) -> None:
        self.skip, self.begin, self.end = skip, 0.0, 0.0

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.end = time.perf_counter()
        if state.global_step == self.skip:
            self.begin = self.end


def pairs(path: Path) -> list[dict[str, Any]]:
    """Rows with a label."""
    with path.open(encoding="utf-8") as lines:
        rows = [json.loads(line) for line in lines]
    known = [row for row in rows if row["label"] in (0, 1, 2) or row["label"] in NAMES]
    return [{**row, "label": NAMES.index(row["label"]) if row["label"] in NAMES else row["label"]} for row in known]


def encode(tokenizer: Any, rows: list[dict[str, Any]], max_length: int, *, pad: bool) -> list[dict[str, Any]]:
    made = tokenizer(
        [row["premise"] for row in rows], [row["hypothesis"] for row in rows],
        truncation=True, max_length=max_length, padding="max_length" if pad else False,
    )  # fmt: skip
    features = [{name: made[name][i] for name in made} for i in range(len(rows))]
    return [
        {**feature, "labels": row["label"], "length": sum(feature["attention_mask"])}
        for feature, row in zip(features, rows, strict=True)
    ]


def options() -> argparse.Namespace:
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--flavour", choices=["default", "tuned", "nodrop", "compile"], default="default")
    p.add_argument("--model", default="starter", help="starter, or a folder")
    p.add_argument("--train", type=Path, required=True)
    p.add_argument("--validation", type=Path)
    p.add_argument("--output", default="trainer_peer", help="where Trainer may write; the model is saved in it")
    p.add_argument("--max-steps", type=int, default=-1)
    p.add_argument("--epochs", type=float, default=1)
    p.add_argument("--batch-size", type=int, default=32)
    p.add_argument("--lr", type=float, default=1e-4)
    p.add_argument("--max-length", type=int, default=128)
    p.add_argument("--seed", type=int, default=42)
    p.add_argument("--skip", type=int, default=5, help="steps left out of the timing")
    return p.parse_args()


def arguments(a: argparse.Namespace) -> TrainingArguments:
    tuned = a.flavour != "default"
    return TrainingArguments(
        output_dir=a.output,
        per_device_train_batch_size=a.batch_size,
        learning_rate=a.lr,
        num_train_epochs=a.epochs,
        max_steps=a.max_steps,
        save_strategy="no",
        report_to=[],
        logging_steps=50,
        disable_tqdm=True,
        seed=a.seed,
        bf16=tuned,
        use_cpu=not torch.cuda.is_available(),
        torch_compile=a.flavour == "compile",
        train_sampling_strategy="group_by_length" if tuned else "random",
        length_column_name="length",
    )


def main() -> None:
    a = options()
    set_seed(a.seed)
    tokenizer = load_tokenizer(a.model)
    features = encode(tokenizer, pairs(a.train), a.max_length, pad=a.flavour == "default")
    lengths = [feature["length"] for feature in features]
    settings = {"attention_probs_dropout_prob": 0.0} if a.flavour == "nodrop" else {}
    model = load_model(AutoModelForSequenceClassification, model_folder(a.model), num_labels=3, **settings)
    clock = Clock(a.skip)
    trainer = Trainer(
        model=model,
        args=arguments(a),
        train_dataset=Dataset.from_list(features),
        data_collator=DataCollatorWithPadding(tokenizer),
        processing_class=tokenizer,
        callbacks=[clock],
    )
    with contextlib.redirect_stdout(sys.stderr):
        result = trainer.train()
        trainer.save_model(a.output)
    seconds = max(clock.end - clock.begin, 1e-9)
    done = (trainer.state.global_step - a.skip) * a.batch_size
    report = {
        "peer": f"Trainer {a.flavour}",
        "windows": len(features),
        "steps": trainer.state.global_step,
        "seconds": round(seconds, 2),
        "examples_per_s": round(done / seconds, 2),
        "tokens_per_s": round(done / seconds * float(np.mean(lengths)), 1),
        "train_loss": round(result.training_loss, 4),
        "peak_rss_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
    }
    if a.validation:
        trainer.args.per_device_eval_batch_size = 64
        report["eval"] = trainer.evaluate(
            Dataset.from_list(encode(tokenizer, pairs(a.validation), a.max_length, pad=False))
        )
    print(json.dumps(report))


if __name__ == "__main__":
    main()
