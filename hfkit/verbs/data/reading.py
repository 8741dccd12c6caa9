"""How a model would read rows: its tokenizer, its positions, and the task's settings that go with it; no weights."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from hfkit.errors import DataError, ModelError
from hfkit.models import load_config, load_tokenizer, locate
from hfkit.models.intake import check_tokenizer
from hfkit.recipe.keys import MODEL_KEYS
from hfkit.recipe.load import build
from hfkit.recipe.overrides import LENGTHS, override_settings
from hfkit.tasks import suited
from hfkit.tasks.base import Resolution, Row, Task
from hfkit.verbs.trained import saved_settings

if TYPE_CHECKING:
    from hfkit.data.rows import Rows


@dataclass(frozen=True, slots=True)
class Reader:
    """A tokenizer and a config, and a task bound to the settings that they come with."""

    name: str
    tokenizer: Any
    config: Any
    task: Task
    trained: bool  # the settings are those that the model was trained with


def reader_of(model: str, kind: type[Task], name: str, overrides: Sequence[str], *, offline: bool) -> Reader | str:
    """The reader of a model, or why there is none. Raises ModelError, NetworkError, UsageError."""
    keys = build({"task": "lm"}, [text for text in overrides if text.partition("=")[0].strip() in MODEL_KEYS])
    try:
        found = locate(model, revision=keys.model_revision, convert=keys.convert, offline=offline)
        if found.folder is None:
            return f"{model} has no tokenizer before it is trained"
        check_tokenizer(found.folder)
        tokenizer, config = load_tokenizer(found, kind.head), load_config(found)
    except ImportError as error:
        return f"a library that reads tokenizers cannot be imported ({error})"
    settings = override_settings(saved_settings(found, kind, name), kind.name, overrides)
    trained = (found.saved or {}).get("task") == name
    return Reader(found.name, tokenizer, config, suited(kind(settings), found.config), trained)


def fitted(reader: Reader, rows: Sequence[Row]) -> tuple[Task, list[Resolution]]:
    """The task with settings that hold no auto, and why; rows whose labels do not fit are read without their gold."""
    settle = reader.task.adopt if reader.trained else reader.task.resolve
    arguments = (rows, reader.config) if reader.trained else (rows, reader.tokenizer, reader.config)
    try:
        return settle(*arguments)
    except (DataError, ModelError):  # of labels, which is another finding than lengths
        gold = {column.name for column in reader.task.columns if column.gold}
        bare = [{name: value for name, value in row.items() if name not in gold} for row in rows]
        return reader.task.resolve(bare, reader.tokenizer, reader.config)


def length_of(task: Task) -> int | None:
    """The tokens that the task reads of a row at most, or of a window or block; None where it is not settled."""
    found = next((getattr(task.settings, name) for name in LENGTHS if hasattr(task.settings, name)), None)
    return found if isinstance(found, int) else None


def text_columns(task: Task, rows: Rows) -> list[str]:
    """The columns that a model reads, as far as the data has them."""
    return [c.name for c in task.columns if not c.gold and c.name != "id" and c.name in rows.mapping]


def sound_rows(rows: Rows, columns: Sequence[str]) -> Rows:
    """The rows that a tokenizer can read: every text is one, the first is not blank."""

    def sound(row: Row) -> bool:
        values = [row.get(name) for name in columns]
        return all(isinstance(value, str) and encodable(value) for value in values) and bool(str(values[0]).strip())

    return rows.subset([number for number, row in enumerate(rows) if sound(row)])


def unknown_id(tokenizer: Any) -> int | None:
    """The id of unknown tokens; None for a tokenizer that knows every byte."""
    return None if tokenizer.unk_token == tokenizer.eos_token else tokenizer.unk_token_id


def encodable(text: str) -> bool:
    """Whether a text can be written as UTF-8; tokenizers fail on the rest."""
    try:
        return text.isascii() or bool(text.encode("utf-8"))
    except UnicodeEncodeError:
        return False
