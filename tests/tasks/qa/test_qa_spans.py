"""The span search against brute force, its ties, and the pooling of windows."""

import itertools

import numpy as np
import pytest
import torch

from hfkit.tasks.qa import spans
from hfkit.tasks.qa.spans import best_spans, pool


def brute_force(start: np.ndarray, end: np.ndarray, allowed: np.ndarray, longest: int, n_best: int) -> list[tuple]:
    """All spans of the band by score, then lowest start, then shortest."""
    found = [
        (first, last, float(start[first] + end[last]))
        for first, last in itertools.product(range(len(start)), repeat=2)
        if first <= last < first + longest and allowed[first] and allowed[last]
    ]
    return sorted(found, key=lambda span: (-span[2], span[0], span[1]))[:n_best]


@pytest.mark.parametrize("grid", [False, True], ids=["continuous", "many ties"])
def test_best_spans_are_those_of_brute_force(grid: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spans, "_CELLS_AT_ONCE", 200)  # several parts
    rng = np.random.default_rng(3)
    for _ in range(40):
        windows, tokens = rng.integers(1, 6), rng.integers(1, 25)
        longest, n_best = int(rng.integers(1, 30)), int(rng.integers(1, 25))
        start, end = rng.normal(size=(2, windows, tokens)).astype(np.float32)
        if grid:
            start, end = np.round(start), np.round(end)  # holds -0.0 as well
        allowed = rng.random((windows, tokens)) < 0.7
        first, last, score = best_spans(
            torch.from_numpy(start), torch.from_numpy(end), torch.from_numpy(allowed), longest=longest, n_best=n_best
        )
        assert first.shape == last.shape == score.shape == (windows, n_best)
        for window in range(windows):
            expected = brute_force(start[window], end[window], allowed[window], longest, n_best)
            found = [
                (int(a), int(b), float(s))
                for a, b, s in zip(first[window], last[window], score[window], strict=True)
                if s > float("-inf")
            ]
            assert found == expected


def test_ties_go_to_the_lowest_start_then_to_the_shorter_span() -> None:
    flat = torch.zeros(1, 384)
    first, last, _ = best_spans(flat, flat, torch.ones(1, 384, dtype=torch.bool), longest=3, n_best=5)
    assert list(zip(first[0].tolist(), last[0].tolist(), strict=True)) == [(0, 0), (0, 1), (0, 2), (1, 1), (1, 2)]


def test_the_best_pair_is_found_though_neither_end_is_among_the_best() -> None:
    """Taking the 20 best starts and ends first, as the reference does, finds no allowed pair here."""
    start, end = torch.zeros(1, 100), torch.zeros(1, 100)
    start[0, 60:80] = 5  # the best starts all come after the best ends
    end[0, 10:30] = 5
    start[0, 40], end[0, 41] = 4, 4
    first, last, score = best_spans(start, end, torch.ones(1, 100, dtype=torch.bool), longest=5, n_best=1)
    assert (int(first), int(last), float(score)) == (40, 41, 8.0)


def read(*found: tuple[int, int, float]) -> dict[str, np.ndarray]:
    starts, ends, scores = zip(*found, strict=True)
    return {"char_start": np.array(starts), "char_end": np.array(ends), "score": np.array(scores, dtype=np.float32)}


def test_a_span_seen_in_two_windows_stands_once_with_its_highest_score() -> None:
    found = pool("one two three", [read((4, 7, 3.0), (0, 3, 1.0)), read((4, 7, 5.0), (0, 0, -np.inf))], 20)
    assert found == [(4, 7, 5.0), (0, 3, 1.0)]


def test_white_space_is_left_out_and_spans_of_nothing_else_are_dropped() -> None:
    found = pool("one  two ", [read((3, 9, 3.0), (5, 8, 2.0), (3, 5, 9.0))], 20)
    assert found == [(5, 8, 3.0)]


def test_pooled_ties_and_the_limit() -> None:
    found = pool("abcdef", [read((3, 5, 1.0), (3, 4, 1.0)), read((1, 6, 1.0), (0, 2, 0.5))], 3)
    assert [(span.start, span.end) for span in found] == [(1, 6), (3, 4), (3, 5)]
