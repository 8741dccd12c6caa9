"""Answers of many features: read in parts, merged in row order, each row once."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from hfkit.engine import answer as answers
from hfkit.engine.answer import Reads, merged, parts
from hfkit.engine.processes.place import take_place


class Listed:
    """Features of rows with one to three windows."""

    def __init__(self, rows: int) -> None:
        self.rows = np.repeat(np.arange(rows), [1 + i % 3 for i in range(rows)])
        self.lengths = np.asarray([3 + i % 7 for i in range(len(self.rows))], dtype=np.int32)

    def __len__(self) -> int:
        return len(self.rows)

    def take(self, indices: list[int]) -> list[dict[str, Any]]:
        return [{"row": int(self.rows[i]), "input_ids": [i] * int(self.lengths[i]), "number": i} for i in indices]


class Numbers:
    """Reads a feature's own number, and keeps what it was given for a row."""

    blocks, head = False, "question-answering"

    def read(self, outputs: Any, batch: Any) -> dict[str, torch.Tensor]:
        return {"number": batch["number"], "pair": batch["number"][:, None].repeat(1, 2).float()}

    def merge(self, row: Any, reads: Any) -> dict[str, Any]:
        return {
            "id": row["id"],
            "prediction": [int(read["number"]) for read in reads],
            "pair": reads[0]["pair"].tolist(),
        }


class Model(torch.nn.Module):
    def forward(self, input_ids: torch.Tensor) -> None:
        assert not self.training


@pytest.mark.parametrize("size", [1, 4, 7, 1000])
def test_parts_give_what_one_read_gives(size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(answers, "PART", size)
    monkeypatch.setattr(parts, "__defaults__", (size,))
    features, rows = Listed(20), [{"id": str(i)} for i in range(20)]
    place = take_place(cpu=True, precision="float32")
    model: Any = Model().train()
    work = answers.reading(model, Numbers(), features, place=place, pad_id=0)  # type: ignore[arg-type]
    done = []
    while True:
        try:
            done.append(next(work))
        except StopIteration as end:
            reads = end.value
            break
    assert done == sorted(done) and done[-1] == len(features) and model.training
    for _ in range(2):  # and it can be merged again
        found = list(merged(Numbers(), rows, features, reads))  # type: ignore[arg-type]
        assert [p["id"] for p in found] == [row["id"] for row in rows]
        assert [n for p in found for n in p["prediction"]] == list(range(len(features)))
        assert all(p["pair"] == [p["prediction"][0]] * 2 for p in found)


def test_the_windows_of_a_row_stay_in_one_part() -> None:
    rows = np.array([0, 0, 1, 1, 1, 1, 2, 3, 3])
    assert list(parts(rows, False, 3)) == [(0, 6), (6, 9)]
    assert list(parts(rows, True, 4)) == [(0, 4), (4, 8), (8, 9)]
    assert list(parts(rows[:0], False, 3)) == []


def test_a_row_without_features_is_a_bug() -> None:
    features, reads = Listed(3), Reads()
    features.rows[features.rows == 1] = 2
    reads.add(0, {"number": np.arange(len(features)), "pair": np.zeros((len(features), 2))})
    with pytest.raises(RuntimeError, match="row 1 has no features"):
        list(merged(Numbers(), [{"id": str(i)} for i in range(3)], features, reads))  # type: ignore[arg-type]
