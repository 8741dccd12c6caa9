"""What finetune, eval and predict look at before they begin."""

from __future__ import annotations

import tracemalloc
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

from hfkit.tasks import task_class
from hfkit.verbs.prepare import sample_texts, strange_words

WIDTH = 10_000  # characters


class OnDisk(Sequence[Any]):
    """Rows that are made when asked for, as those that are read from a file."""

    def __len__(self) -> int:
        return 4000

    def __getitem__(self, index: Any) -> Any:
        return {"id": str(index), "text": f"{index} {'[SEP]' if index % 2 else ''}".ljust(WIDTH), "label": "salt"}


def test_texts_are_looked_at_one_by_one() -> None:
    tokenizer = SimpleNamespace(all_special_tokens=["[SEP]"])
    strange_words(tokenizer, SimpleNamespace(), task_class("classify"), [])  # imports, which are not counted
    tracemalloc.start()
    try:
        lines = strange_words(tokenizer, SimpleNamespace(), task_class("classify"), OnDisk())
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert lines == ["2,000 of 4,000 texts looked at hold [SEP]: read as text, not as tokens of the model"]
    assert most < 100 * WIDTH


def test_sampled_texts_stand_evenly_over_the_rows() -> None:
    texts = list(sample_texts(task_class("classify"), OnDisk(), 1000))
    assert [int(text.split()[0]) for text in texts] == list(range(0, 4000, 4))
