"""Batches: every index once, an order of seed and epoch alone, no favour for any length."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from hfkit.engine.plan import (
    FEWEST_PASSES,
    answer_batches,
    epoch_order,
    packed_batches,
    padded_batches,
    padding_share,
    share_of,
)


def test_an_epoch_is_a_permutation_of_seed_and_epoch_alone() -> None:
    order = epoch_order(101, 7, 3)
    assert sorted(order) == list(range(101))
    np.random.seed(0)
    assert np.array_equal(order, epoch_order(101, 7, 3))
    assert not np.array_equal(order, epoch_order(101, 7, 4))
    assert not np.array_equal(order, epoch_order(101, 8, 3))


def test_the_order_does_not_favour_any_length() -> None:
    lengths = np.arange(2000)
    means = [lengths[epoch_order(2000, 0, epoch)[:100]].mean() for epoch in range(50)]
    assert abs(np.mean(means) - 999.5) < 3 * 577 / np.sqrt(100 * 50)
    spread = np.std([lengths[epoch_order(2000, 1, 0)[i : i + 16]].mean() for i in range(0, 1600, 16)])
    assert 577 / 4 * 0.7 < spread < 577 / 4 * 1.3  # as means of random draws of 16


@pytest.mark.parametrize(("count", "size"), [(16, 4), (16, 5), (3, 8), (1, 1), (13, 4)])
def test_padded_micro_batches_hold_each_index_once(count: int, size: int) -> None:
    rng = np.random.default_rng(count)
    indices, lengths = rng.permutation(50)[:count], rng.integers(1, 99, 50)
    parts = padded_batches(indices, lengths, size, 20)
    assert sorted(np.concatenate(parts)) == sorted(indices)
    assert all(0 < len(part) <= size for part in parts)
    assert list(lengths[np.concatenate(parts)]) == sorted(lengths[indices])


@pytest.mark.parametrize(("count", "size"), [(16, 8), (16, 5), (3, 8), (1, 1), (13, 4)])
def test_packed_micro_batches_hold_about_equally_many_tokens(count: int, size: int) -> None:
    rng = np.random.default_rng(count)
    indices, lengths = rng.permutation(50)[:count], rng.integers(1, 99, 50)
    parts = packed_batches(indices, lengths, size)
    assert sorted(np.concatenate(parts)) == sorted(indices) and len(parts) == -(-count // size)
    assert all(0 < len(part) <= size for part in parts)
    tokens = [int(lengths[part].sum()) for part in parts]
    assert max(tokens) - min(tokens) <= lengths[indices].max()


@pytest.mark.parametrize("cost", [0, 7, 40, 10_000])
def test_padded_micro_batches_are_the_cut_with_the_least_work(cost: int) -> None:
    rng = np.random.default_rng(cost)
    for size in (1, 3, 9):
        lengths = rng.integers(1, 60, 9)
        ordered = np.sort(lengths)
        work = []
        for chosen in range(1 << 8):  # every way to cut nine features
            ends = [place + 1 for place in range(8) if chosen >> place & 1] + [9]
            parts = [ordered[begin:end] for begin, end in zip([0, *ends], ends, strict=False)]
            if max(map(len, parts)) <= size:
                work.append(sum(len(part) * part.max() + cost for part in parts))
        found = padded_batches(rng.permutation(9), lengths, size, cost)
        assert sum(len(part) * lengths[part].max() + cost for part in found) == min(work)
    assert cost or padding_share(found, lengths) == 0


def test_the_fewest_passes_are_full_ones() -> None:
    """What a rehearsal measures: no step holds more at once than a full micro-batch of the longest."""
    lengths = np.array([2000, 1700, 1450, 1200, 1000, 850, 720, 600, *[500] * 8])
    assert [len(part) for part in padded_batches(np.arange(16), lengths, 4, FEWEST_PASSES)] == [4] * 4
    assert max(map(len, padded_batches(np.arange(8), lengths, 8, 128))) < 8


@pytest.mark.shared_data
def test_padding_of_real_lengths(shared: Path) -> None:
    """Steps of 16 questions on a CPU, cut in two halves by length, would be padded by a quarter."""
    articles = json.loads((shared / "squad" / "dev.json").read_text(encoding="utf-8"))["data"]
    words = [len(part["context"].split()) for article in articles for part in article["paragraphs"]]
    lengths = np.asarray(words) * 4 // 3
    steps = [epoch_order(len(lengths), 1, epoch)[:16] for epoch in range(50)]
    halves = [half for step in steps for half in np.array_split(step[np.argsort(lengths[step])], 2)]
    assert padding_share(halves, lengths) > 0.2
    assert padding_share([p for step in steps for p in padded_batches(step, lengths, 8, 128)], lengths) < 0.1
    assert padding_share([p for step in steps for p in padded_batches(step, lengths, 8, 0)], lengths) < 0.03


@pytest.mark.parametrize("most", [None, 3])
def test_answer_batches_hold_each_feature_once_within_the_tokens(most: int | None) -> None:
    lengths = np.random.default_rng(0).integers(1, 60, 200).astype(np.int32)
    batches = answer_batches(lengths, 128, most)
    assert sorted(np.concatenate(batches)) == list(range(200))
    assert all(len(b) * lengths[b].max() <= 128 for b in batches)
    assert most is None or max(map(len, batches)) <= most


def test_a_feature_longer_than_a_batch_goes_alone() -> None:
    assert [len(b) for b in answer_batches(np.array([500, 10, 600]), 128)] == [1, 1, 1]
    assert answer_batches(np.zeros(0, dtype=np.int32), 128) == []


def test_processes_meet_equally_often_and_count_every_feature_once() -> None:
    parts = np.array_split(np.arange(9), 5)  # nine features on two processes
    shares = [list(share_of(parts, rank, 2)) for rank in range(2)]
    assert [[number for number, *_ in share] for share in shares] == [[0, 2, 4], [1, 3, 5]]
    assert sum(weight * len(part) for share in shares for _, part, weight, _ in share) == 9
    assert [[last for *_, last in share] for share in shares] == [[False, False, True]] * 2
