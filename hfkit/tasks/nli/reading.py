"""How the labels of NLI data were read: counted, kept beside the model, and said where the words do not."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from hfkit.tasks import labels as names
from hfkit.tasks.base import Resolution, Row
from hfkit.tasks.nli.settings import NLISettings


def label_counts(rows: Sequence[Row]) -> Counter[str]:
    """How often each label value occurs; nothing where the rows have no labels."""
    return Counter(names.label_text(row["label"]) for row in rows if "label" in row)


def kept(matched: Mapping[str, str | None], settings: NLISettings) -> dict[str, str | None] | None:
    """The map worth storing: what was given, numbers, and the data's own words for a class (蕴含, "contradictory").

    A submission is written in these; a word that is the class's own name needs no entry.
    """
    own = {value: name for value, name in matched.items() if name and value != name}
    return {**own, **(settings.labels or {})} or None


def read_as(matched: Mapping[str, str | None], settings: NLISettings) -> list[Resolution]:
    """How labels are read, where that is not plain from the words, and by what rule."""
    given = settings.labels or {}
    read = {value: name for value, name in matched.items() if name and value != name}
    free = [value.strip() for value in read if value not in given]
    ways = (
        ("as given", len(free) < len(read)),
        ("the order of the Hub's glue, snli and xnli", any(value in names.DIGITS for value in free)),
        ("by meaning", any(map(names.meaning, free))),
    )
    return [Resolution("nli.labels", read, "; ".join(way for way, used in ways if used))] if read else []
