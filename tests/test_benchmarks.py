"""The benchmarks run: each says what it is, the README lists it, and the GPU's trains on a CPU with --tiny."""

from __future__ import annotations

import argparse
import importlib
import json
import math
import os
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest

FOLDER = Path(__file__).resolve().parent / "benchmarks"
SCRIPTS = sorted(path.stem for path in FOLDER.glob("*.py") if path.stem not in ("interleaved", "small"))


@pytest.fixture(autouse=True)
def beside(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(FOLDER))


@pytest.mark.parametrize("name", SCRIPTS)
def test_help_says_what_it_does_and_the_readme_lists_it(
    name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert f"python tests/benchmarks/{name}.py" in (FOLDER / "README.md").read_text("utf-8")
    monkeypatch.setattr(sys, "argv", [f"{name}.py", "--help"])
    with pytest.raises(SystemExit) as ended:
        importlib.import_module(name).main()
    shown = capsys.readouterr().out
    assert not ended.value.code and f"python tests/benchmarks/{name}.py" in shown and "Takes" in shown


def test_operations_of_a_token() -> None:
    count = importlib.import_module("rate").operations_per_token
    config = {"hidden_size": 4, "num_hidden_layers": 2, "intermediate_size": 16}
    weights = 2 * (4 * 16 + 2 * 64)
    assert count(config, 0) == 6 * weights and count(config, 0, training=False) == 2 * weights
    assert count(config, 10) - count(config, 0) == 3 * 2 * 2 * (2 * 10 * 4)  # QK and PV, 2 x 10 x 4 operations each
    assert count({"n_embd": 4, "n_layer": 2}, 0) == 6 * weights


@pytest.mark.parametrize("shape", ["bert-base", "gpt2"])
def test_the_gpu_benchmark_trains_both_sides_on_a_cpu(
    shape: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from accelerate.state import AcceleratorState

    monkeypatch.setattr(sys, "argv", ["gpu.py", "--tiny", "--cpu", "--shape", shape, "--side", "hfkit"])
    gpu = importlib.import_module("gpu")
    options: argparse.Namespace = gpu.options()
    features = gpu.make_features(options, options.batch_size * options.steps)
    found: dict[str, Any] = {"hfkit": gpu.train_ours(options, features)}
    AcceleratorState._reset_state(reset_partial_state=True)
    options.side = "tuned"
    found["tuned"] = gpu.train_theirs(options, features)
    AcceleratorState._reset_state(reset_partial_state=True)
    for said in found.values():
        assert set(said) == {"examples_per_s", "tokens_per_s", "gb", "loss"}
        assert all(math.isfinite(value) and value > 0 for value in said.values())
        mean = said["tokens_per_s"] / said["examples_per_s"]
        assert features.lengths.min() <= mean <= features.lengths.max()
    assert found["hfkit"]["loss"] == pytest.approx(
        found["tuned"]["loss"], rel=0.25
    )  # ln of the choices, of which pads are some


def test_the_gpu_benchmark_needs_no_packages_but_torch_and_transformers() -> None:
    """A machine that is lent by the hour may have no others."""
    code = """
        import runpy, sys
        sys.modules.update(dict.fromkeys(("pydantic", "datasets", "pyarrow", "typer", "rich")))
        script = sys.argv[1]
        sys.path.insert(0, script.rpartition("/")[0])
        sys.argv = [script, "--tiny", "--cpu", "--shape", "bert-base", "--side", "hfkit"]
        runpy.run_path(script, run_name="__main__")
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code), str(FOLDER / "gpu.py")],
        env={**os.environ, "PYTHONPATH": str(FOLDER.parents[1])},
        capture_output=True, text=True, timeout=240, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.splitlines()[-1])["tokens_per_s"] > 0


def test_the_generating_benchmark_runs_all_jobs(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    sides = ["hfkit float32", "hfkit int8", "transformers float32"]
    words = ["--tiny", "--rounds", "1", "--jobs", "1", "mixed", "--sides", *sides]
    monkeypatch.setattr(sys, "argv", ["generating.py", *words])
    importlib.import_module("generating").main()
    shown = capsys.readouterr().out
    assert all(shown.count(f"\n{side}") == 2 for side in sides) and "bandwidth" in shown


@pytest.mark.parametrize("task", ["classify", "qa"])
def test_rows_of_the_memory_benchmark_are_known_to_its_model(task: str) -> None:
    from hfkit.models.vocabulary import unknown_share

    made = importlib.import_module("eval_memory")
    rows = list(made.rows(task, 100))
    texts = [str(row["context" if task == "qa" else "text"]) for row in rows]
    assert len(set(texts)) == len(rows)
    assert unknown_share(made.tiny_models.word_piece(), texts) == 0
