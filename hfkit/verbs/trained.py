"""A trained model ready to answer: found, its task with the settings it was trained by, then its weights. For eval and predict."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from hfkit.data import load
from hfkit.errors import ModelError, UsageError
from hfkit.events import Event, note, resolved
from hfkit.models import Checkpoint, check_vocabulary, find
from hfkit.recipe.keys import Data, Train
from hfkit.recipe.load import check_override_sections, override_settings, section_from_overrides
from hfkit.tasks import task_class
from hfkit.tasks.base import Task
from hfkit.verbs.prepare import answers_of, features_of, sample_texts

if TYPE_CHECKING:
    from hfkit.data.rows import Rows
    from hfkit.tasks.base import Row

TASK_OF_HEAD = (("ForQuestionAnswering", "qa"), ("LMHeadModel", "lm"), ("ForCausalLM", "lm"))


@dataclass(frozen=True)
class Answering:
    """One model at work on one data set."""

    found: Checkpoint
    task: Task
    rows: Rows
    features: Any
    place: Any
    answers: Any  # iterator of predictions on the main process


def find_trained(
    model: str, task: str | None, overrides: Sequence[str], *, offline: bool
) -> tuple[Checkpoint, Task, Data]:
    """The checkpoint, its task (settings not fitted to any data yet), and the data keys of the command line.

    The task is what `task` says, else what hfkit.json beside the weights says, else what the architecture's head says.
    Settings: command line > hfkit.json > defaults. Raises HfkitError.
    """
    found = find(model, offline=offline)
    saved = found.saved or {}
    if found.scratch:
        raise ModelError(
            f"{model} has fresh weights and knows nothing",
            f"train it first: `hfkit finetune lm --model {model} --train FILE`",
        )
    name = task or saved.get("task") or _task_by_head(found)
    kind = task_class(name)
    stored = saved.get("settings", {}) if saved.get("task") == name else {}
    known = {k: v for k, v in stored.items() if k in kind.Settings.model_fields}
    check_override_sections(overrides, (kind.name, "data", "train", "max_length"))
    settings = override_settings(kind.Settings(**known), kind.name, overrides)
    return found, kind(settings), section_from_overrides(Data, "data", overrides)


def _task_by_head(found: Checkpoint) -> str:
    architecture = next(iter(found.config.get("architectures") or []), "none")
    for suffix, task in TASK_OF_HEAD:
        if architecture.endswith(suffix):
            return task
    raise UsageError(
        f"{found.name}: what it was trained for is not known (its architecture is {architecture})",
        "add --task, e.g. --task nli",
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


def answering(
    found: Checkpoint,
    task: Task,
    rows: Rows,
    *,
    cpu: bool,
    precision: str,
    batch_size: int | None = None,
    check: bool = True,
) -> Generator[Event, None, Answering]:
    """Load the model, fit the task to the rows, and start answering. Yields notes, what was settled, and progress."""
    from hfkit.engine.place import take_place

    place = take_place(cpu=cpu, precision=precision)
    yield note(place.world.line())
    yield from map(note, found.notes)
    from hfkit.models import load_config, load_model, load_tokenizer

    tokenizer = load_tokenizer(found, task.head)
    if check:
        check_vocabulary(tokenizer, sample_texts(type(task), rows), found.name)
    task, resolutions = task.adopt(rows, load_config(found))
    for item in resolutions:
        yield resolved(item.key, item.value, item.why)
    features = yield from features_of(rows, task, tokenizer, "encoding")
    model, notes = load_model(found, task.head, model_config=task.model_config(), fresh_head="refuse")
    yield from map(note, notes)
    model.to(place.device)
    model = place.accelerator.prepare_model(model, evaluation_mode=True)
    answers = yield from answers_of(
        model, task, rows, features, place=place, pad_id=int(tokenizer.pad_token_id or 0), stage="answering",
        micro_batch_size=batch_size,
    )  # fmt: skip
    return Answering(found, task, rows, features, place, answers)


def precision_of(overrides: Sequence[str]) -> str:
    """train.precision of the command line; the only key of `train` that answering uses. Raises UsageError."""
    for text in overrides:
        if text.startswith("train.") and not text.startswith("train.precision="):
            raise UsageError(
                f"'{text.partition('=')[0]}' has no effect on this command", "of train, only train.precision has"
            )
    return section_from_overrides(Train, "train", overrides).precision


def throughput(answering: Answering, seconds: float, total_seconds: float) -> dict[str, float]:
    """Rows and real tokens per second of answering, and the seconds of the whole command."""
    return {
        "rows_per_s": len(answering.rows) / max(seconds, 1e-9),
        "tokens_per_s": int(answering.features.lengths.sum()) / max(seconds, 1e-9),
        "seconds": total_seconds,
    }
