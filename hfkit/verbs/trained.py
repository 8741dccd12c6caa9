"""A trained model found, its task with the settings it was trained by, and rows read for it. For eval and predict."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from hfkit.data import load
from hfkit.errors import ModelError, UsageError
from hfkit.models import Checkpoint, find
from hfkit.recipe.keys import MODEL_KEYS, Data, Train
from hfkit.recipe.load import build
from hfkit.recipe.overrides import check_override_sections, override_settings, section_from_overrides, split_override
from hfkit.tasks import suited, task_class
from hfkit.tasks.base import Task

if TYPE_CHECKING:
    from hfkit.data.rows import Rows
    from hfkit.tasks.base import Row

TASK_OF_HEAD = (
    ("ForQuestionAnswering", "qa"),
    ("LMHeadModel", "lm"),
    ("ForCausalLM", "lm"),
    ("ForMaskedLM", "lm"),
    ("ForConditionalGeneration", "seq2seq"),
    ("MTModel", "seq2seq"),  # Marian's
)


def find_trained(
    model: str, task: str | None, overrides: Sequence[str], *, offline: bool, used: Sequence[str] = ()
) -> tuple[Checkpoint, str, Task, Data]:
    """The checkpoint, its task by name and bound (not fitted to any data yet), the data keys of the command line.

    The task is what `task` or the key `task` says, else what hfkit.json beside the weights says, else what the
    architecture's head says.
    Settings: command line > hfkit.json > defaults. `used` are further keys that the command takes. Raises HfkitError.
    """
    found = find_by_keys(model, overrides, offline=offline, ensemble=True)
    saved = found.saved or {}
    if found.scratch:
        raise ModelError(
            f"{model} has fresh weights and knows nothing",
            f"train it first: `hfkit finetune {_recipe_for(found)} --model {model} --train FILE`",
        )
    task = task or next((str(value) for key, value in map(split_override, overrides) if key == "task"), None)
    name = task or saved.get("task") or _task_by_head(found)
    kind = _saved_kind(found, name) if not task and saved.get("task") else task_class(name)
    check_override_sections(overrides, (kind.name, "data", *used, "train", "max_length", "task", *MODEL_KEYS))
    settings = override_settings(saved_settings(found, kind, str(name)), kind.name, overrides)
    return (
        found,
        str(name),
        suited(kind(settings), found.config),
        section_from_overrides(Data, "data", overrides, task=kind.name),
    )


def _recipe_for(found: Checkpoint) -> str:
    """The recipe that a scratch model is made for."""
    return {"gpt2": "lm", "marian": "seq2seq"}.get(str(found.config.get("model_type")), "classify")


def find_by_keys(model: str, overrides: Sequence[str], *, offline: bool, ensemble: bool = False) -> Checkpoint:
    """The checkpoint by name and the keys `model_revision` and `convert`, which mean what they mean in a recipe."""
    recipe = build({"task": "lm"}, [text for text in overrides if text.partition("=")[0].strip() in MODEL_KEYS])
    return find(model, revision=recipe.model_revision, convert=recipe.convert, offline=offline, ensemble=ensemble)


def _saved_kind(found: Checkpoint, name: str) -> type[Task]:
    """The task that hfkit.json names. Raises ModelError for one that is not there."""
    try:
        return task_class(str(name))
    except UsageError as error:
        raise ModelError(f"{found.folder}/hfkit.json: {error.message}", f"say --set task=NAME; {error.hint}") from error


def saved_settings(found: Checkpoint, kind: type[Task], name: str) -> Any:
    """The settings that hfkit.json holds for the task `name`, else defaults. Raises ModelError for what is not one."""
    saved = found.saved or {}
    stored = saved.get("settings", {}) if saved.get("task") == name else {}
    known = {k: v for k, v in stored.items() if k in kind.Settings.model_fields}
    try:
        return kind.Settings(**known)
    except ValidationError as error:
        keys = ", ".join(f"{kind.name}.{'.'.join(map(str, item['loc']))}: {item['msg']}" for item in error.errors())
        raise ModelError(f"{found.folder}/hfkit.json: {keys}", "restore the file, or download it again") from error


def _task_by_head(found: Checkpoint) -> str:
    architecture = next(iter(found.config.get("architectures") or []), "none")
    for suffix, task in TASK_OF_HEAD:
        if architecture.endswith(suffix):
            return task
    raise UsageError(
        f"{found.name}: what it was trained for is not known (its architecture is {architecture})",
        "say it, e.g. --set task=nli (or --task nli with eval)",
    )


def read_rows(task: Task, data: Any, settings: Data, *, gold: bool, limit: int | None, offline: bool) -> Rows:
    """The rows to answer; with `gold` they must hold answers, without it gold columns are not looked at."""
    limit = limit or settings.limit
    if gold:
        return load(data, columns=task.columns, settings=settings, need_gold=True, limit=limit, offline=offline)
    asked = tuple(c for c in task.columns if not c.gold)
    rows = load(data, columns=asked, settings=settings, need_gold=False, limit=limit, offline=offline)
    hidden = frozenset(c.name for c in task.columns if c.gold)
    return rows.replaced(_Without(rows, hidden), why="without gold")


def with_shots(task: Any, settings: Data, *, offline: bool) -> Any:
    """The task with the rows that it draws solved examples from, where its settings ask for some."""
    if not getattr(task.settings, "shots", 0):
        return task
    source = task.settings.shots_data
    return task.with_shots(load(source, columns=task.columns, settings=settings, need_gold=True, offline=offline))


class _Without(Sequence["Row"]):
    """Rows without some columns: what a test file holds in place of answers must not be taken for gold."""

    def __init__(self, rows: Rows, hidden: frozenset[str]) -> None:
        self._rows, self._hidden = rows, hidden

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, index: Any) -> Any:
        return {name: value for name, value in self._rows[index].items() if name not in self._hidden}

    def __iter__(self) -> Iterator[Row]:
        return ({k: v for k, v in row.items() if k not in self._hidden} for row in self._rows)


def precision_of(overrides: Sequence[str]) -> str:
    """train.precision of the command line; the only key of `train` that answering uses. Raises UsageError."""
    for text in overrides:
        if text.startswith("train.") and not text.startswith("train.precision="):
            raise UsageError(
                f"'{text.partition('=')[0]}' has no effect on this command", "of train, only train.precision has"
            )
    return section_from_overrides(Train, "train", overrides).precision
