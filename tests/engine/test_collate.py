"""Features of different lengths to one batch of tensors."""

from __future__ import annotations

import numpy as np
import torch

from hfkit.engine.collate import collate


def test_tokens_are_padded_on_the_right_and_numbers_stacked() -> None:
    batch = collate(
        [
            {"row": 4, "input_ids": [5, 6, 7], "token_type_ids": [0, 1, 1], "label": 2},
            {"row": 9, "input_ids": np.array([8], dtype=np.int32), "token_type_ids": [1], "label": -100},
        ],
        pad_id=3,
    )
    assert batch["input_ids"].tolist() == [[5, 6, 7], [8, 3, 3]]
    assert batch["attention_mask"].tolist() == [[1, 1, 1], [1, 0, 0]]
    assert batch["token_type_ids"].tolist() == [[0, 1, 1], [1, 0, 0]]
    assert batch["row"].tolist() == [4, 9]
    assert batch["label"].tolist() == [2, -100]
    assert batch["token_index"].tolist() == [0, 1, 2, 3]
    assert batch["cu_seq_lens"].tolist() == [0, 3, 4] and batch["cu_seq_lens"].dtype == torch.int32
    assert {v.dtype for name, v in batch.items() if name != "cu_seq_lens"} == {torch.int64}


def test_labels_keep_their_own_length_and_fractions_stay() -> None:
    features = [
        {"input_ids": [1], "labels": [0.5, 2.0], "score": 0.25},
        {"input_ids": [1, 2], "labels": [1.0, 0.0], "score": 3.0},
    ]
    batch = collate(features, pad_id=0)
    assert batch["labels"].tolist() == [[0.5, 2.0], [1.0, 0.0]]
    assert batch["labels"].dtype == batch["score"].dtype == torch.float32
