"""`init --from`: command lines of example scripts as recipes, with the scripts' own defaults."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from hfkit.cli import main
from hfkit.cli.parse import parse as parse_command
from hfkit.errors import UsageError
from hfkit.recipe.load import as_dict, build
from hfkit.recipe.yaml import parse
from hfkit.verbs.init.script import translate
from hfkit.verbs.init.text import recipe_text


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


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


def test_run_translation() -> None:
    set_keys, _, made = translated(
        "python run_translation.py --model_name_or_path google-t5/t5-small --do_train --source_lang en "
        "--target_lang ro --source_prefix 'translate English to Romanian: ' --dataset_name wmt16 --dataset_config_name "
        "ro-en --predict_with_generate --num_beams 4"
    )
    assert set_keys["data"] == {
        "train": "wmt/wmt16@ro-en",
        "columns": {"source": "translation.en", "target": "translation.ro"},
    }
    assert set_keys["seq2seq"] == {
        "max_source_length": 1024,
        "max_target_length": 128,
        "label_smoothing": 0,  # the script's default, not ours
        "source_prefix": "translate English to Romanian: ",
    }
    assert set_keys["train"]["metric"] == "bleu"
    assert [line.split(":")[0] for line in made.left_out] == ["--predict_with_generate", "--num_beams 4"]
    set_keys, _, made = translated(
        "python run_translation_no_trainer.py --model_name_or_path facebook/mbart-large-cc25 --train_file a.jsonl "
        "--source_lang en_XX --target_lang ro_RO --label_smoothing_factor 0.1 --max_length 64"
    )
    assert set_keys["data"]["columns"] == {"source": "translation.en", "target": "translation.ro"}
    assert set_keys["seq2seq"]["label_smoothing"] == 0.1
    assert (set_keys["seq2seq"]["source_language"], set_keys["seq2seq"]["target_language"]) == ("en_XX", "ro_RO")
    assert made.left_out == ["--max_length 64: has no counterpart here"]


def test_run_summarization() -> None:
    set_keys, _, _ = translated(
        "python run_summarization.py --model_name_or_path facebook/bart-base --dataset_name cnn_dailymail "
        "--dataset_config_name 3.0.0 --text_column article --summary_column highlights --max_source_length 512 "
        "--metric_for_best_model eval_rougeL"
    )
    assert set_keys["data"]["train"] == "abisee/cnn_dailymail@3.0.0"
    assert set_keys["data"]["columns"] == {"source": "article", "target": "highlights"}
    assert (set_keys["seq2seq"]["max_source_length"], set_keys["train"]["metric"]) == (512, "rouge_l")


def test_run_seq2seq_qa() -> None:
    set_keys, _, _ = translated(
        "python run_seq2seq_qa.py --model_name_or_path t5-small --dataset_name squad_v2 --version_2_with_negative "
        "--max_seq_length 256 --doc_stride 64"
    )
    assert set_keys["task"] == "qa-generation"
    assert set_keys["qa-generation"] == {
        "max_source_length": 256,
        "stride": 64,
        "max_target_length": 30,
        "label_smoothing": 0,
        "scorer": "squad2",
    }


def test_run_mlm() -> None:
    set_keys, _, made = translated("python run_mlm.py --model_type bert --train_file a.txt --mlm_probability 0.15")
    assert (set_keys["model"], set_keys["lm"]) == ("scratch:bert-mini", {"objective": "masked", "block_size": "auto"})
    assert made.left_out == []
    set_keys, _, made = translated(
        "python run_mlm_wwm.py --model_name_or_path bert-base-cased --train_file a.txt --mlm_probability 0.3 "
        "--max_seq_length 128 --line_by_line"
    )
    assert set_keys["lm"] == {"objective": "masked", "whole_word": True, "block_size": 128}
    assert [line.split(":")[0] for line in made.left_out] == ["--mlm_probability 0.3", "--line_by_line"]


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
        ("python run_swag.py --train_file a.csv", "multiple choice"),
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


@pytest.mark.parametrize(
    "flag", ["--max_steps $STEPS", "--per_device_train_batch_size $BS", "--validation_split_percentage 5%",
             "--warmup_steps x", "--eval_steps y", "--save_steps z", "--learning_rate"],
)  # fmt: skip
def test_a_flag_that_is_no_number_is_named(flag: str) -> None:
    with pytest.raises(UsageError, match=f"--from: {flag.split()[0]} is .*, not a number"):
        translate(f"python run_clm.py --train_file a.txt {flag}")
