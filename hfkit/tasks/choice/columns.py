"""The columns of a task whose template names them."""

from __future__ import annotations

from hfkit.tasks.base import Column
from hfkit.tasks.choice.settings import ChoiceSettings, pieces
from hfkit.tasks.nli.task import NLI
from hfkit.tasks.qa.task import QA

KNOWN = {column.name: column.aliases for kind in (QA, NLI) for column in kind.columns}  # names that data sets have


def columns_of(settings: ChoiceSettings) -> tuple[Column, ...]:
    """id, what the template names, the choices' column, the gold; names that other tasks know are found as there."""
    asked = dict.fromkeys(name for _, name in pieces(str(settings.template)) if name and name != "id")
    texts = [Column(name, True, KNOWN.get(name, ())) for name in asked if name != settings.target]
    listed = settings.choices_column
    own = [Column(listed, True)] if listed is not None and listed not in asked else []
    gold = Column(settings.target, True, KNOWN.get(settings.target, ()), gold=True)
    return (Column("id", False), *texts, *own, gold)
