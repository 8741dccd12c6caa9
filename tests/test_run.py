"""A run folder's log."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hfkit.events import Event
from hfkit.run import Run


def test_the_log_is_json_for_any_reader(tmp_path: Path) -> None:
    """A float16 run begins with steps whose gradient is not finite."""
    run = Run(tmp_path, attempt=1)
    run.append(Event("step", {"loss": np.float32(0.5), "grad_norm": float("inf"), "lr": float("nan")}, step=1))

    def refuse(name: str) -> Any:
        pytest.fail(f"{name} is not JSON")

    (line,) = (tmp_path / "events.jsonl").read_text("utf-8").splitlines()
    said = json.loads(line, parse_constant=refuse)
    assert said["fields"] == {"loss": 0.5, "grad_norm": None, "lr": None}
    assert (said["step"], said["attempt"]) == (1, 1)
    assert [event["kind"] for event in run.events()] == ["step"]
