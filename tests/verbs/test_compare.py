"""compare: two systems on the same rows, from what eval kept or from files; seeds, slices, one plain sentence."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import hfkit
from hfkit.errors import DataError, UsageError
from hfkit.verbs.compare import compare
from hfkit.verbs.evaluate import evaluate


@pytest.fixture
def files(tmp_path: Path, runs: Path):
    """dev.jsonl of 200 questions on 50 contexts, and predictions: file(name, right) answers the first `right`."""
    rows = [
        {
            "id": f"q{n}",
            "question": "who sleeps?" if n % 2 else "what does Ada do?",
            "context": f"Ada {n // 4} sleeps",
            "answers": [{"text": "Ada", "answer_start": 0}],
        }
        for n in range(200)
    ]
    data = tmp_path / "dev.jsonl"
    data.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")

    def file(name: str, right) -> str:
        chosen = set(right)
        path = tmp_path / name
        path.write_text(json.dumps({f"q{n}": "Ada" if n in chosen else "sleeps" for n in range(200)}), encoding="utf-8")
        return str(path)

    return str(data), file


@pytest.fixture
def whole(runs: Path):
    """The runs 1-qa and 2-nli with a run.json, as a finished fine-tuning leaves one."""
    facts = [runs / name / "run.json" for name in ("1-qa", "2-nli")]
    for path in facts:
        path.write_text('{"status": "done"}', encoding="utf-8")
    yield runs
    for path in facts:
        path.unlink()


def test_a_clear_gain_is_no_noise(files, finish):
    data, file = files
    result, events = finish(compare(file("a.json", range(100)), file("b.json", range(150)), data=data, task="qa"))
    assert result["rows"] == 200 and result["differences"] == {"exact_match": 25.0, "f1": 25.0}
    low, high = result["ci95"]["f1"]
    assert 0 < low < 25 < high and result["p_value"]["f1"] < 0.01
    assert result["mcnemar"]["exact_match"]["second_only"] == 50 and result["mcnemar"]["exact_match"]["first_only"] == 0
    assert "b is better" in result["verdict"] and "50 contexts" in result["method"]
    words = result["slices"]["question word"]
    assert set(words) == {"who", "what"} and words["who"]["rows"] == 100
    assert np.mean([part["differences"]["f1"] for part in words.values()]) == pytest.approx(25)
    assert [e.kind for e in events][-1] == "result"


def test_a_small_difference_may_be_noise_and_none_is_none(files, finish):
    data, file = files
    one, other = file("a.json", range(100)), file("b.json", [*range(2, 103)])
    result, _ = finish(compare(one, other, data=data, task="qa"))
    assert result["ci95"]["f1"][0] <= 0 <= result["ci95"]["f1"][1] and "can be noise" in result["verdict"]
    same, _ = finish(compare(one, one, data=data, task="qa"))
    assert same["verdict"] == "a and b do not differ in f1"
    assert same["mcnemar"]["f1"]["p_value"] == 1


def test_seeds_are_a_mean_and_a_spread(files, finish):
    data, file = files
    seeds = ",".join(file(f"s{n}.json", range(80 + 20 * n)) for n in range(3))
    result, _ = finish(compare(seeds, file("b.json", range(110)), data=data, task="qa"))
    assert result["a"]["seeds"] == 3 and result["a"]["metrics"]["f1"] == 50
    assert result["a"]["spread"]["f1"] == pytest.approx(10) and result["a"]["each"]["f1"] == [40, 50, 60]
    assert result["differences"]["f1"] == pytest.approx(5) and "mcnemar" not in result
    clear, _ = finish(compare(seeds, file("c.json", range(116)), data=data, task="qa"))
    assert "noise" in clear["verdict"]


def test_the_mean_and_spread_of_a_hundred_seeds():
    """100 fine-tunings of BERT on MNLI: 84.34 ± 0.24 (McCoy, Min & Linzen 2020), here from rows of those counts."""
    from hfkit.tasks import task_class
    from hfkit.verbs.compare import side
    from hfkit.verbs.compared import System

    nli = task_class("nli")(task_class("nli").Settings())
    spread = np.random.default_rng(0).normal(size=100)
    shares = 0.8434 + 0.0024 * (spread - spread.mean()) / spread.std(ddof=1)
    rows = np.arange(9815)
    tables = [
        {"gold": np.zeros(9815), "predicted": (rows >= round(share * 9815)).astype(float)} for share in shares.tolist()
    ]
    found = side(nli, System("bert", []), tables)
    assert found["seeds"] == 100
    assert found["metrics"]["accuracy"] == pytest.approx(84.34, abs=0.005)
    assert found["spread"]["accuracy"] == pytest.approx(0.24, abs=0.005)


def test_runs_are_compared_from_what_eval_kept(whole, write, questions, finish):
    data = str(write("dev.jsonl", questions))
    first, _ = finish(evaluate("1-qa", data, name="one", cpu=True))
    result, _ = finish(compare("1-qa", first["output"]))
    assert result["differences"] == {"exact_match": 0.0, "f1": 0.0} and result["task"] == "qa"
    assert result["a"]["metrics"] == pytest.approx(first["metrics"])
    again, _ = finish(compare("1-qa", "1-qa", data=data))
    assert again["a"]["metrics"] == result["a"]["metrics"]
    finish(evaluate("1-qa", data, name="two", cpu=True))
    with pytest.raises(UsageError, match="not clear.*one, two"):
        finish(compare("1-qa", "1-qa"))
    (Path(first["output"]) / "columns.json").unlink()
    with pytest.raises(DataError, match="columns.json"):
        finish(compare(first["output"], first["output"]))


def test_what_cannot_be_compared(files, whole, finish, write, questions, pairs):
    data, file = files
    made = file("a.json", range(100))
    with pytest.raises(UsageError, match="do not say their task"):
        finish(compare(made, made, data=data))
    with pytest.raises(UsageError, match="holds no gold"):
        finish(compare(made, made))
    with pytest.raises(UsageError, match="no effect without --data"):
        finish(compare(made, made, task="qa"))
    with pytest.raises(UsageError, match="no run 'nowhere'"):
        finish(compare(made, "nowhere"))
    with pytest.raises(UsageError, match="empty name"):
        finish(compare(f"{made},", made))
    with pytest.raises(UsageError, match="no evaluation"):
        finish(compare("2-nli", "2-nli"))
    one, _ = finish(evaluate("1-qa", str(write("one.jsonl", questions)), name="one", cpu=True))
    two, _ = finish(evaluate("1-qa", str(write("two.jsonl", questions[:2])), name="two", cpu=True))
    with pytest.raises(DataError, match="not evaluated on the same rows.*1 rows are only in a"):
        finish(compare(one["output"], two["output"]))
    other, _ = finish(evaluate("2-nli", str(write("nli.jsonl", pairs)), name="nli", cpu=True))
    with pytest.raises(DataError, match="a is qa, b is nli"):
        finish(compare(one["output"], other["output"]))
    wrong = json.loads((Path(two["output"]) / "columns.json").read_text(encoding="utf-8"))
    wrong["columns"]["f1"] = [0.0]
    (Path(two["output"]) / "columns.json").write_text(json.dumps(wrong), encoding="utf-8")
    with pytest.raises(DataError, match="cannot be read"):
        finish(compare(two["output"], two["output"]))


def test_from_python(files):
    data, file = files
    a, b = file("a.json", range(100)), file("b.json", range(150))
    result = hfkit.compare(a, b, data=data, task="qa")
    assert result["differences"]["f1"] == 25
    assert hfkit.compare([a, b], [b], data=data, task="qa")["a"]["seeds"] == 2


def test_no_heavy_library_is_loaded(files):
    data, file = files
    code = f"""
import sys
for name in ("torch", "transformers", "accelerate", "datasets", "scipy"):
    sys.modules[name] = None
from hfkit.cli import main
arguments = ["compare", {file("a.json", range(100))!r}, {file("b.json", range(150))!r}, "--data", {data!r}]
assert main([*arguments, "--task", "qa", "--json"]) == 0
assert main([*arguments, "--task", "qa"]) == 0
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, encoding="utf-8", check=False)
    assert done.returncode == 0, done.stderr
    answer, *shown = done.stdout.splitlines()
    assert json.loads(answer)["ok"] and any("b is better" in line for line in shown)
