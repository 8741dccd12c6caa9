"""What an expert would run for a small causal LM from scratch with plain Trainer: tinyshakespeare or wikitext2.

  python tests/benchmarks/peers/trainer_lm.py tinyshakespeare
  python tests/benchmarks/peers/trainer_lm.py wikitext2 --model FOLDER

FOLDER holds a config.json and a tokenizer, so that two programs can be given the same shape and vocabulary; without it
the model is a GPT-2 of 4 layers, 256 wide, with a byte-level BPE of 8,192 tokens learnt from the training text.
Score: perplexity by token. Each text is one stream, cut in blocks that do not overlap; the first input of a block is
the last token of the block before, so every token but the stream's first is scored exactly once.
"""

import argparse
import math
import time
from pathlib import Path

import torch
from common import (
    autocast,
    load_model,
    load_tokenizer,
    parser,
    prepare,
    report,
    timed,
    training_arguments,
    write_predictions,
)
from datasets import Dataset
from tokenizers import ByteLevelBPETokenizer
from transformers import (
    AutoModelForCausalLM,
    GPT2Config,
    PreTrainedTokenizerBase,
    PreTrainedTokenizerFast,
    Trainer,
    default_data_collator,
)

END = "<|endoftext|>"


def read_texts(task: str, root: Path, limit: int | None) -> dict[str, str]:
    """train, validation (and test) texts; tinyshakespeare's last tenth of characters is validation."""

    def read(path: str) -> str:
        with open(root / path, encoding="utf-8", newline="") as f:
            return f.read()

    if task == "tinyshakespeare":
        text = read("tinyshakespeare/input.txt")
        cut = len(text) * 9 // 10
        texts = {"train": text[:cut], "validation": text[cut:]}
    else:
        files = {"train": "train", "validation": "valid", "test": "test"}
        texts = {name: read(f"wikitext2/{file}.txt") for name, file in files.items()}
    return {name: text[: limit * 100 if limit else None] for name, text in texts.items()}


def learn_tokenizer(text: str, vocab_size: int) -> PreTrainedTokenizerFast:
    bpe = ByteLevelBPETokenizer()
    bpe.train_from_iterator([text], vocab_size=vocab_size, special_tokens=[END], show_progress=False)
    return PreTrainedTokenizerFast(tokenizer_object=bpe._tokenizer, eos_token=END, bos_token=END)


def fresh_model(vocab_size: int, block_size: int) -> AutoModelForCausalLM:
    config = GPT2Config(
        vocab_size=vocab_size, n_positions=block_size, n_embd=256, n_layer=4, n_head=4, bos_token_id=0, eos_token_id=0
    )
    return AutoModelForCausalLM.from_config(config)


def stream(tokenizer: PreTrainedTokenizerBase, text: str) -> torch.Tensor:
    """All tokens of a text: (tokens,)."""
    return torch.tensor(tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"])


def packed(tokens: torch.Tensor, block_size: int) -> Dataset:
    """Whole blocks in the order of the text; a last short one is dropped, as the example scripts do."""
    count = len(tokens) // block_size
    blocks = tokens[: count * block_size].view(count, block_size).tolist()
    return Dataset.from_dict({"input_ids": blocks, "labels": blocks})


def block_nats(a, model, tokens: torch.Tensor, block_size: int, batch_size: int = 16) -> list[float]:
    """Negative log-likelihood of each block in nats; together they hold all tokens but the first."""
    model.eval()
    nats, scored = [], len(tokens) - 1
    begins = list(range(0, scored, block_size))
    for k in range(0, len(begins), batch_size):
        group = begins[k : k + batch_size]
        longest = min(block_size, scored - group[0])
        inputs = torch.zeros(len(group), longest, dtype=torch.long)
        targets = torch.full((len(group), longest), -100)
        for i, begin in enumerate(group):
            end = min(begin + block_size, scored)
            inputs[i, : end - begin] = tokens[begin:end]
            targets[i, : end - begin] = tokens[begin + 1 : end + 1]
        with torch.inference_mode(), autocast(a, model):
            logits = model(input_ids=inputs.to(model.device)).logits
        flat, wanted = logits.float().flatten(0, 1), targets.flatten().to(model.device)
        losses = torch.nn.functional.cross_entropy(flat, wanted, reduction="none")
        nats += losses.view(targets.shape).sum(1, dtype=torch.float64).tolist()
    return nats


def evaluate(a: argparse.Namespace, model, tokens: torch.Tensor, text: str, name: str) -> dict:
    by_block = block_nats(a, model, tokens, a.block_size)
    if name == "validation":
        write_predictions(a.predictions, dict(enumerate(by_block)))
    nats = math.fsum(by_block)
    return {
        "perplexity": round(math.exp(nats / (len(tokens) - 1)), 4),
        "bits_per_character": round(nats / math.log(2) / len(text), 4),
        "tokens_scored": len(tokens) - 1,
    }


def main() -> None:
    p = parser(__doc__, epochs=5, batch_size=16, lr=1e-3)
    p.add_argument("task", choices=["tinyshakespeare", "wikitext2"])
    p.add_argument("--block-size", type=int, default=256)
    p.add_argument("--vocab-size", type=int, default=8192, help="of the tokenizer learnt without --model")
    p.set_defaults(model=None)
    a = p.parse_args()
    prepare(a)
    texts = read_texts(a.task, a.data_dir, a.limit)
    if a.model:
        tokenizer = load_tokenizer(a.model)
        model = load_model(AutoModelForCausalLM, a.model)
    else:
        tokenizer = learn_tokenizer(texts["train"], a.vocab_size)
        model = fresh_model(len(tokenizer), a.block_size)
    streams = {name: stream(tokenizer, text) for name, text in texts.items()}
    dataset = packed(streams["train"], a.block_size)
    trainer = Trainer(
        model=model,
        args=training_arguments(a, group_by_length=False),
        train_dataset=dataset,
        data_collator=default_data_collator,
    )
    trained = timed(trainer)

    begin = time.perf_counter()
    found = {
        name: evaluate(a, model, streams[name], texts[name], name) for name in ("validation", "test") if name in texts
    }
    report(
        a,
        peer="Trainer lm",
        data=a.task,
        metric="perplexity",
        score=found["validation"]["perplexity"],
        scores=found,
        rows=len(dataset),
        train_tokens=len(streams["train"]),
        parameters=model.num_parameters(),
        **trained,
        eval_seconds=round(time.perf_counter() - begin, 1),
        settings={"block_size": a.block_size, "vocab_size": len(tokenizer)},
    )


if __name__ == "__main__":
    main()
