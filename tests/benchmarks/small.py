"""A model of two layers with random weights and the starter's tokenizer: what benchmarks take with --tiny."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent / "peers"))


def save_small(folder: Path, head: str, **settings: Any) -> Path:
    """Write model and tokenizer; `head` is a transformers auto class."""
    import transformers
    from common import load_tokenizer
    from transformers.utils import logging

    logging.disable_progress_bar()
    tokenizer = load_tokenizer("starter")
    config = transformers.BertConfig(
        vocab_size=len(tokenizer), hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=64,
        max_position_embeddings=128, **settings,
    )  # fmt: skip
    getattr(transformers, head).from_config(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder
