"""Plain values against the declared keys: a section, or all problems at once in the user's words."""

from __future__ import annotations

import difflib
import json
import re
import shlex
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from pydantic import BaseModel, ValidationError

from hfkit.recipe.describe import describe
from hfkit.recipe.keys import Recipe
from hfkit.tasks import TASKS, task_class

COMMAND_LINE = "command line"  # stands where a file would
COMMON = [name for name in Recipe.model_fields if name not in ("settings", "name")]
# a key from elsewhere, in whatever section it is written -> ours
ELSEWHERE = {
    "learning_rate": "train.lr",
    "num_train_epochs": "train.epochs",
    "num_epochs": "train.epochs",
    "per_device_train_batch_size": "train.batch_size",
    "gradient_accumulation_steps": "train.micro_batch_size",
    "warmup_ratio": "train.warmup",
    "warmup_steps": "train.warmup",
    "lr_scheduler_type": "train.schedule",
    "fp16": "train.precision",
    "bf16": "train.precision",
    "metric_for_best_model": "train.metric",
    "early_stopping_patience": "train.patience",
    "report_to": "train.trackers",
    "model_name_or_path": "model",
    "train_file": "data.train",
    "validation_file": "data.validation",
    "max_seq_length": "max_length",
    "source_lang": "seq2seq.source_language",
    "target_lang": "seq2seq.target_language",
    "label_smoothing_factor": "seq2seq.label_smoothing",
    "doc_stride": "qa.stride",
    "fsdp": "train.distributed",
    "lora_r": "lora.rank",
    "lora_alpha": "lora.alpha",
    "lora_dropout": "lora.dropout",
    "target_modules": "lora.targets",
    "llrd": "train.layer_lr_decay",
}


def checked(
    model: type[Any], values: Any, where: str, *, prefix: str = "", task: str = "", typed: Collection[str] = ()
) -> tuple[Any | None, list[str]]:
    """(the section, or None, problems): each with `where` it stands, its key, and the nearest key of the task.

    `typed` are the keys that came from the command line, which is then where they stand.
    """
    if not isinstance(values, Mapping):
        return None, [f"{where}: '{prefix.rstrip('.')}' is a section of keys, not {values!r}"]
    try:
        return model(**values), []
    except ValidationError as error:
        hints: dict[str, str] = {}
        found: dict[str, str] = {}  # the branches of a union, "auto or a number", are one problem
        for item in error.errors():
            dotted = (prefix + ".".join(str(part) for part in item["loc"] if not _is_branch(part))).rstrip(".")
            place = COMMAND_LINE if any(_within(dotted, key) or _within(key, dotted) for key in typed) else where
            if dotted in found:
                found[dotted] += f", or {item['msg'].removeprefix('Input should be ')}"
            else:
                found[dotted] = _problem(model, item, dotted, place, prefix, task)
            if item["type"] == "list_type" and isinstance(item["input"], str):
                hints[dotted] = _as_list(dotted, item["input"], typed=place == COMMAND_LINE)
        return None, [said + hints.get(dotted, "") for dotted, said in found.items()]


def _problem(model: type[BaseModel], item: Mapping[str, Any], dotted: str, where: str, prefix: str, task: str) -> str:
    if item["type"] == "extra_forbidden":
        ours = ELSEWHERE.get(dotted.rpartition(".")[2].lower())
        near = [ours] if ours else difflib.get_close_matches(dotted, _all_keys(model, prefix, task), n=1, cutoff=0.7)
        return f"{where}: unknown key '{dotted}'" + (f"; did you mean '{near[0]}'?" if near else "")
    said = _lower_first(item["msg"].removeprefix("Value error, "))
    section = _section(model, item["loc"])
    if section is not None and item["type"] == "value_error":  # of several keys that do not go together
        named = [name for name in re.findall(r"\w+", said) if name in section.model_fields]
        return f"{where}: {', '.join(f'{dotted}.{name}' for name in dict.fromkeys(named)) or dotted}: {said}"
    return f"{where}: {dotted} = {item['input']!r}: {said}"


def _section(model: type[BaseModel], parts: Sequence[Any]) -> type[BaseModel] | None:
    """The section at these parts of a location; None where a key stands."""
    found: Any = model
    for part in parts:
        field = found.model_fields.get(part) if hasattr(found, "model_fields") else None
        found = field.annotation if field is not None else None
    return found if hasattr(found, "model_fields") else None


def _as_list(dotted: str, text: str, *, typed: bool) -> str:
    """How to write one text where a list of them is asked for."""
    listed = json.dumps([text], ensure_ascii=False)
    return f"; write {dotted}={shlex.quote(listed)}" if typed else f"; write {listed}"


def _within(dotted: str, key: str) -> bool:
    """Whether a key is another, or stands below it."""
    return dotted == key or dotted.startswith(f"{key}.")


def _is_branch(part: Any) -> bool:
    """pydantic names the branch of a union in the location; users only know keys."""
    return isinstance(part, str) and (
        part in ("int", "float", "str", "bool", "list[str]") or part.startswith(("literal[", "constrained-", "dict["))
    )


def _all_keys(model: type[BaseModel], prefix: str, task: str) -> list[str]:
    keys = [name for name, *_ in describe(model, prefix)]
    if model is Recipe:
        keys += [name for name, *_ in describe(task_class(task).Settings, f"{task}.")] if task else []
        keys += list(COMMON)
    return keys


def _lower_first(text: str) -> str:
    return text[:1].lower() + text[1:]


def hint(task: str) -> str:
    """Where all keys of a task are shown."""
    return f"see every key with `hfkit recipes show {task if task in TASKS else 'qa'} --keys`"
