"""Words and flags people bring from elsewhere, answered with our spelling; other typos get the nearest name."""

import difflib
import re
from collections.abc import Sequence

import typer

from hfkit.cli.commands import command_names
from hfkit.errors import UsageError

# a word from elsewhere -> the command to type, which parses as it stands
VERBS = {
    "train": "hfkit finetune qa",
    "fine-tune": "hfkit finetune qa",
    "fit": "hfkit finetune qa",
    "evaluate": "hfkit eval last --data D",
    "test": "hfkit eval last --data D",
    "validate": "hfkit eval last --data D",
    "infer": "hfkit predict last --data D",
    "inference": "hfkit predict last --data D",
    "ask": "hfkit predict last question=... context=...",
    "answer": "hfkit predict last question=... context=...",
    "classify": "hfkit predict last text=...",
    "submit": "hfkit submission last --test D --sample F -o FILE",
    "merge": "hfkit average RUN RUN -o DIR",
    "soup": "hfkit average RUN RUN -o DIR",
    "pack": "hfkit bundle last -o DIR",
    "package": "hfkit bundle last -o DIR",
    "export": "hfkit bundle last -o DIR",
    "chat": "hfkit generate last --interactive",
    "complete": "hfkit generate last PROMPT",
    "sample": "hfkit generate last PROMPT",
    "check": "hfkit data check D --task qa",
    "debug": "hfkit data check D --task qa",
    "inspect": "hfkit data show D --task qa",
    "hyperopt": "hfkit sweep classify train.lr=3e-5,1e-4",
    "tune": "hfkit sweep classify train.lr=3e-5,1e-4",
    "search": "hfkit sweep classify train.lr=3e-5,1e-4",
    "new": "hfkit init D",
    "diff": "hfkit compare A B",
    "mcnemar": "hfkit compare A B",
    "ls": "hfkit runs list",
    "list": "hfkit runs list",
    "env": "hfkit doctor",
    "info": "hfkit doctor",
    "version": "hfkit --version",
}
GROUP_WORDS = {
    "ls": "list",
    "cat": "show",
    "info": "show",
    "view": "show",
    "inspect": "show",
    "debug": "check",
    "validate": "check",
    "compare": "diff",
    "repeat": "rerun",
    "cp": "copy",
    "get": "copy",
}

# a flag from elsewhere, without dashes -> what to write here
FLAGS = {
    "learning_rate": "--lr X",
    "per_device_train_batch_size": "--batch-size N (examples per optimizer step, over all devices)",
    "per_gpu_train_batch_size": "--batch-size N (examples per optimizer step, over all devices)",
    "train_batch_size": "--batch-size N",
    "per_device_eval_batch_size": "--batch-size N of `hfkit eval last --data D`",
    "eval_batch_size": "--batch-size N of `hfkit eval last --data D`",
    "gradient_accumulation_steps": "train.micro_batch_size=N (examples at once; hfkit accumulates up to --batch-size)",
    "num_train_epochs": "--epochs N",
    "num_epochs": "--epochs N",
    "max_steps": "train.max_steps=N",
    "max_seq_length": "--max-length N",
    "max_seq_len": "--max-length N",
    "max_source_length": "--max-length N",
    "max_target_length": "seq2seq.max_target_length=N",
    "val_max_target_length": "seq2seq.max_target_length=N",
    "source_prefix": "seq2seq.source_prefix='translate English to German: '",
    "source_lang": "seq2seq.source_language=CODE",
    "target_lang": "seq2seq.target_language=CODE",
    "forced_bos_token": "seq2seq.target_language=CODE",
    "label_smoothing_factor": "seq2seq.label_smoothing=X",
    "predict_with_generate": "nothing: seq2seq is always scored from what is written",
    "num_beams": "generate.num_beams=N of `hfkit generate last PROMPT`",
    "block_size": "--max-length N",
    "doc_stride": "qa.stride=N (overlap of two windows, in tokens)",
    "max_query_length": "qa.max_question_length=N",
    "max_answer_length": "qa.max_answer_length=N",
    "n_best_size": "qa.n_best=N",
    "null_score_diff_threshold": "qa.null_threshold=X",
    "version_2_with_negative": "nothing: unanswerable questions are found in the data; qa.scorer=squad2 insists",
    "fp16": "train.precision=float16",
    "bf16": "train.precision=bfloat16",
    "mixed_precision": "train.precision=bfloat16",
    "model_name_or_path": "--model M",
    "model_name": "--model M",
    "tokenizer_name": "nothing: the tokenizer is the model's own",
    "output_dir": "-o DIR",
    "overwrite_output_dir": "--overwrite",
    "resume_from_checkpoint": "--resume",
    "do_train": "nothing: `hfkit finetune qa` trains and evaluates",
    "do_eval": "nothing: `hfkit finetune qa` evaluates too; `hfkit eval last --data D` evaluates alone",
    "do_predict": "`hfkit predict last --data D -o predictions.jsonl`",
    "train_file": "--train D",
    "validation_file": "--validation D",
    "eval_file": "--validation D",
    "test_file": "--data D of `hfkit eval last --data D`",
    "dataset_name": "--train owner/name",
    "dataset_config_name": "--train owner/name@config",
    "dataset": "--train D",
    "task_name": "the recipe's name, as in `hfkit finetune nli`",
    "max_train_samples": "--limit N",
    "max_eval_samples": "--limit N",
    "max_predict_samples": "--limit N",
    "warmup_ratio": "train.warmup=0.06 (below 1: a share of the steps)",
    "warmup_steps": "train.warmup=N (1 or more: a number of steps)",
    "warmup_proportion": "train.warmup=0.06 (below 1: a share of the steps)",
    "lr_scheduler_type": "train.schedule=linear",
    "weight_decay": "train.weight_decay=X",
    "max_grad_norm": "train.max_grad_norm=X",
    "eval_steps": "train.eval_steps=N",
    "eval_strategy": "train.eval_steps=N",
    "evaluation_strategy": "train.eval_steps=N",
    "save_steps": "train.save_steps=N",
    "save_strategy": "train.save_steps=N",
    "save_total_limit": "train.keep_checkpoints=N",
    "load_best_model_at_end": "nothing: the best weights are always the ones kept",
    "metric_for_best_model": "--metric NAME",
    "early_stopping_patience": "train.patience=N",
    "report_to": "train.trackers=[tensorboard]",
    "logging_steps": "nothing: steps are shown as they come",
    "logging_dir": "nothing: the log is events.jsonl in the run folder",
    "no_cuda": "--cpu",
    "use_cpu": "--cpu",
    "device": "--cpu, or nothing: a GPU is used when there is one",
    "nproc_per_node": "--processes N",
    "num_processes": "--processes N",
    "num_workers": "nothing: tokenised data is read from a cache",
    "dataloader_num_workers": "nothing: tokenised data is read from a cache",
    "cache_dir": "the environment variable HFKIT_CACHE",
    "trust_remote_code": "nothing: hfkit never runs code from a checkpoint",
    "revision": "model_revision=NAME",
    "model_revision": "model_revision=NAME",
    "max_time": "--time 2h",
    "max_tokens": "--max-new-tokens N",
    "do_sample": "--temperature T (0 is greedy)",
    "prompt": "the prompt itself, as in `hfkit generate last PROMPT`",
    "input": "--data D",
    "text": "text=... (a column of one row)",
    "question": "question=... (a column of one row)",
    "context": "context=... (a column of one row)",
}


def checked(arguments: Sequence[str]) -> list[str]:
    """The arguments, if a command of ours comes first; nothing, or a group alone, asks for help. Raises UsageError."""
    if not arguments:
        return ["--help"]
    names = command_names()
    word = arguments[0]
    if word.startswith("-"):
        return list(arguments)
    if word not in names:
        raise UsageError(f"hfkit has no command '{word}'", command_hint(word, list(names)))
    inner = names[word]
    if inner and len(arguments) > 1 and not arguments[1].startswith("-") and arguments[1] not in inner:
        raise UsageError(f"hfkit {word} has no command '{arguments[1]}'", group_hint(word, arguments[1], inner))
    return [word, "--help"] if inner and len(arguments) == 1 else list(arguments)


def command_hint(word: str, names: Sequence[str]) -> str:
    """What to type instead of an unknown command."""
    ours = VERBS.get(word.lower().replace("_", "-"))
    if ours:
        return f"type `{ours}`"
    near = difflib.get_close_matches(word.lower(), names, n=1)
    if near:
        return f"did you mean '{near[0]}'? `hfkit {near[0]} --help` shows how it is used"
    return f"commands are {', '.join(names)}; `hfkit --help` says what they do"


def group_hint(group: str, word: str, names: Sequence[str]) -> str:
    """What to type instead of an unknown command of a group."""
    near = [GROUP_WORDS.get(word, ""), *difflib.get_close_matches(word, names, n=1)]
    found = next((name for name in near if name in names), None)
    if found:
        return f"did you mean '{found}'? `hfkit {group} {found} --help` shows how it is used"
    return f"commands are {', '.join(names)}; `hfkit {group} --help` says what they do"


def usage_error(error: typer.TyperException, command: str) -> UsageError:
    """A parse error in our words, with our spelling of a flag from elsewhere."""
    option = getattr(error, "option_name", None)
    name = "hfkit" if command == "hfkit" else f"hfkit {command}"
    page = f"`{name} --help`"
    if isinstance(option, str) and "No such option" in error.format_message():
        return UsageError(
            f"{name} has no option {option}", flag_hint(option, getattr(error, "possibilities", None), page)
        )
    message = re.sub(r"\s+", " ", error.format_message()).strip()
    return UsageError(message[:1].lower() + message[1:], f"{page} shows how it is used")


def flag_hint(option: str, near: Sequence[str] | None, page: str) -> str:
    """What to write instead of an unknown option."""
    name = option.lstrip("-").lower().replace("-", "_")
    if name in FLAGS:
        return f"here it is {FLAGS[name]}"
    if "." in name:
        return f"recipe keys are written without dashes: {option.lstrip('-')}=VALUE"
    if near:
        return f"did you mean {' or '.join(sorted(near))}? {page} lists the options"
    return f"{page} lists the options; everything else is a recipe key, as in train.lr=1e-4"
