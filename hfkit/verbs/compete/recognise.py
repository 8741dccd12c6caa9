"""What a competition asks for, read off its three files: task, columns, target, metric, ids, models; each with why."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hfkit.data.peek import Peek, peek
from hfkit.data.submission import Submission, Table, read_table
from hfkit.errors import HfkitError, UsageError
from hfkit.models import find
from hfkit.recipe import Data, Recipe
from hfkit.recipe.keys import MODEL_KEYS
from hfkit.recipe.load import build
from hfkit.recipe.overrides import section_from_overrides, split_override
from hfkit.recipe.yaml import parse
from hfkit.tasks import task_class
from hfkit.tasks.base import LOWER_IS_BETTER
from hfkit.tasks.blend import BLENDS
from hfkit.verbs.finetune.ready import check_metric
from hfkit.verbs.init.draft import draft
from hfkit.verbs.init.text import Draft, Line, recipe_text
from hfkit.verbs.submission import with_ids_of

EVERY = 10_000_000  # rows of the test data whose ids are looked at
FRESH = "scratch:bert-mini"  # for languages that no model at hand knows
DIVIDED = ("data.folds", "data.fold", "data.validation_share")  # what init proposes, and compete does itself


@dataclass(frozen=True)
class Recognised:
    """The recipe that all stages begin with, the models to try, the sample, how the test rows are read; and why."""

    recipe: Recipe
    models: tuple[str, ...]
    table: Table
    test_keys: Data
    given: frozenset[str]  # keys that the user has decided
    why: dict[str, str] = field(default_factory=dict)  # what is shown: label -> value and reason

    @property
    def metric(self) -> str:
        return self.recipe.train.metric

    @property
    def better(self) -> str:
        return "lower" if self.metric in LOWER_IS_BETTER else "higher"


def recognised(
    train: str,
    test: str,
    sample: Path,
    *,
    models: Sequence[str] = (),
    metric: str | None = None,
    overrides: Sequence[str] = (),
    offline: bool = False,
) -> Recognised:
    """Look at the three files. Raises DataError and UsageError where they do not say, with what to type; ModelError
    for a model that is not there."""
    _refuse_keys(overrides)
    given = dict(map(split_override, overrides))
    reading = [text for text in overrides if text.startswith("data.") and not text.startswith("data.group")]
    keys: Data = section_from_overrides(Data, "data", reading)
    table = read_table(sample)
    seen = peek(train, keys, "train", offline=offline)
    asked = peek(test, keys, "test", offline=offline, most=EVERY)
    shape = Submission.of(table, _ids(table, asked))
    made = draft(train, seen, asked, shape, own_validation=False, given=given)
    if made.task not in BLENDS:
        raise UsageError(
            f"{train} looks like data for {made.task} ({made.about[1]}), and compete does {', '.join(BLENDS)}",
            f"say the task, as in --task classify, or train by `hfkit finetune {made.task} --train FILE`",
        )
    made.lines = [line for line in made.lines if line.key not in DIVIDED]
    name, why = (metric, "as given") if metric is not None else _metric(made, shape)
    if "train.metric" in given:
        name, why = str(given["train.metric"]), "as given"
    _replace(made, "train.metric", name, why)
    chosen, about = _models(made, models, offline=offline)
    _replace(made, "model", chosen[0], about)
    recipe = build(parse(recipe_text(made, "", overrides)), name="compete", where="compete")
    check_metric(recipe, task_class(recipe.task)(recipe.settings))
    test_keys, notes = with_ids_of(table, test, _of_test(recipe, asked), offline=offline)
    shown = _said(made, shape, about, chosen, notes)
    return Recognised(recipe, tuple(chosen), table, test_keys, frozenset(given), shown)


def _refuse_keys(overrides: Sequence[str]) -> None:
    """Keys that compete decides itself would be ignored, so they are refused. Raises UsageError."""
    instead = {
        "model": "give --models", "data.train": "name it first", "data.validation": "folds of train are held out",
        "data.fold": "each fold is held out in turn", "train.time": "give --time", "data.validation_share": "give "
        "data.folds", "train.eval_steps": "runs are scored at their end", **dict.fromkeys(MODEL_KEYS, "give a folder"),
    }  # fmt: skip
    for key, _ in map(split_override, overrides):
        if key in instead:
            raise UsageError(f"compete decides {key} itself", f"leave it out: {instead[key]}")


def _ids(table: Table, test: Peek) -> list[str]:
    """The ids of the test rows, where a column of theirs has the name of one of the sample's."""
    name = next((str(cell) for cell in table.header if cell in test.columns), None)
    if name is None and "id" in test.columns:
        name = "id"
    return [str(record.get(name)) for record in test.records] if name is not None else []


def _metric(made: Draft, shape: Submission) -> tuple[str, str]:
    """The metric by what the sample's columns hold and by the target."""
    target = next((line.value for line in made.lines if line.key == "classify.target"), made.task)
    fractions = set(shape.kinds.values()) == {"float"}
    if target == "qa":
        return "f1", "answers are texts; exact_match is the other"
    if target == "regression":
        several = len(_labels(made)) > 1
        return ("mcrmse", "numbers in several columns") if several else ("rmse", "the sample holds numbers")
    if fractions:
        return "log_loss", "the sample holds probabilities"
    if target == "multi":
        return "micro_f1", "the sample holds several labels a row; macro_f1 is the other"
    return "accuracy", "the sample holds labels; macro_f1 is the other"


def _labels(made: Draft) -> list[str]:
    found = next((line.value for line in made.lines if line.key == "data.columns.label"), "label")
    return list(found) if isinstance(found, list) else [found]


def _models(made: Draft, models: Sequence[str], *, offline: bool) -> tuple[list[str], str]:
    """The models to try, found, and why the first is the first."""
    if models:
        chosen = list(dict.fromkeys(models))
        for model in chosen:
            find(model, offline=offline)
        return chosen, "as given"
    proposed = next(str(line.value) for line in made.lines if line.key == "model")
    why = next(line.why for line in made.lines if line.key == "model")
    try:
        find(proposed, offline=True)
    except HfkitError:
        return [FRESH], f"fresh weights, since {proposed} is not on this machine; --models names others"
    return [proposed], why.split(";")[0]


def _replace(made: Draft, key: str, value: Any, why: str) -> None:
    made.lines = [line for line in made.lines if line.key != key] + [Line(key, value, why)]


def _of_test(recipe: Recipe, test: Peek) -> Data:
    """How the test rows are read: as train, by the columns that the test data has."""
    have = set(test.columns)
    gold = {column.name for column in task_class(recipe.task).columns if column.gold}
    columns = {
        name: source
        for name, source in recipe.data.columns.items()
        if name not in gold and (source in have if isinstance(source, str) else have >= set(source))
    }
    reading = {"columns": columns, "names": recipe.data.names, "encoding": recipe.data.encoding}
    return Data(**reading)


def _said(made: Draft, shape: Submission, about: str, models: Sequence[str], notes: Sequence[str]) -> dict[str, str]:
    """What was taken and why, label by label, as it is shown."""
    lines: Mapping[str, Line] = {line.key: line for line in made.lines}
    shown = {"task": made.about[1].removeprefix("Task ").rstrip(".")}
    for key, label in ((f"{made.task}.target", "target"), ("train.metric", "metric")):
        if key in lines:
            shown[label] = f"{lines[key].value} ({lines[key].why})"
    columns = {key.rpartition(".")[2]: line for key, line in lines.items() if key.startswith("data.columns.")}
    if columns:
        parts = (f"{name}={line.value} ({line.why})".replace(" ()", "") for name, line in columns.items())
        shown["columns"] = ", ".join(parts)
    kinds = ", ".join(f"{name}: {kind}" for name, kind in list(shape.kinds.items())[:5])
    shown["sample"] = f"{shape.table.form}, ids in {shape.id_column}, {len(shape.ids):,} rows, {kinds}"
    shown["models"] = f"{', '.join(models)} ({about})"
    for number, text in enumerate(notes):
        shown[f"ids{number or ''}"] = text
    return shown
