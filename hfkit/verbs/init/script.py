"""A command line of run_qa.py, run_glue.py, run_translation.py and their like as the draft of a recipe."""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from pathlib import PurePath
from typing import Any

from hfkit.errors import UsageError
from hfkit.recipe.yaml import parse
from hfkit.verbs.init.flags import ALIASES, GLUE, HUB_NAMES, IGNORED, NLI_SETS, SCRIPTS, SIMPLE
from hfkit.verbs.init.script_tasks import columns, task_keys
from hfkit.verbs.init.text import Draft

LAUNCHERS = ("nproc_per_node", "nproc-per-node", "num_processes")
WORDS = {
    "overwrite_output_dir": "--overwrite",
    "resume_from_checkpoint": "--resume",
    "no_cuda": "--cpu",
    "use_cpu": "--cpu",
}
METRICS = {"exact": "exact_match", "em": "exact_match", "rougeL": "rouge_l"}  # names of scores -> ours
# what transformers' Trainer and the example scripts do where nothing is said, and hfkit does otherwise
DEFAULTS = {
    "per_device_train_batch_size": 8, "gradient_accumulation_steps": 1, "learning_rate": 5e-5, "num_train_epochs": 3.0,
    "warmup_steps": 0, "weight_decay": 0.0,
}  # fmt: skip


# flags that are reckoned with here
NUMBERS = (
    *DEFAULTS, "max_steps", "max_train_steps", "warmup_ratio", "warmup_proportion", "num_warmup_steps", "eval_steps",
    "save_steps", "validation_split_percentage",
)  # fmt: skip


def translate(command: str) -> Draft:
    """The recipe that does what `command` does, with the script's defaults where they differ; the rest is listed.

    Raises UsageError for a command that is none of the scripts that hfkit replaces.
    """
    try:
        words = shlex.split(command.replace("\\\n", " "), comments=True)
    except ValueError as error:
        raise UsageError(f"--from: not a command line ({error})", "put it into one pair of quotes") from error
    at = next((number for number, word in enumerate(words) if word.endswith(".py")), None)
    if at is None:
        raise UsageError(
            "--from: no script (.py) is named in it", 'such as --from "python run_qa.py --train_file t.json"'
        )
    name = PurePath(words[at]).name
    flags, loose = _flags(words[at + 1 :])
    _check_numbers(flags)
    launch, _ = _flags(words[:at])
    if "mixed_precision" in launch:
        flags.setdefault("mixed_precision", launch["mixed_precision"])
    task = _task(name, flags)
    made = Draft(task)
    made.about.append(
        f"Translated by hfkit init from a command line of {name}; unsaid values are the script's defaults."
    )
    made.left_out += [f"{word}: not understood" for word in loose]
    if launch.get("nnodes", 1) != 1:
        made.left_out.append(f"--nnodes {launch['nnodes']}: several machines are started by torchrun here too")
    _model_and_data(made, name, flags)
    task_keys(made, name, flags)
    _training(made, flags, processes=_processes(launch))
    _afterwards(made, flags)
    for flag, value in flags.items():
        shown = f"--{flag}" + ("" if value is True else f" {value}")
        made.left_out.append(f"{shown}: {IGNORED.get(flag, 'has no counterpart here')}")
    return made


def _flags(words: Sequence[str]) -> tuple[dict[str, Any], list[str]]:
    """Flags with their values as YAML reads them, and words that belong to none. A flag alone is true."""
    found: dict[str, Any] = {}
    loose: list[str] = []
    rest = list(words)
    while rest:
        word = rest.pop(0)
        if not word.startswith("--") or word == "--":
            loose.append(word)
            continue
        flag, equals, value = word.removeprefix("--").partition("=")
        flag = flag.replace("-", "_")
        if not equals:
            value = rest.pop(0) if rest and not re.match(r"--[A-Za-z]", rest[0]) else "true"
        found[ALIASES.get(flag, flag)] = _value(value)
    return found, loose


def _check_numbers(flags: dict[str, Any]) -> None:
    """Raise UsageError for a flag whose value is no number, such as a variable of a shell script."""
    for flag in NUMBERS:
        value = flags.get(flag, 0)
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise UsageError(f"--from: --{flag} is {value!r}, not a number", "write numbers in place of variables")


def _value(text: str) -> Any:
    if text in ("True", "False"):
        return text == "True"
    number = re.fullmatch(r"[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?", text)
    return parse(text) if number or text in ("true", "false") else text


def _task(name: str, flags: dict[str, Any]) -> str:
    found = SCRIPTS.get(name.removesuffix(".py").removesuffix("_no_trainer"))
    if found is None:
        known = ", ".join(f"{script}.py" for script in SCRIPTS)
        raise UsageError(f"--from: {name} is not a script that hfkit replaces", f"known are {known}")
    if found.startswith("!"):
        raise UsageError(f"--from: {name} {found[1:]}", "`hfkit help recipes` says what there is")
    if found != "classify":
        return found
    said = f"{flags.get('task_name') or ''} {flags.get('dataset_name') or ''}".lower()
    return "nli" if any(part in NLI_SETS for part in re.split(r"[\s/]+", said)) else "classify"


def _fresh(script: str, task: str) -> str:
    """The small configuration for the model that a script would begin with fresh weights."""
    if task in ("seq2seq", "qa-generation"):
        return "scratch:transformer-mini"
    return "scratch:gpt2-mini" if task == "lm" and not script.startswith("run_mlm") else "scratch:bert-mini"


def _model_and_data(made: Draft, script: str, flags: dict[str, Any]) -> None:
    model = flags.pop("model_name_or_path", None) or flags.pop("model_name", None)
    if model is not None:
        made.add("model", model, "as given")
    elif flags.pop("config_name", None) or flags.pop("model_type", None):
        made.add("model", _fresh(script, made.task), "fresh weights; see help models")
    if (revision := flags.pop("model_revision", "main")) != "main":
        made.add("model_revision", revision)
    name, config = flags.pop("dataset_name", None), flags.pop("dataset_config_name", None)
    glue = flags.pop("task_name", None)
    if glue is not None and name is None and "train_file" not in flags:
        name, config = "glue", glue
    if name is not None:
        hub = HUB_NAMES.get(name, name) + (f"@{config}" if config else "")
        made.add("data.train", hub, "" if "/" in hub else "a Hub data set is owner/name: say whose it is")
        if (extra := GLUE.get(str(config) if name == "glue" else name)) is not None:
            for key, value, why in extra:
                made.add(key, value.format(hub=hub) if isinstance(value, str) else value, why)
    if (language := flags.pop("language", None)) is not None:  # of run_xnli.py
        made.add("data.train", f"facebook/xnli@{flags.pop('train_language', language)}")
        made.add("data.validation", f"facebook/xnli@{language}:validation")
    for flag, key in (("train_file", "data.train"), ("validation_file", "data.validation")):
        if (path := flags.pop(flag, None)) is not None:
            made.add(key, path)
    if (percent := flags.pop("validation_split_percentage", 5 if made.task == "lm" else None)) is not None and not any(
        line.key == "data.validation" for line in made.lines
    ):
        made.add("data.validation_share", percent / 100, "used where the set has no validation part of its own")
    for flag, column in columns(made.task).items():
        if (given := flags.pop(flag, None)) is not None:
            made.add(f"data.columns.{column}", given)
    if (limit := flags.pop("max_train_samples", None)) is not None:
        made.add("data.limit", limit, "rows of train, and of validation, drawn by a fixed seed")


def _training(made: Draft, flags: dict[str, Any], *, processes: int) -> None:
    """The loop: the batch is that of one optimizer step over all devices, as hfkit counts it."""
    values = {flag: flags.pop(flag, default) for flag, default in DEFAULTS.items() if flag != "warmup_steps"}
    micro, accumulated = values["per_device_train_batch_size"], values["gradient_accumulation_steps"]
    parts = f"{micro} a device" + (f", {accumulated} accumulated" if accumulated != 1 else "")
    parts += f", {processes} processes" if processes != 1 else ""
    made.add("train.batch_size", micro * accumulated * processes, f"of one optimizer step: {parts}")
    if accumulated != 1:
        made.add("train.micro_batch_size", micro)
    made.add("train.lr", values["learning_rate"])
    steps = flags.pop("max_steps", None) or flags.pop("max_train_steps", None)
    if steps is not None and steps > 0:
        made.add("train.max_steps", steps)
    else:
        made.add("train.epochs", values["num_train_epochs"])
    ratio = flags.pop("warmup_ratio", flags.pop("warmup_proportion", None))
    warmup = flags.pop("warmup_steps", flags.pop("num_warmup_steps", None))
    made.add("train.warmup", warmup or ratio or 0, "steps" if warmup and warmup >= 1 else "")
    made.add("train.weight_decay", values["weight_decay"])
    _schedule(made, flags)
    _precision(made, flags)
    _rhythm(made, flags)
    for flag, key in SIMPLE.items():
        if (value := flags.pop(flag, None)) is not None:
            made.add(key, value)
    if processes > 1:
        made.after.append(f"--processes {processes}")


def _schedule(made: Draft, flags: dict[str, Any]) -> None:
    name = str(flags.pop("lr_scheduler_type", "linear")).lower()
    ours = {"linear": "linear", "cosine": "cosine", "constant": "constant", "constant_with_warmup": "constant"}.get(
        name
    )
    if ours is None:
        made.left_out.append(f"--lr_scheduler_type {name}: hfkit has linear, cosine, constant; linear is written")
    made.add("train.schedule", ours or "linear")


def _precision(made: Draft, flags: dict[str, Any]) -> None:
    mixed = str(flags.pop("mixed_precision", "no"))
    half, brain = flags.pop("fp16", False), flags.pop("bf16", False)
    if half is True or mixed == "fp16":
        made.add("train.precision", "float16")
    elif brain is True or mixed == "bf16":
        made.add("train.precision", "bfloat16")
    else:
        made.add("train.precision", "float32", "auto is faster where the machine has bfloat16")


def _rhythm(made: Draft, flags: dict[str, Any]) -> None:
    """When it evaluates and saves."""
    when = flags.pop("eval_strategy", flags.pop("evaluation_strategy", None))
    every = flags.pop("eval_steps", None)
    if when == "steps" or (when is None and every is not None):
        made.add("train.eval_steps", int(every) if every and every >= 1 else "auto")
    elif when in (None, "no"):
        made.add("train.eval_steps", None, "once, at the end")
    saved = flags.pop("save_steps", None)
    if flags.pop("save_strategy", "steps") == "steps" and saved is not None and saved >= 1:
        made.add("train.save_steps", int(saved))
    metric = flags.pop("metric_for_best_model", None)
    if metric is not None:
        bare = str(metric).removeprefix("eval_")
        if bare == "loss":
            made.left_out.append(f"--metric_for_best_model {metric}: the task's headline picks the best checkpoint")
        else:
            made.lines = [line for line in made.lines if line.key != "train.metric"]
            made.add("train.metric", METRICS.get(bare, bare))


def _afterwards(made: Draft, flags: dict[str, Any]) -> None:
    """What becomes words of the command, and commands that come after it."""
    output = flags.pop("output_dir", None)
    if output is not None:
        made.after.append(f"-o {shlex.quote(str(output))}")
    run = shlex.quote(str(output)) if output is not None else "last"
    train, evaluate, predict = (flags.pop(name, None) for name in ("do_train", "do_eval", "do_predict"))
    for flag, word in WORDS.items():
        if flags.pop(flag, False):
            made.after.append(word)
    test = flags.pop("test_file", None)
    if test is not None or predict:
        made.more.append(f"hfkit predict {run} --data {shlex.quote(str(test or 'D'))} -o predictions.jsonl")
    if evaluate and train is None and not predict:
        made.notes.append("the script only evaluates: `hfkit eval last --data D` does that with a trained model")
    if train is not None and not evaluate:
        made.notes.append("the script does not evaluate; hfkit always scores the model that it keeps")


def _processes(launch: dict[str, Any]) -> int:
    for flag in LAUNCHERS:
        value = launch.get(flag.replace("-", "_"))
        if isinstance(value, int):
            return value
    return 1
