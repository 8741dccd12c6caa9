"""Mistakes at the command line: exit code, a short message with place and hint, nothing half-written."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from bad_input import checkpoints
from bad_input.case import CONTEXT, ESCAPES, GOOD, LABELS, QA, QAS, Case, jsonl, qa
from bad_input.data_cases import data_cases
from bad_input.fuzz import fuzz
from bad_input.generate_cases import generate_cases
from bad_input.model_cases import model_cases
from bad_input.perform import CONTROLS, judge, on_terminal, perform, perform_for_real, put, spawn, tree, words
from bad_input.score_cases import score_cases
from bad_input.table import REAL, TABLE, in_table
from bad_input.usage_cases import usage_cases

from hfkit.cli import main

CASES = [*data_cases(), *model_cases(), *usage_cases(), *generate_cases(), *score_cases()]


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    checkpoints.sound(folder)
    return folder


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Each case runs in an empty folder of its own."""
    folder = tmp_path / "here"
    folder.mkdir()
    monkeypatch.chdir(folder)
    for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK", "SLURM_NTASKS", "HFKIT_RUNS"):
        monkeypatch.delenv(name, raising=False)
    return folder


@pytest.mark.parametrize("line", TABLE)
def test_the_table_of_bad_input(line: str, models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number, case in enumerate(TABLE[line]):
        folder = tmp_path / "here" / str(number)
        folder.mkdir()
        monkeypatch.chdir(folder)
        perform(case, models, tmp_path)


@pytest.mark.parametrize("case", [case for case in CASES if case.name not in in_table()], ids=lambda case: case.name)
def test_a_mistake_is_named_and_leaves_nothing(case: Case, models: Path, tmp_path: Path) -> None:
    perform(case, models, tmp_path)


def test_every_line_of_the_table_is_there() -> None:
    assert list(TABLE) == [f"B{number:02}" for number in range(1, 71)]
    assert all(TABLE.values())
    assert len(REAL) == 10


def test_a_folder_that_may_not_be_changed(models: Path, elsewhere: Path, capsys: Any) -> None:
    put(GOOD)
    locked = elsewhere / "locked"
    locked.mkdir()
    if shutil.which("chattr") is None or subprocess.run(["chattr", "+i", locked], check=False).returncode:
        if os.geteuid() == 0:
            pytest.skip("no folder is closed to root here")
        locked.chmod(0o500)
    try:
        for command in (
            f"{QA} qa.jsonl -o locked/run".replace("-o out ", ""),
            "predict {qa} --cpu --data qa.jsonl -o locked/p",
        ):
            case = Case("locked", command, 5, "locked.*cannot be written")
            code = main([*words(case, models, elsewhere), "--json"])
            judge(case, code, *capsys.readouterr())
        assert not list(locked.iterdir())
    finally:
        subprocess.run(["chattr", "-i", locked], check=False, stderr=subprocess.DEVNULL)


def test_mutated_files_are_answered_or_refused(models: Path, elsewhere: Path) -> None:
    """A part of tests/drills/fuzz_files.py."""
    assert fuzz(200, models / "bytes", elsewhere) == []


@pytest.mark.parametrize("where", ["link", "link/run"])
def test_an_output_that_is_a_link_to_nothing(where: str, models: Path, elsewhere: Path, tmp_path: Path) -> None:
    (elsewhere / "link").symlink_to("nowhere")
    perform(
        Case("link", f"{QA} qa.jsonl -o {where}".replace("-o out ", ""), 5, "a link to nowhere", GOOD), models, tmp_path
    )


# ---- what looks like a mistake and is none


def answer(models: Path, command: str, capsys: Any, code: int = 0) -> tuple[dict[str, Any], str]:
    """The JSON of a command that works, and what it said."""
    found = main([*words(Case("", command, 0, ""), models, Path.cwd().parent), "--json"])
    captured = capsys.readouterr()
    assert found == code, captured.err
    return json.loads(captured.out.splitlines()[-1]), captured.err


def test_bad_rows_are_skipped_counted_and_listed_on_demand(models: Path, elsewhere: Path, capsys: Any) -> None:
    put({"data.jsonl": jsonl(qa(0)) + "oops\n" + jsonl(qa(1), 5), "train.jsonl": QAS + "oops\n", **GOOD})
    skip = "data.on_bad_row=skip"
    done, said = answer(models, f"predict {{qa}} --cpu --data data.jsonl {skip} -o out.jsonl", capsys)
    assert done["rows"] == 2
    assert "2 rows could not be read and were skipped: data.jsonl:2" in said
    listed = [json.loads(line) for line in Path("out.jsonl.rejected.jsonl").read_text(encoding="utf-8").splitlines()]
    assert [item["at"] for item in listed] == ["data.jsonl:2:1", "data.jsonl:4"]
    assert "not an object but a number" in listed[1]["problem"]
    answer(models, f"eval {{qa}} --cpu --data data.jsonl --name d {skip}", capsys)
    assert (elsewhere / "runs" / "eval-qa-d" / "rejected.jsonl").exists()
    answer(models, f"{QA} train.jsonl {skip}", capsys)
    assert "train.jsonl:13" in (elsewhere / "out" / "rejected.jsonl").read_text(encoding="utf-8")
    answer(models, "predict {qa} --cpu --data qa.jsonl -o whole.jsonl", capsys)
    assert not Path("whole.jsonl.rejected.jsonl").exists()


def test_a_long_question_is_cut_and_a_long_context_read_whole(models: Path, capsys: Any) -> None:
    long = "who built the mill? " * 400
    put({"data.jsonl": jsonl(qa(0, question=long), qa(1, context="the river " * 10_000), qa(2, context=""))})
    done, _ = answer(models, "predict {qa} --cpu --data data.jsonl", capsys)
    assert done["rows"] == 3
    for row, context in zip(done["predictions"], (qa(0)["context"], "the river " * 10_000, ""), strict=True):
        assert context[row["start"] : row["end"]] == row["prediction"]


def test_permuted_labels_give_the_same_named_predictions(models: Path, elsewhere: Path, capsys: Any) -> None:
    from safetensors.torch import load_file, save_file

    put(GOOD)
    turned = elsewhere.parent / "turned"
    shutil.copytree(models / "nli", turned)
    order = [2, 0, 1]
    weights = load_file(turned / "model.safetensors")
    for name in ("classifier.weight", "classifier.bias"):
        weights[name] = weights[name][order].contiguous()
    save_file(weights, turned / "model.safetensors", metadata={"format": "pt"})
    names = [LABELS[place] for place in order]
    checkpoints.edit(
        turned / "config.json",
        id2label={str(place): name for place, name in enumerate(names)},
        label2id={name: place for place, name in enumerate(names)},
    )
    first, _ = answer(models, "predict {nli} --cpu --data nli.jsonl", capsys)
    second, _ = answer(models, f"predict {turned} --cpu --data nli.jsonl", capsys)
    for one, two in zip(first["predictions"], second["predictions"], strict=True):
        assert one["prediction"] == two["prediction"]
        assert one["probabilities"] == pytest.approx(two["probabilities"], abs=1e-6)
    scores = [answer(models, f"eval {model} --cpu --data nli.jsonl", capsys)[0] for model in ("{nli}", turned)]
    assert scores[0]["metrics"]["accuracy"] == scores[1]["metrics"]["accuracy"]


def test_an_empty_prompt_and_a_full_context(models: Path, capsys: Any) -> None:
    put({"p.jsonl": jsonl({"prompt": ""}, {"prompt": "the river"})})
    done, _ = answer(models, "generate {gpt2} --cpu --prompts p.jsonl --max-new-tokens 500 --temperature 0", capsys)
    assert [row["prompt"] for row in done["predictions"]] == ["", "the river"]
    assert all(row["tokens"] <= 128 for row in done["predictions"])


def test_predictions_of_other_tools_need_no_probabilities(models: Path, capsys: Any) -> None:
    put({**GOOD, "p.csv": "id,prediction\n" + "".join(f"c{n},{('good', 'bad')[n % 2]}\n" for n in range(12))})
    done, _ = answer(models, "score p.csv --data text.jsonl --task classify", capsys)
    assert done["metrics"]["accuracy"] == 100
    put({"amounts.csv": "id,text,label\n1,a,0.5\n2,b,1.5\n3,c,4\n", "a.csv": "id,prediction\n1,0.5\n2,1.5\n3,4\n"})
    done, _ = answer(models, "score a.csv --data amounts.csv --task classify", capsys)
    assert done["metrics"]["rmse"] == 0


def test_escapes_in_texts_are_data_in_files_and_json(models: Path, capsys: Any) -> None:
    put({"data.jsonl": jsonl(qa(context=ESCAPES + CONTEXT * 30, id=ESCAPES))})
    done, said = answer(models, "predict {qa} --cpu --data data.jsonl", capsys)
    assert done["predictions"][0]["id"] == ESCAPES
    assert not re.search(CONTROLS, said)
    assert main([*words(Case("", "predict {qa} --cpu --data data.jsonl -o out.jsonl", 0, ""), models, Path())]) == 0
    assert not re.search(CONTROLS, "".join(capsys.readouterr()))


# ---- whole processes


SPY = """
import sys
from hfkit.cli import main
code = main(sys.argv[1:])
heavy = sorted({"torch", "datasets", "accelerate"} & set(sys.modules))
print("LOADED", *heavy, file=sys.stdout)
sys.exit(code)
"""
LIGHT = [
    "recipe_elsewhere_key", "missing_file", "broken_line", "wrong_columns", "one_class", "output_below_file",
    "model_folder", "model_cut", "score_number", "time", "eval_taken", "predict_taken",
]  # fmt: skip


def by_name(name: str) -> Case:
    return next(case for case in CASES if case.name == name)


@pytest.mark.parametrize("name", LIGHT)
def test_what_needs_no_model_is_said_before_torch_is_imported(
    name: str, models: Path, elsewhere: Path, tmp_path: Path
) -> None:
    case = by_name(name)
    put(case.files)
    before = tree(elsewhere)
    done = spawn(["-c", SPY, *words(case, models, tmp_path), "--json"], case.environment)
    *out, loaded = done.stdout.splitlines()
    assert loaded == "LOADED"
    judge(case, done.returncode, "\n".join(out), done.stderr)
    assert tree(elsewhere) == before


@pytest.mark.parametrize("line", REAL)
def test_a_line_of_the_table_as_a_real_command(line: str, models: Path, elsewhere: Path, tmp_path: Path) -> None:
    perform_for_real(TABLE[line][0], models, tmp_path)


def test_a_terminal_without_unicode_and_a_locale_of_c(models: Path) -> None:
    put({"数据.jsonl": jsonl(qa(0, question=None, id="问题"))})
    plain = {"LC_ALL": "C", "PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    done = spawn(["-m", "hfkit", "predict", str(models / "qa"), "--data", "数据.jsonl", "--json"], plain)
    assert done.returncode == 3
    assert "Traceback" not in done.stderr
    assert "问题" in json.loads(done.stdout)["error"]["message"]


def test_markup_and_escapes_do_not_reach_a_terminal(models: Path) -> None:
    pytest.importorskip("pty")
    put({"data.jsonl": "oops " + ESCAPES + "\n"})
    for arguments in (["predict", str(models / "qa"), "--data", "data.jsonl"], ["finetune", ESCAPES]):
        text = on_terminal(arguments)
        assert "[bold red]" in text
        assert not [raw for raw in ("\x07", "\x9b", "\x1b]0", "\x1b[31m[bold") if raw in text]
