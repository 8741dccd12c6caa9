"""Whether data is text to text: a source and a target that is written, by their names or by languages."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from hfkit.data.peek import Peek
from hfkit.verbs.init.contents import written_texts


@dataclass(frozen=True, slots=True)
class Sides:
    """The columns of source and target, and whether they must be said in the recipe."""

    source: str
    target: str
    say: str = ""  # why they must be said


def sides(train: Peek, known: Mapping[str, str | list[str]], *, asked: bool) -> Sides | None:
    """The two columns, of those found by name (`known`) or of a column of objects with two languages; None for others.

    `asked`: the user says that this is the task, so that the texts need not look like it.
    """
    source, target = known.get("source"), known.get("target")
    if isinstance(source, str) and isinstance(target, str):
        return Sides(source, target) if asked or written_texts(train, target) else None
    return _two_languages(train)


def _two_languages(train: Peek) -> Sides | None:
    """A column whose objects have the same two keys, as `translation: {en, de}` of sets on the Hub."""
    for name in train.columns:
        keys = [_keys(record.get(name)) for record in train.records[:100]]
        if len(keys[0]) == 2 and all(each == keys[0] for each in keys):
            first, second = (f"{name}.{key}" for key in keys[0])
            if written_texts(train, first) and written_texts(train, second):
                return Sides(first, second, "from the first language to the second; exchange them for the other way")
    return None


def _keys(value: object) -> Sequence[str]:
    return list(map(str, value)) if isinstance(value, Mapping) else []
