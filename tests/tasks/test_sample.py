"""The rows that are measured stand for all rows, whatever pattern the file has."""

from __future__ import annotations

import numpy as np

from hfkit.tasks.sample import MEASURED, some


def test_few_rows_are_all_taken() -> None:
    rows = list(range(MEASURED))
    assert list(some(rows)) == rows and list(some([])) == []


def test_a_draw_keeps_the_order_and_is_the_same_again() -> None:
    rows = range(100_000)
    drawn = list(some(rows))
    assert len(drawn) == MEASURED == len(set(drawn)) and drawn == sorted(drawn)
    assert list(some(rows)) == drawn
    assert abs(np.mean(drawn) - 49_999.5) < 1000


def test_a_file_whose_every_second_row_is_short_is_not_taken_for_short() -> None:
    lengths = [10, 40] * 15_000
    assert abs(np.mean(list(some(lengths))) - 25) < 0.5
    assert 0.45 < np.mean([length == 40 for length in some(lengths, 1000)]) < 0.55
