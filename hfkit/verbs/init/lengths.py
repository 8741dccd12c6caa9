"""How long texts are: in tokens where a tokenizer is at hand without torch, else in words or characters."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from hfkit.data.columns import cell
from hfkit.data.peek import Peek
from hfkit.tasks.sample import some

SAMPLE = 1000  # rows


def lengths_of(train: Peek, columns: Sequence[str], model: str, language: str) -> tuple[dict[str, int], str]:
    """(median, p99 and most of the texts of `columns` together, their unit) of rows drawn from the data.

    The unit is "tokens" for the starter, whose vocabulary is installed, and for Chinese, where a character is a token;
    else "words", of which a model makes more tokens than there are: p99 then holds a third more.
    """
    texts = [[str(cell(record, name) or "") for name in columns] for record in some(train.records, SAMPLE)]
    tokenizer = _tokenizer(model)
    if tokenizer is not None:
        sizes = [sum(len(tokenizer.encode(text, add_special_tokens=False).ids) for text in row) for row in texts]
        return _percentiles(sizes), "tokens"
    if language == "Chinese":
        return _percentiles([sum(map(len, row)) for row in texts]), "tokens"
    found = _percentiles([sum(len(text.split()) for text in row) for row in texts])
    return {**found, "p99": found["p99"] * 4 // 3}, "words"


def lengths_words(sizes: dict[str, int], unit: str) -> str:
    """`13 tokens (median), 53 (99 %), 98 (most)`."""
    return f"{sizes['median']} {unit} (median), {sizes['p99']} (99 %), {sizes['most']} (most)"


def _percentiles(sizes: Sequence[int]) -> dict[str, int]:
    ordered = sorted(sizes)
    last = len(ordered) - 1
    return {"median": ordered[last // 2], "p99": ordered[round(0.99 * last)], "most": ordered[last]}


def _tokenizer(model: str) -> Any:
    """The starter's tokenizer by the tokenizers library alone; None where it is not installed."""
    from hfkit.models.starter import starter_folder

    folder = starter_folder() if model == "starter" else None
    if folder is None or not (folder / "tokenizer.json").is_file():
        return None
    try:
        from tokenizers import Tokenizer
    except ImportError:
        return None
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return tokenizer
