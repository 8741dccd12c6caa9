"""The Python contract: the example of the README, rows in memory, the same errors, and an import that is light."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import tiny_models

import hfkit

ROOT = Path(__file__).parents[1]
SMALL = {"qa.max_length": 64, "qa.stride": 16, "qa.max_question_length": 16, "train.max_steps": 2}
CONTEXT = "the small river runs behind the old mill and the mill stands still"


class Frame:
    """What hfkit asks of a DataFrame: to_dict("records"), missing values as NaN."""

    def __init__(self, rows: list[dict[str, Any]]) -> None:
        self.rows = rows

    def to_dict(self, form: str) -> list[dict[str, Any]]:
        assert form == "records"
        names = dict.fromkeys(name for row in self.rows for name in row)
        return [{name: row.get(name, float("nan")) for name in names} for row in self.rows]


def questions(count: int) -> list[dict[str, Any]]:
    answers = {"text": ["old mill"], "answer_start": [32]}
    return [
        {"id": str(n), "question": "who built the mill?", "context": CONTEXT + " the" * n, "answers": answers}
        for n in range(count)
    ]


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(tiny_models.save("bert", tmp_path_factory.mktemp("models") / "bert"))


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.delenv("HFKIT_RUNS", raising=False)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture(scope="module")
def trained(encoder: str, tmp_path_factory: pytest.TempPathFactory) -> hfkit.api.FinetunedRun:
    """One run for all tests, each of which works on a copy."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder := tmp_path_factory.mktemp("trained"))
        patch.delenv("HFKIT_RUNS", raising=False)
        patch.setenv("HFKIT_CACHE", str(tmp_path_factory.mktemp("cache")))
        made = hfkit.finetune("qa", train=questions(12), model=encoder, cpu=True, quiet=True, **SMALL)
    assert made.path.parent == folder / "runs" and made.result["run"] == str(made.path)
    return made


@pytest.fixture
def run(trained: hfkit.api.FinetunedRun, here: Path) -> hfkit.api.FinetunedRun:
    path = Path(shutil.copytree(trained.path, here / "runs" / trained.path.name))
    return hfkit.api.FinetunedRun(path, trained.metrics, trained.result)


def test_a_run_knows_its_metrics_predicts_and_is_evaluated(run, here):
    assert (run.path / "model" / "model.safetensors").exists() and set(run.metrics) == {"exact_match", "f1"}
    rows = [{"question": "who?", "context": CONTEXT}, {"question": "who built it?", "context": "the old mill"}]
    exact = {"train.precision": "float32"}
    answers = run.predict(rows, **exact)
    assert [answer["id"] for answer in answers] == ["0", "1"]
    assert all(row["context"][a["start"] : a["end"]] == a["prediction"] for row, a in zip(rows, answers, strict=True))
    assert hfkit.predict("last", rows[1], **exact)[0]["prediction"] == answers[1]["prediction"]
    scores = run.evaluate(questions(3), quiet=True)
    assert scores["rows"] == 3 and scores["run"] == str(run.path)
    predictions = Path(scores["output"]) / "predictions.jsonl"
    assert hfkit.score(predictions, data=questions(3), task="qa")["metrics"] == scores["metrics"]
    longer = hfkit.evaluate(run.path, questions(3), name="again", quiet=True, **{"qa.max_answer_length": 1})
    assert longer["output"].endswith("again")


def test_frames_and_keys(encoder, here):
    """A frame trains as its rows do; keys may be numpy numbers, paths and None."""
    import numpy as np

    rows = [{"text": f"the old mill {'the ' * n}", "label": ("good", "bad")[n % 2]} for n in range(12)]
    keys = {"train.max_steps": np.int64(1), "train.patience": None, "train.lr": np.float32(0.001)}
    run = hfkit.finetune(
        "classify", train=Frame(rows), validation=rows[:4], model=Path(encoder), cpu=True, quiet=True, **keys
    )
    recipe = (run.path / "recipe.yaml").read_text(encoding="utf-8")
    assert "max_steps: 1" in recipe and "patience: null" in recipe
    found = hfkit.predict(run.path, Frame([{"text": "the river", "label": "unknown"}]))
    assert set(found[0]["probabilities"]) == {"bad", "good"}


def test_generate_gives_completions(here):
    folder = tiny_models.save("gpt2", here / "gpt2", "AutoModelForCausalLM")
    found = hfkit.generate(folder, "the old", cpu=True, **{"generate.max_new_tokens": 3, "generate.temperature": 0})
    assert [row["prompt"] for row in found] == ["the old"] and found[0]["completion"] == found[0]["prediction"]


def test_generate_takes_rows_with_a_template_and_writes_files(here):
    folder = tiny_models.save("gpt2", here / "gpt2", "AutoModelForCausalLM")
    keys = {"generate.max_new_tokens": 3, "generate.temperature": 0, "generate.template": "Q: {who}\nA: {n}"}
    found = hfkit.generate(folder, [{"who": "the boat", "n": 3}], cpu=True, **keys)
    assert found[0]["prompt"] == "Q: the boat\nA: 3"
    options = {"prompts_file": [{"who": "the boat", "n": 3}], "output": here / "texts.jsonl", "resume": True}
    assert hfkit.generate(folder, None, cpu=True, **options, **keys) == []
    assert json.loads((here / "texts.jsonl").read_text(encoding="utf-8")) == found[0]


def test_a_run_says_what_it_was_made_of_and_what_autos_became(run, encoder):
    facts = json.loads((run.path / "run.json").read_text(encoding="utf-8"))
    weights = (Path(encoder) / "model.safetensors").read_bytes()
    assert facts["model_sha256"] == hashlib.sha256(weights).hexdigest()
    assert (facts["status"], facts["exit_code"], facts["world"], facts["seed"]) == ("done", 0, 1, 42)
    assert facts["devices"].startswith("cpu") and facts["best"]["metrics"] == run.metrics
    assert {"train.lr", "train.precision", "train.micro_batch_size", "qa.scorer"} <= set(facts["resolved"])
    logged = [json.loads(line)["kind"] for line in (run.path / "events.jsonl").read_text(encoding="utf-8").splitlines()]
    assert {"note", "resolved", "plan", "step", "scored", "saved"} <= set(logged)


def test_keys_of_generate_in_a_recipe_go_with_the_model(here):
    folder = tiny_models.save("gpt2", here / "gpt2", "AutoModelForCausalLM")
    keys = {"train.max_steps": 1, "lm.block_size": 16, "generate.max_new_tokens": 3, "generate.temperature": 0}
    rows = [{"text": CONTEXT + " the" * n} for n in range(8)]
    hfkit.finetune("lm", train=rows, model=folder, cpu=True, quiet=True, **keys)
    assert hfkit.generate("last", "the old", cpu=True)[0]["tokens"] <= 3
    assert hfkit.generate("last", "the old", cpu=True, **{"generate.max_new_tokens": 1})[0]["tokens"] == 1


def test_a_recipe_keeps_the_run_that_last_means(run, capsys):
    more = hfkit.finetune("qa", train=questions(6), model="last", cpu=True, **SMALL, **{"generate.top_k": 3})
    assert f"model: {run.path}\n" in (more.path / "recipe.yaml").read_text(encoding="utf-8")
    assert "generate.top_k has no effect" in capsys.readouterr().err


def test_a_bug_in_a_child_process_is_not_taken_for_a_stop():
    from hfkit.errors import error_of

    assert type(error_of(code=1, message="x", kind="bug")) is hfkit.HfkitError
    assert error_of(code=75, message="x", kind="stopped").code == 75


def test_data_is_checked_and_repaired(here):
    """Failures are told, not raised; what the verb cannot do is raised as everywhere."""
    rows = [
        {"id": str(n), "premise": f"A mill turns {n} times.", "hypothesis": "It turns.", "label": n % 3}
        for n in range(30)
    ]
    clean = hfkit.check(Frame(rows), task="nli")
    assert clean["ok"] and not clean["failures"] and clean["counts"]["labels"] == {"0": 10, "1": 10, "2": 10}
    rows[3]["hypothesis"] = None
    (here / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    found = hfkit.check(here / "rows.jsonl", task="nli", fix=here / "good.jsonl")
    assert not found["ok"]
    assert [(fault["code"], list(fault["ids"])) for fault in found["failures"]] == [("null_text", ["3"])]
    assert len((here / "good.jsonl").read_text(encoding="utf-8").splitlines()) == 29
    with pytest.raises(hfkit.UsageError, match="did you mean"):
        hfkit.check(rows, task="nli", **{"nli.lables": None})
    with pytest.raises(hfkit.DataError):
        hfkit.check("nothing.json", task="nli")


def test_a_recipe_is_made_from_rows_files_and_scripts(encoder, here):
    made = hfkit.init(questions(12), output=here / "own.yaml", **{"train.max_steps": 1})
    assert made["task"] == "qa" and (here / "own.yaml").read_text(encoding="utf-8") == made["recipe"]
    run = hfkit.finetune(here / "own.yaml", model=encoder, cpu=True, quiet=True, **SMALL)
    assert "f1" in run.metrics
    script = hfkit.init(script="python run_qa.py --model_name_or_path bert-base-uncased --dataset_name squad")
    assert "task: qa" in script["recipe"] and script["path"] is None
    with pytest.raises(hfkit.UsageError, match="there already"):
        hfkit.init(questions(12), output=here / "own.yaml")
    with pytest.raises(hfkit.UsageError, match="no data is named"):
        hfkit.init()


def test_runs_are_listed_noted_compared_and_repeated(run, here):
    assert [one["path"] for one in hfkit.list_runs()] == [str(run.path)]
    assert hfkit.note_run(run, "the first", public=0.5)["public"] == 0.5
    assert hfkit.show_run("last")["run"]["notes"] and hfkit.list_runs(noted=True)
    again = hfkit.rerun(run, output=here / "again", cpu=True, quiet=True)
    assert again["same"] == {"weights": True, "metrics": True} and again["run"] == str(here / "again")
    assert hfkit.diff_runs(run, here / "again")["recipe"] == {}


def test_a_sweep_and_a_submission(encoder, here):
    rows = [{"id": f"r{n}", "text": f"the old mill {'the ' * n}", "label": ("good", "bad")[n % 2]} for n in range(12)]
    found = hfkit.sweep(
        "classify", {"train.lr": [1e-3, 1e-5]}, train=rows, validation=rows[:4], model=encoder, noise_seeds=0,
        output=here / "sweep", cpu=True, quiet=True, **{"train.max_steps": 1},
    )  # fmt: skip
    assert [trial["state"] for trial in found["trials"]] == ["done"] * 2 and Path(found["winner"]).exists()
    with pytest.raises(hfkit.UsageError, match="is one value"):
        hfkit.sweep("classify", {"train.lr": "0.1"}, train=rows, model=encoder)
    with pytest.raises(hfkit.UsageError, match="two spellings of one key"):
        hfkit.sweep("classify", {"max_length": [8, 16]}, train=rows, model=encoder, **{"classify.max_length": 12})
    (here / "sample.csv").write_text("id,label\nr0,good\nr1,bad\n", encoding="utf-8")
    made = hfkit.submission(
        found["best"]["run"], test=rows[:2], sample=here / "sample.csv", output=here / "out.csv", cpu=True
    )
    assert made["rows"] == 2 and (here / "out.csv").read_text(encoding="utf-8").startswith("id,label\nr0,")


def test_errors_are_those_of_the_commands(encoder, here):
    with pytest.raises(hfkit.UsageError, match="did you mean"):
        hfkit.finetune("qa", train=questions(4), model=encoder, cpu=True, quiet=True, **{"train.lrr": 1})
    with pytest.raises(hfkit.DataError):
        hfkit.finetune("qa", train="nothing.json", model=encoder, cpu=True, quiet=True)
    with pytest.raises(hfkit.ModelError):
        hfkit.predict("nothing-here", questions(1))
    with pytest.raises(hfkit.HfkitError):
        hfkit.score("nothing.jsonl", data=questions(1), task="qa")
    for name in (
        "UsageError",
        "DataError",
        "ModelError",
        "ResourceError",
        "DivergenceError",
        "NetworkError",
        "Stopped",
    ):
        assert issubclass(getattr(hfkit, name), hfkit.HfkitError)
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = hfkit.nothing


def test_work_in_child_processes_is_a_command(encoder, here):
    """With several GPUs finetune is a subprocess; here that path is taken on CPU, with its result and its error."""
    from hfkit.api.children import in_children

    (here / "train.jsonl").write_text("".join(json.dumps(row) + "\n" for row in questions(8)), encoding="utf-8")
    keys = [f"model={json.dumps(encoder)}", 'data.train="train.jsonl"', *(f"{k}={v}" for k, v in SMALL.items())]
    options = {"resume": False, "overwrite": False, "cpu": True, "offline": True}
    result = in_children(["finetune", "qa", *keys], here / "out", options, quiet=True)
    assert result["run"] == str(here / "out") and result["command"] == "finetune"
    with pytest.raises(hfkit.UsageError, match="did you mean"):
        in_children(["finetune", "qa", "train.lrr=1"], None, options, quiet=True)


def test_a_dry_run_holds_the_plan_and_several_processes_are_children(encoder, here, monkeypatch):
    from hfkit.api import children

    given = {"train": questions(8), "model": encoder, "cpu": True, "quiet": True, "dry_run": True, **SMALL}
    plan = hfkit.finetune("qa", processes=1, **given)
    assert plan.path is None and plan.result["plan"]["task"] == "qa" and plan.result["world"] == 1
    assert not (here / "runs").exists()
    with pytest.raises(hfkit.UsageError, match="no model"):
        plan.predict(questions(1))
    seen = []
    monkeypatch.setattr(
        children.subprocess, "run", lambda command, **_: seen.append(command) or pytest.fail("enough was seen")
    )
    with pytest.raises(pytest.fail.Exception):
        hfkit.finetune("qa", processes=2, **given)
    assert {"--dry-run", "--cpu", "--json"} <= set(seen[0]) and seen[0][seen[0].index("--processes") + 1] == "2"
    with pytest.raises(hfkit.UsageError, match="at least 1"):
        hfkit.finetune("qa", processes=0, **given)


def test_how_a_model_is_found_is_a_key(encoder, here):
    with pytest.raises(hfkit.UsageError, match="not a Hub model"):
        hfkit.predict(encoder, questions(1), model_revision="main")
    with pytest.raises(hfkit.UsageError, match="convert"):
        hfkit.generate(encoder, "the", convert="perhaps")


def test_import_is_light():
    code = """
import sys, hfkit
assert "evaluate" in dir(hfkit) and callable(hfkit.evaluate) and issubclass(hfkit.DataError, hfkit.HfkitError)
heavy = ("torch", "transformers", "datasets", "accelerate", "pandas", "pyarrow", "numpy", "pydantic", "rich", "typer")
print([name for name in heavy if name in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("readme", ["README.md", "README.zh.md"])
def test_the_example_of_the_readme_runs(readme, encoder, here, capsys, monkeypatch):
    """As written, but for a tiny model and few steps."""
    examples = re.findall(
        r"^```python\n(.*?)^```", (ROOT / readme).read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE
    )
    if not examples:
        assert readme != "README.md"
        pytest.skip("it has no example in Python")
    (here / "my_train.json").write_text(json.dumps(questions(12)), encoding="utf-8")
    original = hfkit.finetune
    small = {**SMALL, "cpu": True, "quiet": True}
    monkeypatch.setattr(hfkit, "finetune", lambda *a, **keys: original(*a, **{**keys, **small, "model": encoder}))
    for example in examples:
        exec(compile(example, readme, "exec"), {})
    assert "exact_match" in capsys.readouterr().out
