"""The length that rows are given: measured on a sample, of which a thousand rows are held at once."""

from __future__ import annotations

import tracemalloc
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

from hfkit.tasks.pairs import resolve_length

WIDTH = 2000  # characters


class OnDisk(Sequence[Any]):
    """Rows that are made when asked for, as those that are read from a file."""

    def __len__(self) -> int:
        return 8000

    def __getitem__(self, index: Any) -> Any:
        return {"id": str(index), "text": f"{index}".ljust(WIDTH), "label": "salt"}


def test_sampled_rows_are_measured_a_thousand_at_a_time() -> None:
    tokens = [0] * 20
    config = SimpleNamespace(max_position_embeddings=64, model_type="bert")

    def tokenizer(texts: Sequence[str], pair: object, **how: object) -> dict[str, Any]:
        return {"input_ids": [tokens] * len(texts)}

    wanted = "classify.max_length", "auto", OnDisk(), tokenizer, config, ("text", "text_b")
    resolve_length(*wanted)  # type: ignore[arg-type]  # imports, which are not counted
    tracemalloc.start()
    try:
        length, found = resolve_length(*wanted)  # type: ignore[arg-type]
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert (length, found.why) == (24, "99th percentile of 8,000 rows is 20 tokens; no row is truncated")
    assert most < 3000 * WIDTH
