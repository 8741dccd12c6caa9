"""The row that cards and next steps tell the user to type: the columns a task must have, as `predict` reads them."""

from __future__ import annotations

import shlex

import pytest

from hfkit.cli.predict import fields_and_pairs
from hfkit.tasks import TASKS, task_class
from hfkit.tasks.base import example_fields


@pytest.mark.parametrize("name", TASKS)
def test_every_task_has_a_row_to_type(name: str) -> None:
    kind = task_class(name)
    fields, pairs = fields_and_pairs(shlex.split(example_fields(kind)))
    assert list(fields) == [c.name for c in kind.columns if c.required and not c.gold] and not pairs
