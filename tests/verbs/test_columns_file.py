"""columns.json: written in pieces, the same as in one."""

from __future__ import annotations

import json
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hfkit.tasks.scoring import Measured
from hfkit.verbs import columns_file
from hfkit.verbs.columns_file import NAME, Evaluated, read_columns, write_columns


def evaluated(rows: int, *, grouped: bool = True) -> Evaluated:
    columns = {"gold": np.arange(rows) % 3.0, "é": np.arange(rows) / 7, "p_0": np.ones(rows)}
    ids = [f"“{number}”" for number in range(rows)]
    groups = np.arange(rows) // 2 if grouped else None
    measured = Measured(columns, ids, np.arange(rows) * 2, groups, "contexts", 1)
    return Evaluated("qa", {"stride": 1}, "a\nb", measured, {"words": ["few", "many"] * (rows // 2)})


@pytest.mark.parametrize(("rows", "grouped"), [(10, True), (12, False), (0, False)])
def test_pieces_are_the_whole(tmp_path: Path, rows: int, grouped: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(columns_file, "TOGETHER", 4)
    found = evaluated(rows, grouped=grouped)
    write_columns(tmp_path, found)
    held: dict[str, Any] = {
        "task": "qa",
        "settings": {"stride": 1},
        "data": "a\nb",
        "unit": "contexts",
        "unscored": 1,
        "ids": found.measured.ids,
        "rows": found.measured.rows.tolist(),
        "groups": found.measured.groups.tolist() if found.measured.groups is not None else None,
        "columns": {name: found.measured.columns[name].tolist() for name in ("gold", "é")},
        "slices": found.slices,
    }
    assert (tmp_path / NAME).read_text(encoding="utf-8") == json.dumps(held, ensure_ascii=False) + "\n"
    again = read_columns(tmp_path)
    assert again.measured.ids == found.measured.ids and again.slices == found.slices
    assert again.measured.columns["é"].tobytes() == found.measured.columns["é"].tobytes()


def test_writing_takes_no_memory_for_each_row(tmp_path: Path) -> None:
    found = evaluated(60_000)
    tracemalloc.start()
    try:
        write_columns(tmp_path, found)
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert most < 2_000_000  # of a file of 4 MB, whose numbers alone would take 8
