"""The table of tasks: adding a task is one file here, one line below, one recipe, one test."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from hfkit.errors import UsageError

if TYPE_CHECKING:
    from hfkit.tasks.base import Task

TASKS = {
    "qa": "hfkit.tasks.qa.task:QA",
    "nli": "hfkit.tasks.nli.task:NLI",
    "classify": "hfkit.tasks.classify.task:Classify",
    "lm": "hfkit.tasks.lm:LanguageModel",
    "seq2seq": "hfkit.tasks.seq2seq.task:Seq2Seq",
    "qa-generation": "hfkit.tasks.seq2seq.qa:QAGeneration",
    "choice": "hfkit.tasks.choice:Choice",
}


def suited(task: Task, config: Mapping[str, Any]) -> Task:
    """The task as a model with this config.json does it: lm is causal with a GPT-2 and masked with a BERT."""
    choose = getattr(task, "suited", None)
    return task if choose is None else choose(config)


def task_class(name: str) -> type[Task]:
    """The class of a task by its name in the table, or by `package.module:Class`. Raises UsageError."""
    target = TASKS.get(name, name)
    module, _, attribute = target.partition(":")
    if not attribute:
        known = f"tasks are {', '.join(TASKS)}, or package.module:Class for one of your own"
        raise UsageError(f"no task named '{name}'", known)
    try:
        found: type[Task] = getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError) as error:
        hint = "check the module's name and that it is installed"
        raise UsageError(f"task '{name}' cannot be imported: {error}", hint) from error
    return found
