"""Targets from predictions: matched by id, named by class, adding up; and their place behind the gold features."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from hfkit.data.pseudo import WithPseudo, targets_of
from hfkit.data.rows import Rows
from hfkit.engine.collate import collate
from hfkit.errors import DataError
from hfkit.tasks.labels import label_text
from hfkit.tasks.outputs import cross_entropy

PLACES = {"a": 0, "b": 1}
ROWS = Rows([{"id": "x", "text": "one"}, {"id": "y", "text": "two"}], name="new.csv", fingerprint="0" * 64)


def written(path: Path, *items: dict[str, Any]) -> Path:
    path.write_text("".join(json.dumps(item) + "\n" for item in items), "utf-8")
    return path


def test_probabilities_are_matched_by_id_and_class(tmp_path: Path) -> None:
    soft = {"id": "y", "prediction": "b", "probabilities": {"b": 0.75, "a": 0.25}}
    path = written(tmp_path / "p.jsonl", soft, {"id": "x", "prediction": "a"})
    assert targets_of(ROWS, path, PLACES, label_text).tolist() == [[1, 0], [0.25, 0.75]]


@pytest.mark.parametrize(
    ("items", "message"),
    [
        ([{"id": "x", "prediction": "a"}], "1 ids are in it or in new.csv alone"),
        ([{"id": "x", "prediction": "a"}] * 2, "stands twice"),
        ([{"id": "x", "prediction": "a"}, {"id": "y", "prediction": "c"}], "'c' of row 'y' is not a class"),
        (
            [{"id": "x", "prediction": "a"}, {"id": "y", "prediction": "a", "probabilities": {"a": 0.5}}],
            "add up to 0.5",
        ),
    ],
)
def test_what_does_not_fit_is_refused(tmp_path: Path, items: list[dict[str, Any]], message: str) -> None:
    with pytest.raises(DataError, match=message):
        targets_of(ROWS, written(tmp_path / "p.jsonl", *items), PLACES, label_text)


class Listed:
    """Features in memory."""

    def __init__(self, features: list[dict[str, Any]], fingerprint: str) -> None:
        self.features, self.fingerprint = features, fingerprint
        self.lengths = np.asarray([len(f["input_ids"]) for f in features], dtype=np.int32)
        self.rows = np.asarray([f["row"] for f in features])

    def __len__(self) -> int:
        return len(self.features)

    def take(self, indices: Any) -> list[dict[str, Any]]:
        return [self.features[i] for i in indices]


def test_the_loss_of_soft_and_hard_targets_together() -> None:
    gold = Listed([{"row": 0, "input_ids": [5, 6], "label": 1}, {"row": 1, "input_ids": [5], "label": 0}], "g")
    new = Listed([{"row": 0, "input_ids": [7, 8, 9], "label": -100}], "n")
    both = WithPseudo(gold, new, np.asarray([[0.25, 0.75]], dtype=np.float32), 0.5)  # type: ignore[arg-type]
    assert len(both) == 3 and both.lengths.tolist() == [2, 1, 3] and both.rows.tolist() == [0, 1, 2]
    batch = collate(both.take([2, 0, 1]), 0)
    assert batch["label"].tolist() == [1, 1, 0]
    logits = torch.tensor([[0.3, -0.2], [1.0, 2.0], [0.5, 0.1]])
    log = logits.log_softmax(-1)
    expected = -(0.5 * (0.25 * log[0, 0] + 0.75 * log[0, 1]) + log[1, 1] + log[2, 0])
    total, count = cross_entropy(type("Outputs", (), {"logits": logits}), batch)
    assert total.item() == pytest.approx(expected.item()) and count == 3
    other = WithPseudo(gold, new, np.asarray([[0.25, 0.75]], dtype=np.float32), 1.0)  # type: ignore[arg-type]
    assert other.fingerprint != both.fingerprint
