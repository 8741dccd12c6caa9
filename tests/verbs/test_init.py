"""`init`: the task, columns, target, lengths, metric and folds that data ask for, and scripts' command lines."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from faulty_data import jsonl, sound

from hfkit.cli import main
from hfkit.cli.parse import parse as parse_command
from hfkit.errors import DataError, UsageError
from hfkit.recipe.load import as_dict, build
from hfkit.recipe.yaml import parse
from hfkit.verbs.init import init
from hfkit.verbs.init.script import translate
from hfkit.verbs.init.text import recipe_text

ROOT = Path(__file__).resolve().parents[2]
LONG = "a text that is long enough to be one"


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def table(name: str, columns: str, *rows: str) -> str:
    Path(name).write_text("\n".join([columns, *rows]) + "\n", encoding="utf-8")
    return name


def recipe_of(finish: Any, data: str | None, **options: Any) -> tuple[dict[str, Any], dict[str, Any], str]:
    """(keys that the recipe sets, all keys, its text); the recipe must load."""
    result, _ = finish(init(data, **options))
    text = result["recipe"]
    return parse(text), as_dict(build(parse(text))), text


def test_questions(finish: Any) -> None:
    Path("q.jsonl").write_text(jsonl(sound("qa")), encoding="utf-8")
    _, values, text = recipe_of(finish, "q.jsonl")
    assert (values["task"], values["model"], values["data"]["train"]) == ("qa", "starter", "q.jsonl")
    assert values["qa"]["scorer"] == "squad"
    assert values["qa"]["max_length"] == 64  # 24 and 6 words
    assert values["qa"]["stride"] < values["qa"]["max_length"] // 2
    assert "rows of one context together" in text
    assert text.startswith("# hfkit finetune recipe.yaml\n")
    rows = sound("qa")
    rows[5]["answers"] = {"text": [], "answer_start": []}
    Path("q2.jsonl").write_text(jsonl(rows), encoding="utf-8")
    assert recipe_of(finish, "q2.jsonl")[0]["qa"]["scorer"] == "squad2"


def test_pairs_by_words_by_numbers_and_chinese(finish: Any) -> None:
    Path("n.jsonl").write_text(jsonl(sound("nli")), encoding="utf-8")
    assert recipe_of(finish, "n.jsonl")[0]["task"] == "nli"
    rows = [f"{LONG} {number},{LONG},{number % 3}" for number in range(30)]
    set_keys, _, _ = recipe_of(finish, table("p.csv", "premise,hypothesis,label", *rows))
    assert set_keys["nli"]["labels"] == {"0": "entailment", "1": "neutral", "2": "contradiction"}
    same = [f"{LONG} {number},{LONG},{number % 2}" for number in range(30)]
    set_keys, _, _ = recipe_of(finish, table("s.csv", "sentence1,sentence2,label", *same))
    assert set_keys["task"] == "classify"  # 0 and 1 of two sentences may be anything
    words = ("蕴含", "中立", "矛盾")
    chinese = [f"现在我代表国务院向大会报告政府工作{number},政府工作很好,{words[number % 3]}" for number in range(30)]
    set_keys, _, _ = recipe_of(finish, table("z.csv", "sentence1,sentence2,label", *chinese))
    assert (set_keys["task"], set_keys["model"]) == ("nli", "google-bert/bert-base-chinese")


def test_a_competition(finish: Any) -> None:
    """Odd column names: the target is what test lacks, ids and metric are what the sample asks for."""
    rows = [f"{number},{LONG} {number},u{number % 5},{int(number % 8 == 0)}" for number in range(400)]
    train = table("train.csv", "ref,body,author,flagged", *rows)
    test = table("test.csv", "ref,body,author", f"900,{LONG},u1")
    sample = table("sample.csv", "ref,flagged", "900,0.5")
    set_keys, values, text = recipe_of(finish, train, test=test, sample=Path(sample))
    assert set_keys["data"]["columns"] == {"label": "flagged", "text": "body", "id": "ref"}
    assert (values["data"]["folds"], values["data"]["fold"]) == (5, 0)
    assert (values["classify"]["target"], values["train"]["metric"]) == ("single", "roc_auc")
    set_keys, values, text = recipe_of(finish, train, test=test)
    assert values["train"]["metric"] == "macro_f1"
    assert "labels are uneven" in text


@pytest.mark.parametrize(
    ("columns", "cells", "sample", "target", "metric"),
    [
        ("toxic,threat", lambda n: f"{n % 2},{n % 3 == 0:d}", "id,toxic,threat\n1,0.5,0.5", "multi", "log_loss"),
        ("depth,width", lambda n: f"{n}.5,{n}.25", "id,depth,width\n1,0.5,0.5", "regression", "mcrmse"),
        ("score", lambda n: f"{n}.5", None, "regression", "rmse"),
        ("score", str, "id,score\n1,0.5", "regression", "rmse"),
        ("category", lambda n: f"c{n % 7}", None, "single", "accuracy"),
    ],
)
def test_targets(columns: str, cells: Any, sample: str | None, target: str, metric: str, finish: Any) -> None:
    rows = [f"{number},{LONG} {number},{cells(number)}" for number in range(60)]
    path = None
    if sample:
        path = Path("sample.csv")
        path.write_text(sample + "\n", encoding="utf-8")
    _, values, _ = recipe_of(finish, table("t.csv", f"id,text,{columns}", *rows), sample=path)
    assert (values["classify"]["target"], values["train"]["metric"]) == (target, metric)


def test_running_text_and_a_folder_with_its_own_validation(finish: Any) -> None:
    Path("novel.txt").write_text(f"{LONG}\n" * 50, encoding="utf-8")
    set_keys, _, _ = recipe_of(finish, "novel.txt")
    assert (set_keys["task"], set_keys["model"]) == ("lm", "scratch:gpt2-mini")
    Path("set").mkdir()
    for name in ("train", "validation"):
        Path("set", f"{name}.jsonl").write_text(jsonl(sound("nli")[:60]), encoding="utf-8")
    set_keys, _, text = recipe_of(finish, "set")
    assert set(set_keys["data"]) == {"train"}
    assert "Validation is the set's own." in text


def test_what_is_given_wins_and_what_is_not_plain_is_refused(finish: Any) -> None:
    rows = [f"{LONG} {number},a{number % 3},b{number % 4}" for number in range(60)]
    data = table("odd.csv", "wording,kind,group", *rows)
    with pytest.raises(DataError, match="no task is plain"):
        finish(init(data))
    given = ["data.columns.label=kind", "train.lr=1e-4", "model=distilroberta-base"]
    set_keys, values, _ = recipe_of(finish, data, overrides=given)
    assert set_keys["data"]["columns"] == {"label": "kind", "text": "wording"}
    assert (values["train"]["lr"], values["model"]) == (1e-4, "distilroberta-base")
    with pytest.raises(UsageError, match="no data is named"):
        finish(init(None))
    with pytest.raises(UsageError, match="unknown key"):
        finish(init(data, overrides=["data.columns.label=kind", "train.nosuch=1"]))


def test_the_file_is_written_once(capsys: Any) -> None:
    Path("n.jsonl").write_text(jsonl(sound("nli")), encoding="utf-8")
    assert main(["init", "n.jsonl"]) == 0
    shown = capsys.readouterr()
    assert "task: nli" in shown.out
    assert "hfkit init n.jsonl -o recipe.yaml" in shown.err
    assert main(["init", "n.jsonl", "-o", "mine.yaml", "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert Path("mine.yaml").read_text(encoding="utf-8") == result["recipe"]
    assert result["commands"] == ["hfkit finetune mine.yaml"]
    assert main(["init", "n.jsonl", "-o", "mine.yaml"]) == 2
    assert main(["init", "n.jsonl", "-o", "mine.txt"]) == 2


def test_it_takes_under_two_seconds_and_no_torch(tmp_path: Path) -> None:
    Path("n.jsonl").write_text(jsonl(sound("nli")), encoding="utf-8")
    program = (
        "import sys, time; from hfkit.cli import main; assert main(['init', 'n.jsonl']) == 0\n"
        "assert not {'torch', 'transformers', 'datasets'} & set(sys.modules)\n"
        "assert time.process_time() < 2, time.process_time()"
    )
    started = time.monotonic()
    subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, env={"PYTHONPATH": str(ROOT)})
    assert time.monotonic() - started < 60  # on a busy machine; the work itself is held to 2 s of a core


# ---- command lines

QA = (
    "torchrun --nproc_per_node=2 examples/pytorch/question-answering/run_qa.py --model_name_or_path bert-base-uncased "
    "--dataset_name squad_v2 --version_2_with_negative --do_train --do_eval --per_device_train_batch_size 12 "
    "--gradient_accumulation_steps 2 --learning_rate 3e-5 --num_train_epochs 2 --max_seq_length 384 --doc_stride 128 "
    "--warmup_ratio 0.1 --fp16 --output_dir /tmp/debug_squad --overwrite_output_dir --dataloader_num_workers 4"
)


def translated(command: str) -> tuple[dict[str, Any], dict[str, Any], Any]:
    made = translate(command)
    text = recipe_text(made, "recipe.yaml", ())
    for line in made.commands("recipe.yaml"):
        parse_command(line.split()[1:])
    return parse(text), as_dict(build(parse(text))), made


def test_run_qa() -> None:
    set_keys, _, made = translated(QA)
    assert (set_keys["task"], set_keys["model"]) == ("qa", "bert-base-uncased")
    assert set_keys["data"] == {"train": "rajpurkar/squad_v2"}
    assert set_keys["qa"] == {
        "max_length": 384,
        "stride": 128,
        "max_answer_length": 30,
        "n_best": 20,
        "scorer": "squad2",
    }
    train = set_keys["train"]
    assert (train["batch_size"], train["micro_batch_size"]) == (48, 12)
    assert (train["lr"], train["epochs"], train["warmup"], train["precision"]) == (3e-5, 2, 0.1, "float16")
    assert train["weight_decay"] == 0  # the script's default, not ours
    assert made.commands("r.yaml") == ["hfkit finetune r.yaml --processes 2 -o /tmp/debug_squad --overwrite"]
    assert made.left_out == ["--dataloader_num_workers 4: tokenised data is read from a cache"]


def test_run_glue() -> None:
    set_keys, _, _ = translated("python run_glue.py --model_name_or_path bert-base-cased --task_name mnli --do_train")
    assert set_keys["task"] == "nli"
    assert set_keys["data"] == {"train": "nyu-mll/glue@mnli", "validation": "nyu-mll/glue@mnli:validation_matched"}
    assert set_keys["nli"] == {"max_length": 128}
    assert (set_keys["train"]["batch_size"], set_keys["train"]["epochs"]) == (8, 3)
    set_keys, _, _ = translated(
        "python run_glue.py --task_name stsb --model_name_or_path roberta-base --do_train --bf16"
    )
    assert set_keys["classify"]["target"] == "regression"
    assert (set_keys["train"]["metric"], set_keys["train"]["precision"]) == ("pearson", "bfloat16")
    set_keys, _, made = translated(
        "accelerate launch --num_processes 4 run_glue_no_trainer.py --train_file 'my train.csv' "
        "--validation_file d.csv --max_length 256 --num_warmup_steps 100 --lr_scheduler_type polynomial "
        "--test_file t.csv --do_predict"
    )
    assert set_keys["data"] == {"train": "my train.csv", "validation": "d.csv"}
    assert set_keys["classify"] == {"max_length": 256}
    assert set_keys["train"]["warmup"] == 100
    assert any("polynomial" in line for line in made.left_out)
    assert made.commands("r.yaml")[1] == "hfkit predict last --data t.csv -o predictions.jsonl"


def test_run_clm() -> None:
    set_keys, _, _ = translated(
        "python run_clm.py --model_name_or_path gpt2 --dataset_name wikitext --dataset_config_name wikitext-2-raw-v1 "
        "--block_size=512 --max_steps 100 --eval_strategy steps --eval_steps 50 --save_steps=200 --seed 7"
    )
    assert set_keys["data"] == {"train": "Salesforce/wikitext@wikitext-2-raw-v1", "validation_share": 0.05}
    assert set_keys["lm"] == {"block_size": 512}
    train = set_keys["train"]
    assert (train["max_steps"], train["eval_steps"], train["save_steps"], train["seed"]) == (100, 50, 200, 7)
    assert "epochs" not in train


def test_older_names_and_other_launchers() -> None:
    set_keys, _, made = translated(
        "accelerate launch --mixed_precision bf16 --nnodes 2 run_squad.py --model_name_or_path bert-base-uncased "
        "--train_file t.json --predict_file d.json --per_gpu_train_batch_size 3 --max_query_length 48 --do_lower_case"
    )
    assert set_keys["data"] == {"train": "t.json", "validation": "d.json"}
    assert (set_keys["train"]["batch_size"], set_keys["train"]["precision"]) == (3, "bfloat16")
    assert set_keys["qa"]["max_question_length"] == 48
    assert [line.split(":")[0] for line in made.left_out] == ["--nnodes 2", "--do_lower_case"]
    set_keys, _, _ = translated(
        "python run_xnli.py --model_name_or_path xlm-roberta-base --language de --train_language en"
    )
    assert set_keys["data"] == {"train": "facebook/xnli@en", "validation": "facebook/xnli@de:validation"}


@pytest.mark.parametrize(
    ("command", "says"),
    [
        ("python run_mlm.py --train_file a.txt", "masked"),
        ("python my_script.py", "not a script that hfkit replaces"),
        ("bash train.sh", "no script"),
        ("python run_qa.py 'unclosed", "not a command line"),
    ],
)
def test_commands_that_cannot_be_translated(command: str, says: str) -> None:
    with pytest.raises(UsageError, match=says):
        translate(command)


def test_a_command_line_as_typed(capsys: Any) -> None:
    assert main(["init", "--from", QA, "-o", "squad.yaml"]) == 0
    shown = capsys.readouterr()
    assert "warning: --dataloader_num_workers 4" in shown.err
    assert "hfkit finetune squad.yaml --processes 2 -o /tmp/debug_squad --overwrite" in shown.err
    assert parse(Path("squad.yaml").read_text(encoding="utf-8"))["task"] == "qa"
    assert main(["init", "data.csv", "--from", QA]) == 2


@pytest.mark.shared_data
@pytest.mark.parametrize(
    ("name", "task", "metric"),
    [
        ("squad/train.json", "qa", "f1"), ("cmrc2018/dev.json", "qa", "f1"), ("snli", "nli", "accuracy"),
        ("ocnli", "nli", "accuracy"), ("banking77/train.csv", "classify", "accuracy"),
        ("sst2/train.tsv", "classify", "accuracy"), ("wikitext2/train.txt", "lm", "perplexity"),
    ],
)  # fmt: skip
def test_published_data(name: str, task: str, metric: str, shared: Path, finish: Any) -> None:
    _, values, _ = recipe_of(finish, str(shared / name))
    assert (values["task"], values["train"]["metric"]) == (task, metric)
