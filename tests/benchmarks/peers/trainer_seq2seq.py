"""What an expert would run to translate with plain Seq2SeqTrainer: multi30k from English to German.

  python tests/benchmarks/peers/trainer_seq2seq.py --model FOLDER
  python tests/benchmarks/peers/trainer_seq2seq.py --model FOLDER --max-steps 6810 --batch-size 64 --lr 1e-3

FOLDER holds a config.json and a tokenizer, so that two programs are given the same shape and vocabulary: hfkit keeps
those of a scratch model in the model/ of each run. Without weights in it the model starts at random.
Score: chrF and BLEU by sacrebleu of what greedy `generate` writes, on the validation and the 2016 test sentences.
"""

import argparse
import time
from pathlib import Path

import sacrebleu
import torch
from common import load_tokenizer, parser, prepare, report, sample, timed, training_arguments, write_predictions
from transformers import (
    AutoConfig,
    AutoModelForSeq2SeqLM,
    DataCollatorForSeq2Seq,
    PreTrainedTokenizerBase,
    Seq2SeqTrainer,
    Seq2SeqTrainingArguments,
)

FILES = {"train": "train", "validation": "val", "test": "test_2016_flickr"}


def read_pairs(root: Path, name: str, limit: int | None) -> list[tuple[str, str]]:
    """(English, German) of a part of multi30k."""
    sides = [(root / "multi30k" / f"{FILES[name]}.{side}").read_text("utf-8").splitlines() for side in ("en", "de")]
    return sample(list(zip(*sides, strict=True)), limit)


def encoded(tokenizer: PreTrainedTokenizerBase, pairs: list[tuple[str, str]], a: argparse.Namespace) -> list[dict]:
    sources = tokenizer([source for source, _ in pairs], truncation=True, max_length=a.max_source_length)
    targets = tokenizer(text_target=[target for _, target in pairs], truncation=True, max_length=a.max_target_length)
    return [
        {"input_ids": source, "labels": target}
        for source, target in zip(sources["input_ids"], targets["input_ids"], strict=True)
    ]


def arguments(a: argparse.Namespace) -> Seq2SeqTrainingArguments:
    """The settings of all peers, with label smoothing, the warm-up and the steps of the recipe."""
    common = training_arguments(a)
    names = (
        "output_dir", "per_device_train_batch_size", "learning_rate", "num_train_epochs", "optim", "weight_decay",
        "lr_scheduler_type", "max_grad_norm", "bf16", "use_cpu", "train_sampling_strategy", "save_strategy",
        "report_to", "logging_steps", "disable_tqdm", "dataloader_pin_memory", "seed",
    )  # fmt: skip
    return Seq2SeqTrainingArguments(
        **{name: getattr(common, name) for name in names},
        warmup_steps=a.warmup,
        max_steps=a.max_steps or -1,
        label_smoothing_factor=a.label_smoothing,
    )


def translate(model, tokenizer: PreTrainedTokenizerBase, texts: list[str], a: argparse.Namespace) -> list[str]:
    """Greedy, in batches of like length, in float32."""
    model.eval()
    order = sorted(range(len(texts)), key=lambda i: len(texts[i]))
    found = [""] * len(texts)
    for begin in range(0, len(order), 64):
        indices = order[begin : begin + 64]
        batch = tokenizer(
            [texts[i] for i in indices],
            padding=True,
            truncation=True,
            max_length=a.max_source_length,
            return_tensors="pt",
        ).to(model.device)
        with torch.inference_mode():
            written = model.generate(**batch, do_sample=False, num_beams=1, max_new_tokens=a.max_target_length)
        for i, text in zip(indices, tokenizer.batch_decode(written, skip_special_tokens=True), strict=True):
            found[i] = text
    return found


def scores(said: list[str], gold: list[str]) -> dict[str, float]:
    return {
        "chrf": round(sacrebleu.corpus_chrf(said, [gold]).score, 4),
        "bleu": round(sacrebleu.corpus_bleu(said, [gold]).score, 4),
        "exact_match": round(100 * sum(a == b for a, b in zip(said, gold, strict=True)) / len(gold), 4),
    }


def main() -> None:
    p = parser(__doc__, epochs=15, batch_size=64, lr=1e-3)
    p.add_argument("--max-steps", type=int, help="optimizer steps, in place of epochs")
    p.add_argument("--warmup", type=float, default=0.1, help="below 1: a share of the steps")
    p.add_argument("--dropout", type=float, default=0.2)
    p.add_argument("--label-smoothing", type=float, default=0.1)
    p.add_argument("--max-source-length", type=int, default=40)
    p.add_argument("--max-target-length", type=int, default=40)
    a = p.parse_args()
    if a.model == "starter":
        p.error("--model: a folder with the config and tokenizer of an encoder-decoder, such as RUN/model")
    prepare(a)
    tokenizer = load_tokenizer(a.model)
    config = AutoConfig.from_pretrained(a.model, dropout=a.dropout)
    model = AutoModelForSeq2SeqLM.from_config(config)
    pairs = {name: read_pairs(a.data_dir, name, a.limit) for name in FILES}
    dataset = encoded(tokenizer, pairs["train"], a)
    trainer = Seq2SeqTrainer(
        model=model,
        args=arguments(a),
        train_dataset=dataset,
        data_collator=DataCollatorForSeq2Seq(tokenizer, model=model),
        processing_class=tokenizer,
    )
    trained = timed(trainer)

    begin = time.perf_counter()
    found = {}
    for name in ("validation", "test"):
        said = translate(model, tokenizer, [source for source, _ in pairs[name]], a)
        found[name] = scores(said, [target for _, target in pairs[name]])
        if name == "test":
            write_predictions(a.predictions, {str(i): text for i, text in enumerate(said)})
    report(
        a,
        peer="Seq2SeqTrainer",
        data="multi30k en-de",
        metric="chrf",
        score=found["test"]["chrf"],
        scores=found,
        rows=len(dataset),
        parameters=model.num_parameters(),
        **trained,
        eval_seconds=round(time.perf_counter() - begin, 1),
        settings={
            "dropout": a.dropout,
            "warmup": a.warmup,
            "label_smoothing": a.label_smoothing,
            "max_source_length": a.max_source_length,
            "max_target_length": a.max_target_length,
        },
    )


if __name__ == "__main__":
    main()
