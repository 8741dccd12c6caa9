"""Writes the tokenizer and the config of a small BERT to train from scratch, from a WordPiece vocabulary.

python tests/benchmarks/peers/scratch_bert.py ../shared/data/tokenizers/bert-base-chinese/vocab.txt FOLDER
"""

import sys
from pathlib import Path

from transformers import BertConfig, BertTokenizer


def main(vocabulary: str, folder: str) -> None:
    words = Path(vocabulary).read_text(encoding="utf-8").removesuffix("\n").split("\n")  # U+2028 is a word here
    tokenizer = BertTokenizer(vocab=vocabulary, do_lower_case=True, model_max_length=512)
    if len(tokenizer) != len(words):
        raise SystemExit(f"{vocabulary} has {len(words)} words, the tokenizer {len(tokenizer)}")
    tokenizer.save_pretrained(folder)
    shape = {"hidden_size": 256, "num_hidden_layers": 4, "num_attention_heads": 4, "intermediate_size": 1024}
    BertConfig(vocab_size=len(words), pad_token_id=tokenizer.pad_token_id, **shape).save_pretrained(folder)


if __name__ == "__main__":
    main(*sys.argv[1:])
