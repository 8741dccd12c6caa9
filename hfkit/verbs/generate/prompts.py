"""Prompts: texts, or the rows of a data set, filled into a template; made window by window, not all at once."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from hfkit.errors import UsageError
from hfkit.tasks import task_class
from hfkit.tasks.base import Column
from hfkit.verbs.generate.template import Template

if TYPE_CHECKING:
    from hfkit.recipe.keys import Recipe
    from hfkit.tasks.base import Row

ID = Column("id", False)
PROMPT = Column("prompt", True, ("text", "question", "instruction", "input", "source"))
NO_PROMPT = "give one as in `hfkit generate last PROMPT`, or a file with --prompts"


@dataclass(frozen=True)
class Prompts:
    """Prompts with their ids: strings, the row's number where nothing else is given.

    `fingerprint` (64 hex digits) is of the rows before the template; `notes` are lines on how they were read.
    """

    rows: Sequence[Row]
    name: str
    fingerprint: str
    template: Template | None = None
    notes: list[str] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.rows)

    def window(self, start: int, stop: int) -> tuple[list[str], list[str]]:
        """Ids and texts of the rows [start, stop). Raises DataError for a row that the template cannot be filled of."""
        rows = self.rows[start:stop]
        texts = [row["prompt"] if self.template is None else self.template.fill(row) for row in rows]
        return [row["id"] for row in rows], texts


def read_prompts(texts: Sequence[str], data: Any, recipe: Recipe, *, sources: bool = False, offline: bool) -> Prompts:
    """The prompts of a command: texts, or a data set; with `sources` its sources are looked for first.

    Raises UsageError and DataError.
    """
    template = Template(recipe.generate.template) if recipe.generate.template is not None else None
    if data is None:
        if not texts:
            raise UsageError("no prompt", NO_PROMPT)
        filled = list(texts) if template is None else [template.fill_one(text) for text in texts]
        typed = [{"id": str(number), "prompt": text} for number, text in enumerate(filled)]
        return Prompts(typed, "the command line", hashlib.sha256(json.dumps(filled).encode()).hexdigest())
    if texts:
        raise UsageError("prompts come from two places", "give them as arguments or by --prompts")
    columns = (ID, _source_column() if sources else PROMPT) if template is None else _columns(template)
    return _rows(data, template, columns, recipe, offline)


def _rows(data: Any, template: Template | None, columns: tuple[Column, ...], recipe: Recipe, offline: bool) -> Prompts:
    from hfkit.data import describe, load, raise_failures
    from hfkit.data.findings import named
    from hfkit.data.validators import duplicate_ids, text_column

    limit = recipe.data.limit
    rows = load(data, columns=columns, settings=recipe.data, need_gold=False, limit=limit, offline=offline)
    with named(rows):
        found = list(duplicate_ids(rows, "warning"))
        if template is None:
            found += text_column(rows, "prompt", empty="warning")
        lines = raise_failures(found)
    return Prompts(rows, rows.name, rows.fingerprint, template, [*describe(rows), *lines])


def _source_column() -> Column:
    """The column prompt, known by the names of what seq2seq reads before those of prompts."""
    (source,) = (column for column in task_class("seq2seq").columns if column.name == "source")
    return Column("prompt", True, (source.name, *source.aliases, *PROMPT.aliases))


def _columns(template: Template) -> tuple[Column, ...]:
    """What a template asks of the data: its fields. `prompt` may be there too, so that a .txt is a row a line."""
    wanted = [PROMPT if name == "prompt" else Column(name, True) for name in template.fields if name != "id"]
    return (ID, *wanted) if PROMPT in wanted else (ID, *wanted, Column("prompt", False))
